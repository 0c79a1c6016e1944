"""Does the audit find silent bugs, and does it stay silent without one?

    pip install trl
    python experiments/audit_bugs.py --out experiments/results/audit_bugs.jsonl

Stated before the run: at most 1 of 100 clean runs has any alarm, and at least 10 of 12 kinds of bug
are found in at least 18 of 20 seeds. A bug counts as found if the check that is named beside it
raises an alarm. Each run writes one line as it finishes; lines that are there are not run again.
"""
import argparse
import contextlib
import io
import json
import logging
import os
import socket
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import datasets
import numpy as np
import torch
import torch.multiprocessing as mp
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, get_worker_info
from torch.utils.data import WeightedRandomSampler
from transformers import (LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer,
    TrainingArguments)

from cptlib.audit.callbacks import AuditCallback
from cptlib.audit.watch import audit

BOS, EOS, PAD, SEP, VOCAB = 1, 2, 0, 3, 64
STEPS_SAVED = 6 # a plain run is saved after as many steps

def new_model(seed, dropout=.1):
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, attention_dropout=dropout,
        bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD, max_position_embeddings=128))

def new_rows(seed, n=96, short=5, long=16):
    "Rows of random tokens of several lengths, each begins with BOS and ends with EOS."
    rng = np.random.default_rng(seed)
    lengths = rng.integers(short, long + 1, n)
    return [[BOS, *rng.integers(4, VOCAB, k - 2).tolist(), EOS] for k in lengths]

def padded(rows, pad_labels=False):
    "A collator: one batch of rows, padded on the right."
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), PAD)
    for i, row in enumerate(rows): ids[i, :len(row)] = torch.tensor(row)
    real = torch.tensor([[k < len(row) for k in range(longest)] for row in rows])
    labels = ids if pad_labels else torch.where(real, ids, -100)
    return dict(input_ids=ids, labels=labels, attention_mask=real.long())

def packed(rows, cache=False):
    """A collator: all rows behind each other in one row, with positions.

    With a cache, which is the default of a call, transformers does not keep documents apart."""
    ids = torch.tensor([sum(rows, [])])
    positions = torch.tensor([[k for row in rows for k in range(len(row))]])
    batch = dict(input_ids=ids, labels=ids, position_ids=positions)
    return batch if cache else batch | dict(use_cache=False)

class Stream(IterableDataset):
    "Rows in order; each worker reads its share, or all of them."
    def __init__(self, rows, split): self.rows, self.split = rows, split
    def __iter__(self):
        info = get_worker_info()
        if info is None or not self.split: return iter(self.rows)
        return iter(self.rows[info.id::info.num_workers])

class Order:
    "A seeded order of an epoch, which can begin late."
    def __init__(self, n, seed, skip=0): self.n, self.seed, self.skip = n, seed, skip
    def __len__(self): return self.n - self.skip
    def __iter__(self):
        order = torch.randperm(self.n, generator=torch.Generator().manual_seed(self.seed))
        return iter(order.tolist()[self.skip:])

def rate(step, total=32): return 1e-3*min((step + 1)/4, 1 - step/total)

def loss_of(model, batch, shift=None):
    if shift is None: return model(**batch).loss
    x = {k: v for k, v in batch.items() if k != 'labels'}
    logits = model(**x).logits[:, :-shift]
    return F.cross_entropy(logits.flatten(0, 1), batch['labels'][:, shift:].flatten())

def loop(model, loader, opt, valid=None, shift=None, train=True, evaluate=True, steps=99,
         start=0, rate=rate, epochs=1, after=None, parts=1, even=True):
    "A plain training loop, with every mistake that can be made in it."
    step, done = start, 0
    for _ in range(epochs):
        if train: model.train()
        for batches in groups(loader, parts):
            if done == steps: return
            targets = [int((b['labels'][:, 1:] >= 0).sum()) for b in batches]
            for batch, n in zip(batches, targets):
                share = n/sum(targets) if even else 1/len(batches)
                (loss_of(model, batch, shift)*share).backward()
            for group in opt.param_groups: group['lr'] = rate(step)
            opt.step()
            opt.zero_grad()
            step, done = step + 1, done + 1
            if after: after(done)
        if valid is None: continue
        if evaluate: model.eval()
        with torch.no_grad():
            for batch in valid: loss_of(model, batch)

def groups(loader, n):
    "Lists of `n` batches."
    group = []
    for batch in loader:
        group.append(batch)
        if len(group) == n:
            yield group
            group = []

def plain(seed, folder, rows=None, sampler=None, workers=0, collate=padded, audited=None, **kw):
    "One plain run under audit: the report."
    rows = rows or new_rows(seed)
    model = new_model(seed)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    stream = isinstance(rows, Stream)
    torch.manual_seed(seed)
    loader = DataLoader(rows, 8, shuffle=None if stream or sampler else True, sampler=sampler,
                        num_workers=workers, collate_fn=collate)
    valid = DataLoader(new_rows(seed + 10_000, 32), 8, collate_fn=collate)
    with audit(model, loader, opt, **(audited or {})) as a: loop(model, loader, opt, valid, **kw)
    return a.report

def resumed(seed, folder, skip=STEPS_SAVED, begin=STEPS_SAVED, order=None, over=3):
    "A run that is saved, goes on for some steps, stops, and is resumed."
    rows = new_rows(seed)
    for part in (0, 1):
        model = new_model(seed)
        opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
        sampler = Order(len(rows), seed if not part else order or seed, 8*skip*part)
        loader = DataLoader(rows, 8, sampler=sampler, collate_fn=padded)
        with audit(model, loader, opt, folder=folder) as a:
            def save(done):
                if not part and done == STEPS_SAVED: a.save(f'{folder}/checkpoint')
            if part: a.resume(f'{folder}/checkpoint', folder)
            loop(model, loader, opt, after=save, start=begin*part,
                 steps=99 if part else STEPS_SAVED + over)
    return a.report

def weighted(seed, folder, used):
    "Two sources with asked weights .3 and .7, and used ones."
    rows = [[BOS, 4 + i % 2, *row[1:]] for i, row in enumerate(new_rows(seed, 300))]
    weights = torch.tensor([used if row[1] == 4 else 1 - used for row in rows])
    torch.manual_seed(seed)
    sampler = WeightedRandomSampler(weights, 300, replacement=True)
    return plain(seed, folder, rows, sampler, audited=dict(
        shares=dict(code=.3, prose=.7), source_of=lambda x: 'code' if x[1] == 4 else 'prose'),
        rate=lambda step: 1e-3)

def on_rank(rank, seed, folder, port, same, uneven):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', rank=rank, world_size=2)
    rows = new_rows(seed) if uneven else new_rows(seed, short=12, long=12)
    order = list(Order(len(rows), seed))
    order = order[:48] if same else order[rank::2]
    model = torch.nn.parallel.DistributedDataParallel(new_model(seed))
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader = DataLoader(rows, 8, sampler=order, collate_fn=padded)
    with audit(model, loader, opt, folder=folder): loop(model, loader, opt)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()

def ranks(seed, folder, same=False, uneven=False):
    "Two gloo processes."
    from cptlib.audit.checks import audit_report
    from cptlib.audit.observe import load_record, record_name
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    given = seed, folder, port, same, uneven
    mp.start_processes(on_rank, given, nprocs=2, start_method='fork')
    records = [load_record(Path(folder)/record_name(rank)) for rank in (0, 1)]
    return audit_report(records[0], records[1:])

class OwnSampler(Trainer):
    def _get_train_sampler(self, *args):
        return RandomSampler(self.train_dataset, replacement=True)

class Scaled(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        out = super().compute_loss(model, inputs, return_outputs, **kwargs)
        return (out[0]*4, out[1]) if return_outputs else out*4

class ForgetsItems(Trainer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False

def collate_items(items): return padded([x['input_ids'] for x in items])

def collate_like_pad(items):
    "Masks every pad token, and EOS is used for padding."
    batch = padded([x['input_ids'] for x in items])
    ids = torch.where(batch['attention_mask'] > 0, batch['input_ids'], EOS)
    return batch | dict(input_ids=ids, labels=torch.where(ids == EOS, -100, ids))

def collate_answers(items):
    "Train on what follows a marker (ids 4 to 11); rows without one have no target."
    batch = padded([x['input_ids'] for x in items])
    ids = batch['input_ids']
    after = (ids < 12).logical_and(ids > 3).cumsum(1) > 0
    return batch | dict(labels=torch.where(after, batch['labels'], -100))

def train(trainer, resume=None):
    with contextlib.redirect_stdout(io.StringIO()): trainer.train(resume_from_checkpoint=resume)

def trainer(seed, folder, cls=Trainer, overlap=False, collate=collate_items, resume=None,
            short=5, **kw):
    "One run of the Trainer."
    rows = new_rows(seed, short=short)
    valid = rows[:32] if overlap else new_rows(seed + 10_000, 32)
    as_data = lambda rows: datasets.Dataset.from_dict(dict(input_ids=rows)) # noqa: E731
    args = TrainingArguments(**dict(
        output_dir=folder, num_train_epochs=2, per_device_train_batch_size=8, learning_rate=1e-3,
        lr_scheduler_type=('linear', 'cosine')[seed % 2], warmup_steps=4, logging_steps=4,
        eval_strategy='epoch', save_strategy='no', report_to='none', disable_tqdm=True,
        use_cpu=True, seed=seed, remove_unused_columns=False) | kw)
    callback = AuditCallback()
    train(cls(new_model(seed), args, data_collator=collate, train_dataset=as_data(rows),
              eval_dataset=as_data(valid), callbacks=[callback]), resume)
    return callback.audit.report

def resumed_trainer(seed, folder, **kw):
    "The Trainer, resumed in the middle of an epoch."
    every = dict(save_strategy='steps', save_steps=10, eval_strategy='no')
    trainer(seed, folder, **every)
    return trainer(seed, folder, resume=f'{folder}/checkpoint-10', **every, **kw)

def new_tokenizer(bos=True):
    words = {f'w{i}': i for i in range(4, VOCAB)}
    vocab = {'<pad>': PAD, '<s>': BOS, '</s>': EOS, '<sep>': SEP} | words
    bare = Tokenizer(models.WordLevel(vocab, unk_token='<sep>'))
    bare.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if bos:
        from tokenizers.processors import TemplateProcessing
        bare.post_processor = TemplateProcessing(single='<s> $A', special_tokens=[('<s>', BOS)])
    return PreTrainedTokenizerFast(tokenizer_object=bare, bos_token='<s>', eos_token='</s>',
                                   pad_token='<pad>', unk_token='<sep>')

def sft(seed, folder, double=False, mask=False, answers=True, **kw):
    "One run of SFTTrainer on prompts and completions."
    from trl import SFTConfig, SFTTrainer
    rng = np.random.default_rng(seed)
    def said(low, high): return ' '.join(f'w{i}' for i in rng.integers(4, VOCAB, rng.integers(low, high)))
    begin = '<s> ' if double else ''
    rows = [dict(prompt=f'{begin}{said(4, 12)} <sep>', completion=f' {said(3, 8)}') for _ in range(96)]
    args = SFTConfig(**dict(
        output_dir=folder, num_train_epochs=2, per_device_train_batch_size=8, learning_rate=1e-3,
        logging_steps=4, save_strategy='no', report_to='none', disable_tqdm=True, use_cpu=True,
        bf16=False, gradient_checkpointing=False, seed=seed, max_length=64) | kw)
    callback = AuditCallback(targets='answers' if answers else None)
    made = SFTTrainer(new_model(seed, 0.), args, train_dataset=datasets.Dataset.from_list(rows),
                      processing_class=new_tokenizer(), callbacks=[callback])
    if mask:
        collate = made.data_collator
        def with_mask(items):
            batch = collate(items)
            return dict(batch, attention_mask=torch.ones_like(batch['input_ids']))
        made.data_collator = with_mask
    train(made)
    return callback.audit.report

def duplicates(seed, folder):
    "A clean run whose data set holds some texts twice."
    rows = new_rows(seed)
    return plain(seed, folder, rows[:-2] + rows[:2], epochs=2)

PACKING = dict(packing=True, padding_free=True, max_length=48)
BUGS = { # trainer, bug -> the check that should raise an alarm, the run
    'plain: resume replays the epoch': ('served twice', lambda s, f: resumed(s, f, skip=0)),
    'plain: resume skips rows': ('never served', lambda s, f: resumed(s, f, skip=9)),
    'plain: resume with another order': ('resume', lambda s, f: resumed(s, f, order=s + 1000)),
    'plain: rate restarts after resume': ('learning rate', lambda s, f: resumed(s, f, begin=-3)),
    'plain: workers read the same stream': ('served twice', lambda s, f: plain(
        s, f, Stream(new_rows(s), False), workers=2)),
    'plain: ranks read the same rows': ('ranks', lambda s, f: ranks(s, f, True)),
    'plain: weights are ignored': ('shares', lambda s, f: weighted(s, f, .5)),
    'plain: eval mode after evaluation': ('mode', lambda s, f: plain(s, f, train=False, epochs=3)),
    'plain: dropout in evaluation': ('mode', lambda s, f: plain(s, f, evaluate=False, epochs=2)),
    'plain: labels shifted twice': ('shift', lambda s, f: plain(s, f, shift=2)),
    'plain: packed, and a cache is kept': ('documents', lambda s, f: plain(
        s, f, collate=lambda rows: packed(rows, cache=True))),
    'plain: padding is trained on': ('padding', lambda s, f: plain(
        s, f, collate=lambda rows: padded(rows, pad_labels=True))),
    'plain: ranks average their means': ('accumulation', lambda s, f: ranks(s, f, uneven=True)),
    'plain: means of micro-batches': ('accumulation', lambda s, f: plain(
        s, f, parts=4, even=False, epochs=2)),
    'Trainer: resume replays the epoch': ('served twice', lambda s, f: resumed_trainer(
        s, f, ignore_data_skip=True)),
    'Trainer: sampler draws with replacement': ('served twice', lambda s, f: trainer(
        s, f, OwnSampler)),
    'Trainer: validation rows are trained on': ('validation', lambda s, f: trainer(
        s, f, overlap=True)),
    'Trainer: logged loss is scaled': ('loss', lambda s, f: trainer(s, f, Scaled)),
    'Trainer: means of micro-batches': ('accumulation', lambda s, f: trainer(
        s, f, ForgetsItems, gradient_accumulation_steps=4)),
    'Trainer: answer masks are empty': ('targets', lambda s, f: trainer(
        s, f, collate=collate_answers)),
    'Trainer: EOS masked as padding': ('ends', lambda s, f: trainer(
        s, f, collate=collate_like_pad)),
    'SFTTrainer: prompts are trained on': ('targets', lambda s, f: sft(
        s, f, completion_only_loss=False)),
    'SFTTrainer: answers are cut off': ('ends', lambda s, f: sft(s, f, max_length=9)),
    'SFTTrainer: two BOS': ('beginnings', lambda s, f: sft(s, f, double=True)),
    'SFTTrainer: packed documents see each other': ('documents', lambda s, f: sft(
        s, f, mask=True, **PACKING)),
}
CLEAN = { # ten kinds of runs, ten seeds each
    'plain, shuffled': lambda s, f: plain(s, f, epochs=2),
    'plain, with duplicates': duplicates,
    'plain, packed': lambda s, f: plain(s, f, collate=packed),
    'plain, streamed by two workers': lambda s, f: plain(s, f, Stream(new_rows(s), True), workers=2),
    'plain, resumed': resumed,
    'plain, weighted': lambda s, f: weighted(s, f, .3),
    'plain, accumulated': lambda s, f: plain(s, f, parts=4, epochs=2),
    'plain, two gloo processes': lambda s, f: ranks(s, f),
    'Trainer': lambda s, f: trainer(s, f, gradient_accumulation_steps=(1, 4)[s % 2]),
    'Trainer, resumed': resumed_trainer,
    'SFTTrainer': sft,
    'SFTTrainer, packed': lambda s, f: sft(s, f, **PACKING),
}

LATER = ('resume with another order', 'dropout in evaluation', 'padding is trained', 'ranks average',
         'Trainer: resume', 'with replacement', 'Trainer: means', 'masks are empty',
         'SFTTrainer: prompts', 'cut off')

def jobs():
    "All runs: (kind, expected check or None, seed, function); some kinds of bug come later."
    for later in (False, True):
        for seed in range(20):
            for kind, (check, run) in BUGS.items():
                if any(part in kind for part in LATER) == later: yield kind, check, seed, run
            for i, (kind, run) in enumerate(CLEAN.items()):
                if not later and seed*len(CLEAN) + i < 100: yield kind, None, 500 + seed, run

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default='experiments/results/audit_bugs.jsonl')
    parser.add_argument('--only', default='', help='run kinds whose name has this in it')
    parser.add_argument('--seeds', type=int, default=20)
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    torch.set_num_threads(1)
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    done = {(r['kind'], r['seed']) for r in map(json.loads, lines)}
    for kind, check, seed, run in jobs():
        if (kind, seed) in done or args.only not in kind or seed % 500 >= args.seeds: continue
        start = time.time()
        with TemporaryDirectory() as folder: report = run(seed, folder)
        found = [f.check for f in report.alarms]
        row = dict(kind=kind, seed=seed, expected=check, alarms=found,
                   said=[f.statement for f in report.alarms],
                   seconds=round(time.time() - start, 1))
        with open(args.out, 'a') as file: file.write(json.dumps(row) + '\n')
        right = check in found if check else not found
        print('ok ' if right else 'BAD', kind, seed, found, row['seconds'], flush=True)

if __name__ == '__main__': main()

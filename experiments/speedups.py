"""Do speed-ups add up? Time to one held-out loss: each alone, all together, all but one.

    python experiments/speedups.py [--seeds 3] [--device cpu] [--only NAME ...] [--what costs]

The model is a GPT of width 64 with 4 blocks and rows of 96 tokens, with a vocabulary of 2,048
tokens that is learned from the embedded text. It has learned prose, and is continued on questions
with answers, with 25 % of prose replayed. The questions are short, about half a row each. The
plain way to train pads each document to a row of its own, takes 8 rows a batch, a rate of 1e-3,
and AdamW without fusing. Both held-out sets are one document a row. The target is a loss of their
weighted mean (75 and 25 %), which the plain way reached after 91 of the 160 planned
batches with seed 100, which does not count. Each seed has a base model of its own, and all
conditions of a seed begin with it.

The speed-ups:

- chunked logits: 64 positions at a time, through `LazyLogits`.
- packing: best-fit, several documents in a row.
- short rows first: 32 tokens at first, growing to 96 over the first 30 % of the plan.
- fused optimizer: `adamw` of this library.
- frozen layers: embeddings and the lower two of four blocks stay as they are.
- larger batch: 16 rows from two batches, at a rate that is 1.4 times as high.
- data order: the share of prose falls from 45 to 25 to 5 % in three stages.
- higher rate: 3e-3.
- compile and bf16: on a GPU they are in the stack. On a CPU they are only measured for a few
  batches ("tried").

Time is counted as batches to the target, times the CPU time of a batch. The first number is exact:
training is deterministic, and validated every 8 batches. The second is measured in one process, in
which all conditions take turns, as process time of one thread. It does not grow when other programs
use the machine, as seconds on the clock do, which are stored too. On a GPU it is seconds on the
clock, synchronized. Validation is not counted. Chunked logits and the fused optimizer change only
the cost of a batch, so they have no trainings of their own; that they change nothing else is
checked in the first one ("rounding").

Predictions, written before the first run of a speed-up, as factors (2 = half of the time):

1. Alone: packing 1.2 to 1.6, short rows first 1.2 to 1.6, frozen layers 1.05 to 1.3, higher rate
   1.5 to 2.2, fused optimizer 1.02 to 1.06, chunked logits 0.95 to 1.1.
2. Alone, a larger batch is slower (0.6 to 0.85), and so is the data order (0.8 to 1.0).
3. All together: 2.0 to 3.5, which is 0.5 to 0.85 of the product of all factors alone.
4. Packing and short rows first save the same padding, so they do not add up: within the stack short
   rows gain 0.9 to 1.1.
5. The stack is faster without the larger batch.
6. The higher rate is worth most alone, and also within the stack.
7. Seeds differ by less than 10 % in each factor.
8. Compiling takes longer than the whole training, and saves less than 20 % of a batch. bf16 makes
   a batch at least 10 times slower on a CPU without units for it.

One line of JSON per run is appended to the results. Runs that are there already are skipped.
"""
import copy
import os
import tempfile
import time
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from fastai.basics import OptimWrapper, set_seed
from fastai.callback.core import CancelFitException
from real_clunk import arguments, missing, store, stored, trained_once

from cptlib.callback.core import LeanCallback
from cptlib.callback.speed import ShortRowsFirst
from cptlib.data.embedded import embedded_texts, split_of
from cptlib.data.loader import Mixture
from cptlib.data.source import Source
from cptlib.data.text import Tokenizer
from cptlib.learner import cpt_learner
from cptlib.models.chunked import LazyLogits
from cptlib.models.gpt import GPT
from cptlib.optim import adamw
from cptlib.recipes import curriculum, replay

OUT = Path(__file__).parent/'results'/'speedups.jsonl'
SHARES = dict(prose=.25, qa=.75)
EVERY, ROWS, ROUNDS = 8, 32, 4
ON_CPU = ('chunked logits', 'packing', 'short rows first', 'fused optimizer', 'frozen layers',
          'larger batch', 'data order', 'higher rate')
ON_GPU = (*ON_CPU, 'compile', 'bf16')
COST_ONLY = ('chunked logits', 'fused optimizer') # they change no loss but by rounding

@dataclass(frozen=True)
class Sizes:
    "A model, its data and its training."
    vocab:int=2048
    row_len:int=96
    width:int=64
    depth:int=4
    frozen:int=3 # layers, from the embeddings on
    bs:int=8
    planned:int=160 # batches
    base_batches:int=120
    lr:float=1e-3
    target:float=5.2 # held-out nats a token, weighted by SHARES

SMALL = Sizes()
LARGE = Sizes(vocab=16384, row_len=256, width=512, depth=8, frozen=5, bs=32) # for a GPU

@dataclass(frozen=True)
class Condition:
    "Which speed-ups are on."
    name:str
    on:tuple=()

def conditions(stack):
    "The plain way, each alone, all, and all but one."
    yield Condition('plain')
    for one in stack: yield Condition(one, (one,))
    yield Condition('all', stack)
    for one in stack: yield Condition(f'all but {one}', tuple(s for s in stack if s != one))

# the data

texts_of_python = cache(embedded_texts) # read once

def documents(kind, split):
    "Texts of one kind."
    return [d.text for d in texts_of_python()[kind] if split_of(d.origin) == split]

def learned_tokenizer(vocab):
    "A tokenizer of this many tokens, learned from the training text."
    from tokenizers import Tokenizer as BPE
    from tokenizers import decoders, models, pre_tokenizers, trainers
    bpe = BPE(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=['<end>'],
                                  initial_alphabet=sorted(alphabet), show_progress=False)
    texts = [text for kind in SHARES for text in documents(kind, 'train')]
    bpe.train_from_iterator(texts, trainer)
    def ids(text): return bpe.encode(text).ids
    return Tokenizer(ids, vocab_size=vocab, eot_id=0)

def padded_rows(ids, lengths, size, end):
    "Documents cut into rows of `size` tokens; the rest of a row is filled with `end`."
    rows = []
    for document in np.split(ids, np.cumsum(lengths)[:-1]):
        for start in range(0, len(document), size):
            piece = document[start:start + size]
            rows.append(np.pad(piece, (0, size - len(piece)), constant_values=end))
    return np.array(rows)

class Data:
    "Rows of the texts, padded or packed."
    def __init__(self, sizes, folder):
        self.sizes, self.folder = sizes, Path(folder)
        self.tokenizer = learned_tokenizer(sizes.vocab)

    def source(self, kind, split, packed):
        "One kind of text as a `Source`."
        path = self.folder/f"{split}-{kind}-{'packed' if packed else 'padded'}"
        how = dict(vocab_size=self.sizes.vocab)
        texts = documents(kind, split)
        if packed:
            return Source.from_texts(kind, texts, self.tokenizer, path, self.sizes.row_len,
                                     packing='best-fit')
        ids, lengths = self.tokenizer.encode_joined(texts)
        rows = padded_rows(np.asarray(ids), lengths, self.sizes.row_len + 1, 0)
        source = Source.from_rows(kind, rows, path, **how)
        source.pad = 0 # padding is no target
        return source

    def both(self, split, packed): return [self.source(kind, split, packed) for kind in SHARES]

    @cached_property
    def padded(self): return self.both('train', False)
    @cached_property
    def packed(self): return self.both('train', True)
    @cached_property
    def valid(self): return self.both('valid', False)

# the training

class ChunkedHead(torch.nn.Module):
    "A last layer whose logits are computed 64 positions at a time."
    def __init__(self, linear):
        super().__init__()
        self.linear = linear

    def forward(self, hidden):
        return LazyLogits(hidden, self.linear, logits=64*self.linear.out_features)

def plain_adamw(params, lr, betas=(.9, .95), eps=1e-8):
    "AdamW, one operation and one parameter after the other."
    return OptimWrapper(params, torch.optim.AdamW, lr=lr, betas=betas, eps=eps, foreach=False,
                        fused=False)

class Meter(LeanCallback):
    "Batches, positions and time of training passes, without validation."
    order = 99 # after everything else in a pass
    run_valid = False

    def before_fit(self):
        self.batches, self.read = 0, 0
        self.spent = np.zeros(2) # CPU time, and time on the clock
        self.marks = [(0, 0)]

    def before_train(self): self.began = self.now()

    def after_batch(self):
        self.batches += 1
        self.read += self.y.numel()

    def after_train(self):
        self.spent += self.now() - self.began
        self.marks.append((self.batches, self.read))

    def now(self):
        if next(self.model.parameters()).is_cuda: torch.cuda.synchronize()
        return np.array([time.process_time(), time.perf_counter()])

class StopAtLoss(LeanCallback):
    "End the training at a validation once the weighted loss is low enough."
    order = 99

    def __init__(self, target): self.target = target

    def after_epoch(self):
        if weighted(self.accuracy_tracker.records[-1]) <= self.target: raise CancelFitException

class CutTo(LeanCallback):
    "Read only the first tokens of each row."
    order, run_valid = ShortRowsFirst.order, False

    def __init__(self, n): self.n = n

    def before_batch(self):
        x, y = self.x[:, :self.n], self.y[:, :self.n]
        self.learn.xb, self.learn.yb = (x,), (y,)

def weighted(record):
    "The mean of the held-out losses, weighted by SHARES."
    return float(np.dot(record['loss'], list(SHARES.values())))

def schedule_of(on):
    "Shares of the sources over the training."
    if 'data order' in on: return curriculum(dict(prose=1), dict(qa=1), (.45, .25, .05)).schedule
    return replay(dict(prose=1), dict(qa=1), SHARES['prose']).schedule

def learner(on, base, data, seed, device, every, rows, cbs):
    "A Learner with some speed-ups, from a copy of `base`."
    s = data.sizes
    model = copy.deepcopy(base)
    if 'chunked logits' in on: model.head = ChunkedHead(model.head)
    lr, step_tokens = s.lr, None
    if 'higher rate' in on: lr *= 3
    if 'larger batch' in on:
        lr *= 2**.5
        step_tokens = 2*s.bs*s.row_len
    if 'short rows first' in on: cbs = [*cbs, ShortRowsFirst(first=s.row_len//3)]
    set_seed(seed)
    sources = data.packed if 'packing' in on else data.padded
    mixture = Mixture(sources, schedule_of(on), s.bs, s.planned, seed=seed)
    learn = cpt_learner(
        model, mixture, data.valid, every=every, rows=rows, lr=lr, step_tokens=step_tokens,
        opt_func=adamw if 'fused optimizer' in on else plain_adamw, bf16='bf16' in on,
        compile='compile' in on, device=device, cbs=cbs)
    if 'frozen layers' in on: learn.freeze_to(s.frozen)
    return learn

def base_model(data, seed, device, folder):
    "A model that has learned prose, trained once for each seed."
    s = data.sizes
    def learned(model):
        mixture = Mixture([data.source('prose', 'train', True)], dict(prose=1.), 16,
                          s.base_batches, seed=seed)
        learn = cpt_learner(model, mixture, data.valid, every=s.base_batches, rows=8, lr=2e-3,
                            bf16=False, device=device)
        with learn.quietly(): learn.fit_cpt()
        return learn.model.cpu()

    set_seed(seed)
    model = GPT(s.vocab, s.row_len, s.width, s.depth, tied=False)
    return trained_once(folder/f'base-{s.width}-{seed}.pt', model, learned)

def train(on, base, data, seed, device):
    "Train until the target is reached or the plan is over: (batches, positions, loss) over time."
    meter = Meter()
    cbs = [meter, StopAtLoss(data.sizes.target)]
    learn = learner(on, base, data, seed, device, EVERY, ROWS, cbs)
    with learn.quietly(): learn.fit_cpt(shape='constant')
    losses = [weighted(record) for record in learn.accuracy_tracker.records]
    curve = [(*mark, loss) for mark, loss in zip(meter.marks, losses)]
    cpu, seconds = meter.spent.round(2).tolist()
    return dict(on=on, curve=curve, cpu=cpu, seconds=seconds,
                reached=losses[-1] <= data.sizes.target)

# the cost of a batch

def measured(learn):
    "CPU time and time on the clock of one batch, in seconds, from a pass of a few batches."
    with learn.quietly(): learn.fit(1)
    meter = learn.meter
    return (meter.spent/meter.batches).round(6).tolist()

def take_turns(learners, rounds):
    "Measure each learner once in each round: {name: [(cpu, seconds), ...]}."
    found = {name: [] for name in learners}
    for learn in learners.values(): measured(learn) # the first pass also allocates
    for turn in range(rounds):
        names = list(learners)
        for name in names if turn % 2 else names[::-1]:
            found[name].append(measured(learners[name]))
    return found

def costs(stack, base, data, device):
    "Cost of a batch in each condition, with whole rows and, for short rows, with half rows."
    s, learners = data.sizes, {}
    for condition in conditions(stack):
        on = [one for one in condition.on if one != 'short rows first']
        lengths = [s.row_len] if len(on) == len(condition.on) else [s.row_len, s.row_len//2]
        for length in lengths:
            cbs = [Meter(), CutTo(length)]
            learn = learner(on, base, data, 0, device, 6, 1, cbs)
            learners[f'{condition.name}, {length}'] = learn
    return take_turns(learners, ROUNDS)

def tried(one, base, data, device):
    "Cost of a batch with a speed-up that is not in the stack, beside the plain one."
    began = os.times()
    learners = {name: learner(on, base, data, 0, device, 2, 1, [Meter()])
                for name, on in (('plain', ()), (one, (one,)))}
    measured(learners[one]) # compiles
    ended = os.times()
    first = sum(ended[:4]) - sum(began[:4]) # also of processes that compile
    return dict(first=round(first, 1), turns=take_turns(learners, 2))

# all runs

def rounding(base, data, device):
    "Largest difference of the training losses that `COST_ONLY` make in 20 batches."
    losses = []
    for on in ((), COST_ONLY):
        learn = learner(on, base, data, 0, device, 20, 1, [])
        with learn.quietly(): learn.fit(1)
        losses.append(np.array([float(loss) for loss in learn.recorder.losses]))
    return float(np.abs(losses[0] - losses[1]).max())

def main():
    parser = arguments(__doc__, OUT)
    parser.set_defaults(threads=1)
    parser.add_argument('--what', default='all', choices=['all', 'runs', 'costs', 'tried', 'pilot'])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    on_gpu = args.device.startswith('cuda')
    sizes, stack = (LARGE, ON_GPU) if on_gpu else (SMALL, ON_CPU)
    folder = Path(tempfile.gettempdir())/f'cptlib-speedups-{sizes.width}'
    folder.mkdir(exist_ok=True)
    data = Data(sizes, folder)

    def base(seed): return base_model(data, seed, args.device, folder)

    if args.what == 'pilot':
        found = train((), base(100), data, 100, args.device)
        for mark in found['curve']: print(*mark)
        return print(found['cpu'], 'CPU seconds', found['seconds'], 'seconds')
    done = {run['name'] for run in stored(args.out)}
    if args.what in ('all', 'costs') and 'costs' not in done:
        result = dict(turns=costs(stack, base(0), data, args.device))
        result['rounding'] = rounding(base(0), data, args.device)
        store(args, 'costs', 0, result)
    if args.what in ('all', 'tried'):
        for one in ON_GPU:
            if one in stack or f'tried {one}' in done: continue
            store(args, f'tried {one}', 0, tried(one, base(0), data, args.device))
    if args.what in ('costs', 'tried'): return
    runs = [c for c in conditions(stack) if changes_loss(c)]
    for condition, seed in missing(args, runs):
        result = train(condition.on, base(seed), data, seed, args.device)
        store(args, condition.name, seed, result)
        batches, _, loss = result['curve'][-1]
        print(f"{condition.name}, seed {seed}: {loss:.3f} after {batches} batches, "
              f"{result['cpu']} s of CPU, {result['seconds']} s", flush=True)

def changes_loss(condition):
    "Does a condition need trainings of its own?"
    for one in COST_ONLY:
        if condition.name in (one, f'all but {one}'): return False
    return True

if __name__ == '__main__': main()

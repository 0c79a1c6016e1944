"""Is the paired test right on trainings? False finds, and power, beside the plain test.

    python experiments/paired_trainings.py [--seeds 13] [--keep FOLDER] [--out FILE]

A simulation obeys the assumptions of a test, and a training need not. So we train small models
(a GPT of width 32 with one block, three epochs of 30 steps, 16 rows under test a step), and apply
the plain test (mean loss of each step) and the paired test (each row against itself an epoch ago)
to the same steps. In the null conditions no step at the boundary is there to be found:

- `held out`: the model trains on code, and the rows under test are other code, never trained on.
  Their loss falls as the model learns code. They come round again, but cannot be remembered.
- `from scratch`: the same, from random weights, so the loss starts high and falls steeply.
- `restart`, `decay`: as `held out`. The learning rate falls to nothing within each epoch and starts
  again at the boundary, or falls at the boundary to a tenth.
- `mixture moves`: as `held out`. From the first boundary on, a step has 4 rows under test instead
  of 16, and three quarters of the rows to train on are prose.
- `lr 0`: rows repeat, and nothing is learned.
- `endless`: facts that never come again, under a model that remembers facts.
- `drawn`, `across`: facts that come again at any time: drawn with replacement, or three copies of
  each fact shuffled over the whole run.

In the others rows repeat in epochs and are remembered: `facts` and `code`, at several rates.

Every seed has its own rows and order, and its own training. Where the rows under test are not
trained on, eight sets of them are tested in each training. Facts that never come round in epochs
leave no pairs, so there both tests are one. Five base models of each kind take turns. No seed is picked:
they are 0, 1, 2, ... Trainings are kept in a folder, so that a changed test needs no new ones.
"""
import argparse
import copy
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1') # before numpy is imported
import numpy as np
import torch

from cptlib.clunk.detect import detect_clunks
from cptlib.clunk.paired import paired_clunk
from cptlib.data.source import embedded_sources
from cptlib.models.gpt import GPT
from cptlib.models.metrics import rowwise_loss, token_losses

STEPS, ROWS, EPOCHS, BASES = 30, 16, 3, 5
SETS = 8 # sets of rows under test in a training on other rows
LEN, VALUES, KNOWN = 16, 64, 256 # bytes of a row of text; values and known facts
WIDTH = 32 # of the models
N = STEPS*ROWS # rows under test in an epoch
STARTS = [k*STEPS for k in range(EPOCHS)]

@dataclass
class Condition:
    "One kind of training."
    data: str # 'facts', 'code' or 'scratch'
    order: str = 'epochs' # 'epochs', 'endless', 'drawn' or 'across'
    held_out: bool = False # train on other rows than those under test, if at all
    rate: str = 'constant' # 'constant', 'restart' or 'decay'
    lr: float = 2e-3
    moves: bool = False # fewer rows under test from the first boundary on

CONDITIONS = {
    'held out': Condition('code', held_out=True),
    'from scratch': Condition('scratch', held_out=True),
    'restart': Condition('code', held_out=True, rate='restart'),
    'decay': Condition('code', held_out=True, rate='decay'),
    'mixture moves': Condition('code', held_out=True, moves=True),
    'lr 0': Condition('code', held_out=True, lr=0.),
    'endless': Condition('facts', 'endless', lr=3e-3),
    'drawn': Condition('facts', 'drawn', lr=3e-3),
    'across': Condition('facts', 'across', lr=3e-3),
    'facts, 3e-4': Condition('facts', lr=3e-4),
    'facts, 1e-3': Condition('facts', lr=1e-3),
    'facts, 3e-3': Condition('facts', lr=3e-3),
    'code, 2e-3': Condition('code', lr=2e-3),
    'code, 5e-3': Condition('code', lr=5e-3)}

def row_losses(model, tokens):
    "Loss of each row, nats [rows]."
    x, y = torch.from_numpy(tokens[:, :-1]), torch.from_numpy(tokens[:, 1:])
    return rowwise_loss(token_losses(model(x), y), y)

def train(
    model, # a GPT; trained in place
    shown, # tokens to train on of each step, a list of [rows, tokens]
    asked=None, # tokens under test of each step; default: the first `ROWS` of those trained on
    rates=(2e-3,), # learning rate of each step, or one for all
):
    "Train, and return the losses of the rows under test before each step, a list of arrays."
    opt = torch.optim.AdamW(model.parameters(), lr=rates[0], betas=(.9, .99), fused=True)
    out = []
    for k, rows in enumerate(shown):
        opt.param_groups[0]['lr'] = rates[k % len(rates)]
        if asked is not None:
            with torch.no_grad(): out.append(row_losses(model, asked[k]).numpy())
        if not opt.param_groups[0]['lr'] and asked is not None: continue
        loss = row_losses(model, rows)
        loss.mean().backward()
        opt.step()
        opt.zero_grad()
        if asked is None: out.append(loss[:ROWS].detach().numpy())
    return out

def fact_rows(rng):
    "All facts [rows, 2]: known ones, then four epochs of new ones."
    keys = VALUES + rng.permutation(KNOWN + 4*N)
    return np.stack([keys, rng.integers(0, VALUES, len(keys))], 1)

@cache
def text_rows():
    "Rows of prose and of code [rows, LEN + 1], bytes."
    sources = embedded_sources()[:2]
    texts = [np.array(s[:]).astype(np.int64) for s in sources]
    return [t[:, :96].reshape(-1, LEN)[:len(t)*96//LEN] for t in texts]

@dataclass
class Settings:
    "Base models and rows, made when they are first asked for."
    made: dict = field(default_factory=dict)

    def facts(self, seed):
        "A model that can read facts out, and its facts."
        key = 'facts', seed % BASES
        if key not in self.made:
            rng = np.random.default_rng(seed % BASES)
            torch.manual_seed(seed % BASES)
            rows = fact_rows(rng)
            model = GPT(VALUES + len(rows), 1, WIDTH, 1, tied=False)
            known = [rng.permutation(KNOWN) for _ in range(4)]
            train(model, list(rows[np.concatenate(known)].reshape(-1, 32, 2)), rates=[4e-3])
            self.made[key] = model, rows
        return self.made[key]

    def code(self, seed, trained=True):
        "A model that has read prose, or none."
        key = 'code', trained, seed % BASES
        if key not in self.made:
            rng = np.random.default_rng(seed % BASES)
            torch.manual_seed(seed % BASES)
            model = GPT(256, LEN, WIDTH, 1)
            prose = text_rows()[0]
            batches = [prose[rng.integers(0, len(prose), 32)] for _ in range(200*trained)]
            train(model, batches, rates=[3e-3])
            self.made[key] = model
        return self.made[key]

def order_of(name, rng):
    "Positions of the rows under test [EPOCHS * N]."
    if name == 'endless': return rng.permutation(EPOCHS*N)
    if name == 'drawn': return rng.integers(0, N, EPOCHS*N)
    if name == 'across': return rng.permutation(np.tile(np.arange(N), EPOCHS))
    return np.concatenate([rng.permutation(N) for _ in range(EPOCHS)])

def rates_of(condition):
    "The learning rate of each step."
    steps = np.arange(EPOCHS*STEPS)
    if condition.rate == 'restart': return condition.lr*(1 - steps % STEPS/STEPS)
    if condition.rate == 'decay': return condition.lr*.1**(steps//STEPS)
    return np.full(len(steps), condition.lr)

def by_steps(x):
    "Cut what is known of all rows under test into steps."
    return x.reshape(EPOCHS*STEPS, ROWS, *x.shape[1:])

def remembered(condition, settings, seed, rng):
    "Train on the rows under test: losses and ids, lists of one array a step."
    ids = order_of(condition.order, rng)
    replay = rng.integers(0, KNOWN, (EPOCHS*STEPS, ROWS))
    if condition.data == 'code':
        base, (prose, new) = settings.code(seed), text_rows()
        new, extra = new[rng.permutation(len(new))], prose[replay]
    else:
        base, facts = settings.facts(seed)
        new, extra = facts[KNOWN:][rng.permutation(4*N)], facts[replay]
    shown = np.concatenate([by_steps(new[ids]), extra], 1)
    losses = train(copy.deepcopy(base), shown, rates=rates_of(condition))
    return losses, list(by_steps(ids))

def never_trained(condition, settings, seed, rng):
    """Train on other rows than those under test, of which there are `SETS` sets.

    Returns losses and ids of each set, pairs of lists of one array a step."""
    base, (prose, code) = settings.code(seed, condition.data == 'code'), text_rows()
    code = code[rng.permutation(len(code))]
    asked, fresh = code[:SETS*N].reshape(SETS, N, -1), code[SETS*N:]
    ids = np.stack([by_steps(order_of('epochs', rng)) for _ in range(SETS)], 1)
    shown = fresh[rng.integers(0, len(fresh), (EPOCHS*STEPS, ROWS))]
    if condition.moves: # from the first boundary on
        prose_rows = prose[rng.integers(0, len(prose), (EPOCHS*STEPS, ROWS))]
        shown[STEPS:, ROWS//4:] = prose_rows[STEPS:, ROWS//4:]
        later = ids[STEPS:2*STEPS].transpose(0, 2, 1).reshape(4*STEPS, ROWS//4, SETS)
        ids = list(ids[:STEPS]) + list(later.transpose(0, 2, 1)[:2*STEPS])
    rows = [np.concatenate([asked[s][step[s]] for s in range(SETS)]) for step in ids]
    losses = train(copy.deepcopy(base), list(shown), rows, rates_of(condition))
    losses = [step.reshape(SETS, -1) for step in losses]
    return [([x[s] for x in losses], [i[s] for i in ids]) for s in range(SETS)]

def trainings(name, settings, seed):
    "Losses and ids of the rows under test, a list of pairs of lists of one array a step."
    condition = CONDITIONS[name]
    rng = np.random.default_rng([1000 + seed, list(CONDITIONS).index(name)])
    if condition.held_out: return never_trained(condition, settings, seed, rng)
    return [remembered(condition, settings, seed, rng)]

def keep(folder, name, seed, runs):
    "Write the tests of one training to files."
    for k, (losses, ids) in enumerate(runs):
        sizes = [len(step) for step in ids]
        np.savez(folder/f'{name}-{seed}-{k}.npz', sizes=sizes,
                 losses=np.concatenate(losses), ids=np.concatenate(ids))

def kept(path):
    "Read a training from a file: losses and ids, one array a step."
    with np.load(path) as f:
        cuts = np.cumsum(f['sizes'])[:-1]
        return np.split(f['losses'].astype(float), cuts), np.split(f['ids'], cuts)

def numbers(report):
    "What is kept of a report."
    first = report.boundaries[0]
    return dict(found=report.found, verdict=report.verdict, p=report.p,
                drop=first.drop, se=first.jump.se, ci=list(first.ci), p_first=first.p_raw,
                correlation=first.correlation if first.paired else None)

def tested(losses, ids):
    "Both tests on one training."
    starts = STARTS[:2] if len(losses[-1]) < ROWS else STARTS
    means = [step.mean() for step in losses]
    plain = detect_clunks(means, starts)
    paired = paired_clunk(losses, ids, starts)
    return dict(plain=numbers(plain), paired=numbers(paired))

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=13, help='trainings of each condition')
    parser.add_argument('--names', nargs='*', default=list(CONDITIONS))
    parser.add_argument('--keep', type=Path, default=Path(tempfile.gettempdir())/'paired_trainings')
    parser.add_argument('--out', type=Path, default='experiments/results/paired_trainings.json')
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.keep.mkdir(parents=True, exist_ok=True)
    settings, start, results = Settings(), time.perf_counter(), {}
    for seed in range(args.seeds):
        for name in args.names:
            if (args.keep/f'{name}-{seed}-0.npz').exists(): continue
            keep(args.keep, name, seed, trainings(name, settings, seed))
        if seed % 20 == 0: print(seed, round(time.perf_counter() - start), 's', flush=True)
    for name in args.names:
        sets = SETS if CONDITIONS[name].held_out else 1
        ends = [f'{seed}-{k}' for seed in range(args.seeds) for k in range(sets)]
        results[name] = [tested(*kept(args.keep/f'{name}-{end}.npz')) for end in ends]
        print(name, round(time.perf_counter() - start), 's', flush=True)
    made = dict(
        command=' '.join(['python', *sys.argv]), platform=platform.platform(),
        processor=platform.processor() or platform.machine(), threads=1,
        python=platform.python_version(), torch=torch.__version__, numpy=np.__version__,
        seeds=args.seeds)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(dict(made=made, results=results)) + '\n')

if __name__ == '__main__': main()

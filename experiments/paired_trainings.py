"""Is the paired test right on trainings? False finds, and power, beside the plain test.

    python experiments/paired_trainings.py [--seeds 300] [--names NAME ...] [--keep FOLDER]

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
- `grammar, held out`: the model trains on rows of a small grammar (one of 16 words, and one of its
  four successors) that are drawn anew at every step. Other rows of the grammar are under test.
- `grammar, fresh`: the rows under test are trained on, and drawn anew for every epoch. A row has the
  name of the row that stood in its place an epoch ago.

In the others rows repeat in epochs and are remembered: `facts` and `code`, at several rates, and
`grammar`, where the 480 rows of an epoch come again. A probe measures that memory directly: the
loss after one epoch on rows drawn anew, minus that on the rows of this epoch.

Every seed has its own rows and order, and its own training. Where the rows under test are not
trained on, eight sets of them are tested in each training. Facts that never come round in epochs
leave no pairs, so there both tests are one. Five base models of each kind take turns. No seed is
picked: they are 0, 1, 2, ...

What is finished stays in the folder of `--keep`, trainings and tests, so an interrupted run resumes
where it stopped. `--again` tests the kept trainings anew, after a change of the test.
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
from typing import NamedTuple

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
    data: str # 'facts', 'grammar', 'code' or 'scratch'
    order: str = 'epochs' # 'epochs', 'endless', 'drawn', 'across' or 'fresh'
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
    'code, 5e-3': Condition('code', lr=5e-3),
    'grammar': Condition('grammar', lr=1e-3),
    'grammar, fresh': Condition('grammar', 'fresh', lr=1e-3),
    'grammar, held out': Condition('grammar', held_out=True, lr=1e-3)}

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

def grammar_rows(words, n, rng):
    "Draw `n` rows of two tokens: one of 16 words and one of its four successors."
    successors = np.random.default_rng(0).integers(0, VALUES, (16, 4))
    word = rng.integers(0, 16, n)
    return np.stack([words[word], successors[word, rng.integers(0, 4, n)]], 1)

def probe(model, seen, never):
    "How much easier rows of the epoch just read are than rows drawn anew, nats."
    with torch.no_grad(): losses = [row_losses(model, rows).mean() for rows in (never, seen)]
    return float(losses[0] - losses[1])

def on_grammar(condition, settings, seed, rng):
    "Train on rows of a grammar: losses and ids, lists of one array a step, and the probe."
    base, facts = settings.facts(seed)
    words = facts[KNOWN:KNOWN + 16, 0] # the model has not learned these
    if condition.order == 'fresh':
        rows, ids = grammar_rows(words, EPOCHS*N, rng), np.tile(np.arange(N), EPOCHS)
    else:
        ids = order_of('epochs', rng)
        rows = grammar_rows(words, N, rng)[ids]
    replay = facts[rng.integers(0, KNOWN, (EPOCHS*STEPS, ROWS))]
    shown = np.concatenate([by_steps(rows), replay], 1)
    rates = rates_of(condition)
    once = copy.deepcopy(base)
    train(once, shown[:STEPS], rates=rates)
    losses = train(copy.deepcopy(base), shown, rates=rates)
    return losses, list(by_steps(ids)), probe(once, rows[:N], grammar_rows(words, 8*N, rng))

def beside_grammar(condition, settings, seed, rng):
    "Train on rows of a grammar, and ask for others: as `never_trained`."
    base, facts = settings.facts(seed)
    words = facts[KNOWN:KNOWN + 16, 0]
    asked = [grammar_rows(words, N, rng) for _ in range(SETS)]
    ids = [by_steps(order_of('epochs', rng)) for _ in range(SETS)]
    rows = np.concatenate([own[place] for own, place in zip(asked, ids)], 1)
    replay = facts[rng.integers(0, KNOWN, (EPOCHS*STEPS, ROWS))]
    shown = np.concatenate([by_steps(grammar_rows(words, EPOCHS*N, rng)), replay], 1)
    losses = np.stack(train(copy.deepcopy(base), shown, rows, rates_of(condition)))
    return list(zip(losses.reshape(EPOCHS*STEPS, SETS, ROWS).swapaxes(0, 1), ids))

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

class Training(NamedTuple):
    "What a training leaves for the tests."
    losses: np.ndarray # of the rows under test, in the order of the run [sets, rows], nats
    ids: np.ndarray # of these rows, likewise
    sizes: np.ndarray # rows of each step [steps]
    gap: float = np.nan # of the probe, nats

    def sets(self):
        "Losses and ids of each set, pairs of lists of one array a step."
        cuts = np.cumsum(self.sizes)[:-1]
        return [(np.split(losses.astype(float), cuts), np.split(ids, cuts))
                for losses, ids in zip(self.losses, self.ids)]

def training(name, settings, seed):
    "Train once."
    condition, gap = CONDITIONS[name], np.nan
    rng = np.random.default_rng([1000 + seed, list(CONDITIONS).index(name)])
    if condition.held_out and condition.data == 'grammar':
        runs = beside_grammar(condition, settings, seed, rng)
    elif condition.held_out: runs = never_trained(condition, settings, seed, rng)
    elif condition.data == 'grammar':
        *run, gap = on_grammar(condition, settings, seed, rng)
        runs = [run]
    else: runs = [remembered(condition, settings, seed, rng)]
    losses = np.stack([np.concatenate(losses) for losses, ids in runs])
    ids = np.stack([np.concatenate(ids) for losses, ids in runs])
    return Training(losses, ids.astype(np.int32), np.array([len(step) for step in runs[0][1]]), gap)

def kept(path, make):
    "Read a training from a file; if there is none, `make` and write it."
    if path.exists():
        with np.load(path) as f: return Training(**{name: f[name] for name in f})
    made = make()
    half = path.with_suffix('.half.npz') # so that an interrupted one leaves no broken file
    np.savez(half, **made._asdict())
    half.replace(path)
    return made

def tested(losses, ids):
    "What is kept of both tests."
    starts = STARTS[:2] if len(losses[-1]) < ROWS else STARTS
    plain = detect_clunks([step.mean() for step in losses], starts)
    paired = paired_clunk(losses, ids, starts)
    one, other = plain.boundaries[0], paired.boundaries[0]
    kept = dict(
        plain=int(plain.found), paired=int(paired.found),
        named=int('memorization' in paired.verdict),
        p_plain=plain.p, p_paired=paired.p,
        drop=other.drop,
        correlation=other.correlation if other.paired else 0.,
        gain=(one.jump.se/other.jump.se)**2)
    return {key: value if isinstance(value, int) else float(f'{value:.3g}')
            for key, value in kept.items()}

def columns(records):
    "Make {condition: {number: values}} of the records of many trainings."
    results = {}
    for record in records:
        own = results.setdefault(record['name'], dict(trainings=0))
        own['trainings'] += 1
        for test in record['tests']:
            for key, value in test.items(): own.setdefault(key, []).append(value)
        if record['gap'] is not None: own.setdefault('gap', []).append(record['gap'])
    return results

def write(out, records, seconds):
    "Write the results so far."
    made = dict(
        command=' '.join(['python', *sys.argv]), platform=platform.platform(),
        processor=platform.processor() or platform.machine(), threads=1,
        python=platform.python_version(), torch=torch.__version__, numpy=np.__version__,
        seconds=round(seconds))
    results = columns(records)
    results = {name: results[name] for name in CONDITIONS if name in results}
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_suffix('.half')
    half.write_text(json.dumps(dict(made=made, results=results)) + '\n')
    half.replace(out)

def recorded(path, again):
    "Read the records of finished tests, in order."
    if again: path.unlink(missing_ok=True)
    if not path.exists(): return []
    lines = path.read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith('}')] # the last may be half written

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=300, help='trainings of each condition')
    parser.add_argument('--names', nargs='*', default=list(CONDITIONS), help='conditions')
    parser.add_argument('--keep', type=Path, default=Path(tempfile.gettempdir())/'paired_trainings')
    parser.add_argument('--out', type=Path, default='experiments/results/paired_trainings.json')
    parser.add_argument('--again', action='store_true', help='test kept trainings anew')
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.keep.mkdir(parents=True, exist_ok=True)
    file = args.keep/'tests.jsonl'
    records = recorded(file, args.again)
    file.write_text(''.join(json.dumps(record) + '\n' for record in records))
    done = {(record['name'], record['seed']) for record in records}
    settings, start = Settings(), time.perf_counter()
    for seed in range(args.seeds):
        for name in args.names:
            if (name, seed) in done: continue
            def make(): return training(name, settings, seed)
            run = kept(args.keep/f'{name}-{seed}.npz', make)
            gap = float(run.gap) if np.isfinite(run.gap) else None
            tests = [tested(*one) for one in run.sets()]
            records.append(dict(name=name, seed=seed, gap=gap, tests=tests))
            with file.open('a') as f: f.write(json.dumps(records[-1]) + '\n')
        if seed % 5 < 4 and seed + 1 < args.seeds: continue
        write(args.out, records, time.perf_counter() - start)
        print(seed, round(time.perf_counter() - start), 's', flush=True)

if __name__ == '__main__': main()

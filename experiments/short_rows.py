"""Does training on short rows first reach a held-out loss with fewer tokens?

    python experiments/short_rows.py [--seeds 3] [--steps 600] [--out FILE]

The model of the demonstration (a GPT of width 128 with 2 blocks, rows of 96 bytes, batches of
16 rows) trains from scratch on the embedded prose, code and question-answer, in shares of 50,
35 and 15 %. One arm reads whole rows. The other has `ShortRowsFirst()` with its defaults: rows
of 32 tokens at first, growing to 96 over the first 30 % of the steps. Both arms of a seed begin
with the same weights and are served the same rows at the same constant learning rate, and both
are validated on whole rows every 20 steps. For each target loss we ask how many training
tokens, and how many seconds of training, an arm needed to reach it. The three targets were
chosen from one training on whole rows with seed 100, which does not count: it reached them
after about 160, 360 and 530 of 600 steps.

Prediction, written before any run with short rows:

- 2.6 nats, reached while rows are still short: no clear saving, 0.85 to 1.15 of the tokens of
  whole rows. Shorter rows mean more optimizer steps a token, which helps early; but positions
  beyond the present length are untrained, and the held-out rows are whole, which costs.
- 2.3 nats: 0.88 to 0.98 of the tokens. The short phase skips 104,000 tokens, about a fifth of
  what whole rows need for this target, and part of what was skipped has to be learned later.
- 2.1 nats: 0.92 to 1.00 of the tokens. The head start fades.
- Seconds: about the ratio of the tokens. At 96 tokens and width 128 attention is a small part
  of a step, so a token costs nearly the same in a short row. The machine is shared, so seconds
  can only be read roughly.

It is refuted, and the callback is useless at this size, if the mean ratio of tokens at 2.1 nats
is above 1.

What came out, with seeds 0 to 2: the question is not settled. In each arm one of the three
trainings learned more slowly than the other two and did not reach 2.1 nats, whole rows at seed
2 and short rows at seed 0. Seeds differ by far more than we predicted for short rows, so it
takes many more of them to see the effect, if there is one.

Results are written after every run. Runs that are in the file already are kept, so the script
can be interrupted and called again, or called with more seeds.
"""
import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from fastai.basics import set_seed

from cptlib.callback.core import LeanCallback
from cptlib.callback.speed import ShortRowsFirst
from cptlib.data.mixture import Mixture
from cptlib.data.source import embedded_sources
from cptlib.learner import cpt_learner
from cptlib.models.gpt import GPT

SHARES = dict(prose=.5, code=.35, qa=.15)
ROW_LEN, WIDTH, DEPTH, BS, LR = 96, 128, 2, 16, 2e-3
TARGETS = [2.6, 2.3, 2.1] # held-out nats, weighted by SHARES

class Clock(LeanCallback):
    "Tokens read and seconds spent in training passes, without validation."
    order = 99 # after everything else in a pass
    def before_fit(self): self.tokens, self.seconds, self.marks = 0, 0., [(0, 0.)]
    def before_train(self): self.began = time.perf_counter()
    def after_batch(self):
        if self.training: self.tokens += self.y.numel()
    def after_train(self):
        self.seconds += time.perf_counter() - self.began
        self.marks.append((self.tokens, self.seconds))

def train(arm, seed, steps, every, rows):
    "One training: its validations as a list of dicts."
    train_on, held_out = embedded_sources(split='train'), embedded_sources(split='valid')
    set_seed(seed)
    mixture = Mixture(train_on, SHARES, BS, steps, seed=seed)
    cbs = [Clock()]
    if arm == 'short rows first': cbs.append(ShortRowsFirst())
    model = GPT(256, ROW_LEN, WIDTH, DEPTH)
    learn = cpt_learner(model, mixture, held_out, every=every, lr=LR, rows=rows, bf16=False,
                        device='cpu', cbs=cbs)
    with learn.quietly(): learn.fit_cpt(shape='constant')
    names, shares = learn.accuracy_tracker.names, np.array(list(SHARES.values()))
    curve = []
    records = learn.accuracy_tracker.records
    for record, (tokens, seconds) in zip(records, learn.clock.marks, strict=True):
        by_source = dict(zip(names, map(float, record['loss'])))
        loss = float(record['loss'] @ shares)
        curve.append(dict(step=record['step'], tokens=tokens, seconds=seconds, loss=loss,
                          by_source=by_source))
    return curve

def needed(curve, target, what):
    "`what` ('tokens' or 'seconds') at which `target` was reached, interpolated; None if never."
    for before, after in zip(curve, curve[1:]):
        if after['loss'] > target: continue
        share = (before['loss'] - target)/(before['loss'] - after['loss'])
        return before[what] + share*(after[what] - before[what])

def summary(runs):
    "For each target and seed: what each arm needed, and short rows over whole rows."
    found = []
    for seed in sorted({r['seed'] for r in runs}):
        arms = {r['arm']: r['curve'] for r in runs if r['seed'] == seed}
        if len(arms) < 2: continue
        for target in TARGETS:
            row = dict(seed=seed, target=target)
            for what in ('tokens', 'seconds'):
                whole = needed(arms['whole rows'], target, what)
                short = needed(arms['short rows first'], target, what)
                ratio = short/whole if whole and short else None
                row[what] = dict(whole=whole, short=short, ratio=ratio)
            found.append(row)
    return found

def machine():
    cpu = ''
    if Path('/proc/cpuinfo').exists():
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        models = [line for line in lines if 'model name' in line]
        cpu = models[0].split(':')[1].strip() if models else ''
    return dict(platform=platform.platform(), cpu=cpu, python=platform.python_version(),
                torch=torch.__version__, threads=torch.get_num_threads())

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--seeds', type=int, default=3, help='how many seeds, from 0 on')
    parser.add_argument('--first-seed', type=int, default=0, help='the first of them')
    parser.add_argument('--steps', type=int, default=600, help='steps of each training')
    parser.add_argument('--every', type=int, default=20, help='steps between two validations')
    parser.add_argument('--rows', type=int, default=64, help='held-out rows of each source')
    parser.add_argument('--out', default='experiments/results/short_rows.json', help='result file')
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    model = dict(row_len=ROW_LEN, width=WIDTH, depth=DEPTH, bs=BS, lr=LR, shares=SHARES)
    result = dict(machine=machine(), model=model, steps=args.steps, every=args.every,
                  rows=args.rows, targets=TARGETS, summary=[], runs=[])
    settings = ('model', 'steps', 'every', 'rows', 'targets')
    if out.exists():
        old = json.loads(out.read_text())
        if any(old[k] != result[k] for k in settings):
            raise SystemExit(f'{out} has other settings; give another --out')
        result['runs'] = old['runs']
    done = {(run['seed'], run['arm']) for run in result['runs']}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        arms = ['whole rows', 'short rows first']
        # in turn, so that a busy machine hits both
        for arm in arms if seed % 2 == 0 else arms[::-1]:
            if (seed, arm) in done: continue
            curve = train(arm, seed, args.steps, args.every, args.rows)
            result['runs'].append(dict(seed=seed, arm=arm, curve=curve))
            result['summary'] = summary(result['runs'])
            out.write_text(json.dumps(result, indent=1) + '\n')
            last = curve[-1]
            read = f"{last['tokens']:,} tokens, {last['seconds']:.0f} s"
            print(f"seed {seed}, {arm}: {last['loss']:.3f} nats after {read}", flush=True)

if __name__ == '__main__': main()

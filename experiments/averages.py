"""A constant learning rate and a mean of checkpoints, in place of a decay, at equal tokens.

    python experiments/averages.py [--seeds 5] [--out FILE]

A GPT of width 128 with 2 blocks (rows of 96 bytes, batches of 16 rows) learns the embedded prose
for 240 steps. From there it is continued for 200 steps on code, with 20 % of prose replayed, at a
peak learning rate of 2e-3 with 5 % warmup. Three trainings of a seed begin with the same weights
and are served the same rows:

- cosine: the rate falls to a tenth of its peak
- wsd: the rate is constant, and falls to 0 over the last 20 % of the steps
- constant: the rate stays at its peak

The third is evaluated in three ways: as it is, as the mean of its last 4 checkpoints, which are
10 steps apart ("merge"), and as the moving average of `EMA(.99)` ("ema"). Gain is the fall of the
loss on held-out code since before the continuation, and forgetting is the rise of the loss on
held-out prose, both in nats.

Predictions, written before any result:

1. The merge gains more than the constant rate as it is, in 5 of 5 seeds.
2. The merge forgets less than the constant rate as it is, in at least 4 of 5 seeds.
3. The merge gains less than wsd, but closes at least half of the distance from constant to wsd,
   on average over the seeds.
4. In forgetting, merge and wsd differ by less than 0.03 nats on average.
5. EMA and merge differ by less than 0.02 nats in gain on average.

Results are written after every seed. Seeds that are in the file already are kept, so the script
can be interrupted and called again.
"""
import argparse
import copy
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from fastai.basics import set_seed

from cptlib.callback.accuracy import evaluate
from cptlib.callback.averages import EMA, merge_checkpoints
from cptlib.callback.checkpoint import Checkpoint
from cptlib.data.mixture import Mixture
from cptlib.data.source import embedded_sources
from cptlib.learner import cpt_learner
from cptlib.models.gpt import GPT
from cptlib.report import machine

ROW_LEN, WIDTH, DEPTH, BS, LR = 96, 128, 2, 16, 2e-3
BASE_STEPS, STEPS, ROWS, LAST, APART = 240, 200, 64, 4, 10
REPLAY = dict(prose=.2, code=.8)

def continue_on(model, weights, steps, shape, seed, cbs=()):
    "Train a copy of a model."
    names = list(weights)
    train = [s for s in embedded_sources(split='train') if s.name in names]
    valid = [s for s in embedded_sources(split='valid') if s.name in ('prose', 'code')]
    set_seed(seed)
    mixture = Mixture(train, weights, BS, steps, seed=seed)
    learn = cpt_learner(copy.deepcopy(model), mixture, valid, every=steps, lr=LR, rows=ROWS,
                        bf16=False, device='cpu', cbs=list(cbs))
    with learn.quietly(): learn.fit_cpt(shape=shape)
    return learn

def losses(learn):
    "Loss on held-out text of each source, in nats."
    return evaluate(learn.model, learn.dls.valid)['loss'].to_dict()

def run(seed):
    "All arms of a seed: {arm: {source: loss}}."
    set_seed(seed)
    base = continue_on(GPT(256, ROW_LEN, WIDTH, DEPTH), dict(prose=1.), BASE_STEPS, 'cosine', seed)
    found = dict(before=losses(base))
    for shape in ('cosine', 'wsd'):
        learn = continue_on(base.model, REPLAY, STEPS, shape, seed)
        found[shape] = losses(learn)
    folder = Path(tempfile.mkdtemp())
    cbs = [EMA(.99, validate=False), Checkpoint(folder, every=APART, minutes=None, keep=LAST)]
    learn = continue_on(base.model, REPLAY, STEPS, 'constant', seed, cbs)
    found['constant'] = losses(learn)
    with learn.averaged(): found['ema'] = losses(learn)
    steps = sorted(folder.glob('step-*'))[-LAST:]
    with learn.averaged(merge_checkpoints(steps)): found['merge'] = losses(learn)
    found['merged'] = [p.name for p in steps]
    shutil.rmtree(folder)
    return found

def summary(runs):
    "Mean and standard deviation over the seeds of gain and forgetting, and the predictions."
    arms = ['constant', 'merge', 'ema', 'cosine', 'wsd']
    gain = {a: np.array([r['before']['code'] - r[a]['code'] for r in runs]) for a in arms}
    lost = {a: np.array([r[a]['prose'] - r['before']['prose'] for r in runs]) for a in arms}
    def both(values):
        spread = float(values.std(ddof=1)) if len(runs) > 1 else None
        return dict(mean=float(values.mean()), sd=spread)
    table = {a: dict(gain=both(gain[a]), forgetting=both(lost[a])) for a in arms}
    closed = (gain['merge'] - gain['constant']).mean()/(gain['wsd'] - gain['constant']).mean()
    came_out = {
        '1 seeds in which merge gains more than constant':
            int((gain['merge'] > gain['constant']).sum()),
        '2 seeds in which merge forgets less than constant':
            int((lost['merge'] < lost['constant']).sum()),
        '3 share of the distance to wsd that merge closes': float(closed),
        '4 forgetting of merge minus wsd': float((lost['merge'] - lost['wsd']).mean()),
        '5 gain of ema minus merge': float((gain['ema'] - gain['merge']).mean())}
    return dict(seeds=len(runs), arms=table, predictions=came_out)

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--seeds', type=int, default=5, help='how many seeds, from 0 on')
    parser.add_argument('--out', default='experiments/results/averages.json', help='result file')
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = Path(args.out)
    settings = dict(row_len=ROW_LEN, width=WIDTH, depth=DEPTH, bs=BS, lr=LR, rows=ROWS,
                    base_steps=BASE_STEPS, steps=STEPS, last=LAST, apart=APART, weights=REPLAY)
    result = dict(machine=machine(), settings=settings, summary={}, runs=[])
    if out.exists():
        old = json.loads(out.read_text())
        if old['settings'] != settings:
            raise SystemExit(f'{out} has other settings; give another --out')
        result['runs'] = old['runs']
    for seed in range(len(result['runs']), args.seeds):
        result['runs'].append(dict(seed=seed) | run(seed))
        result['summary'] = summary(result['runs'])
        out.write_text(json.dumps(result, indent=1) + '\n')
        print(seed, json.dumps(result['runs'][-1]), flush=True)

if __name__ == '__main__': main()

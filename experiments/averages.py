"""A constant learning rate and a mean of checkpoints, in place of a decay, at equal tokens.

    python experiments/averages.py [--seeds 5] [--out FILE]

The model of the demonstration (a GPT of width 128 with 2 blocks, rows of 96 bytes, batches of
16 rows) learns the embedded prose for 600 steps. From there it is continued for 400 steps on
code, with 20 % of prose replayed, at a peak learning rate of 2e-3 with 5 % warmup. Three
trainings of a seed begin with the same weights and are served the same rows:

- cosine: the rate falls to a tenth of its peak
- wsd: the rate is constant, and falls to 0 over the last 20 % of the steps
- constant: the rate stays at its peak

The third is evaluated in three ways: as it is, as the mean of its last 4 checkpoints, which are
20 steps apart ("merge"), and as the moving average of `EMA(.99)` ("ema"). Gain is the rise of
the accuracy on held-out code since before the continuation. Retention is the accuracy on
held-out prose after it over before it.

Predictions, written before any run:

1. The merge gains more than the constant rate as it is, in 5 of 5 seeds.
2. The merge keeps more prose than the constant rate as it is, in at least 4 of 5 seeds.
3. The merge gains less than wsd, but closes at least half of the distance from constant to wsd,
   on average over the seeds.
4. In retention, merge and wsd differ by less than 0.02 on average.
5. EMA and merge differ by less than 0.005 in gain on average.

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
BASE_STEPS, STEPS, ROWS, LAST, APART = 600, 400, 256, 4, 20
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

def accuracies(learn):
    "Accuracy on held-out text of each source."
    return evaluate(learn.model, learn.dls.valid)['accuracy'].to_dict()

def run(seed):
    "All arms of a seed: {arm: {source: accuracy}}."
    set_seed(seed)
    base = continue_on(GPT(256, ROW_LEN, WIDTH, DEPTH), dict(prose=1.), BASE_STEPS, 'cosine', seed)
    found = dict(before=accuracies(base))
    for shape in ('cosine', 'wsd'):
        learn = continue_on(base.model, REPLAY, STEPS, shape, seed)
        found[shape] = accuracies(learn)
    folder = Path(tempfile.mkdtemp())
    cbs = [EMA(.99, validate=False), Checkpoint(folder, every=APART, minutes=None, keep=LAST)]
    learn = continue_on(base.model, REPLAY, STEPS, 'constant', seed, cbs)
    found['constant'] = accuracies(learn)
    with learn.averaged(): found['ema'] = accuracies(learn)
    steps = sorted(folder.glob('step-*'))[-LAST:]
    with learn.averaged(merge_checkpoints(steps)): found['merge'] = accuracies(learn)
    found['merged'] = [p.name for p in steps]
    shutil.rmtree(folder)
    return found

def summary(runs):
    "Mean and standard deviation over the seeds of gain and retention, and the predictions."
    arms = ['constant', 'merge', 'ema', 'cosine', 'wsd']
    gain = {a: np.array([r[a]['code'] - r['before']['code'] for r in runs]) for a in arms}
    kept = {a: np.array([r[a]['prose']/r['before']['prose'] for r in runs]) for a in arms}
    def both(values):
        return dict(mean=float(values.mean()), sd=float(values.std(ddof=1)) if len(runs) > 1 else None)
    table = {a: dict(gain=both(gain[a]), retention=both(kept[a])) for a in arms}
    closed = (gain['merge'] - gain['constant']).mean()/(gain['wsd'] - gain['constant']).mean()
    came_out = {
        '1 merge gains more than constant, seeds': int((gain['merge'] > gain['constant']).sum()),
        '2 merge keeps more than constant, seeds': int((kept['merge'] > kept['constant']).sum()),
        '3 share of the distance to wsd that merge closes': float(closed),
        '4 retention of merge minus wsd': float((kept['merge'] - kept['wsd']).mean()),
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

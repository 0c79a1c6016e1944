"""What pairing rows gains on real runs: `python bench/paired.py [--seeds 3] [--out FILE]`.

We train two epochs on facts (at a low learning rate, where the step is small) and on Python code
(where there is none). Each run has 128 steps an epoch, and is repeated on a quarter of the rows,
with 32 steps an epoch. Both tests are applied to each run: the plain one to the step means, and
the paired one, which compares each row with itself. The aim is that the standard error of the
paired test on the quarter is no larger than that of the plain test on the whole. No seed is
selected: they are 0, 1, 2, ...

A run that is finished is stored at once, so an interrupted script resumes where it stopped.
"""
import argparse
import copy
import json
import os
import platform
import sys
import time
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1') # before numpy is imported
import numpy as np
import torch
from cptlib.clunk.changepoint import boundary_test
from cptlib.clunk.paired import EpochRows, paired_test
from cptlib.memorization import train_rows
sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'experiments'))
from suite import fact_setting, text_setting

def two_epochs(setting, n, lr, seed):
    "Losses and ids [steps, 16] of `n` new rows over two shuffled epochs, others replayed."
    rng = np.random.default_rng(seed)
    rows = np.concatenate([setting.new[:n], setting.known])
    orders = [rng.permutation(n) for _ in range(2)]
    ids = np.concatenate(orders).reshape(-1, 16)
    replayed = n + rng.integers(0, len(setting.known), ids.shape)
    steps = np.concatenate([ids, replayed], 1)
    losses = train_rows(copy.deepcopy(setting.base), rows, steps, lr=lr)
    return losses[:, :16], ids

def as_dict(jump):
    "The numbers of a `Jump` that are kept."
    return dict(drop=jump.drop, ci=list(jump.ci), se=jump.se, p=jump.p)

def tested(losses, ids):
    "Both tests on one run."
    n = len(ids)//2
    means = losses.mean(1)
    plain = boundary_test(means[:n], means[n:])
    before = EpochRows(losses[:n], ids[:n])
    after = EpochRows(losses[n:], ids[n:])
    found = paired_test(before, after)
    return dict(plain=as_dict(plain), paired=as_dict(found.jump), correlation=found.correlation)

def code_setting(seed): return text_setting(seed, new=2048)

SETTINGS = dict(facts=fact_setting, code=code_setting)
RATES = dict(facts=(1e-4, 3e-4), code=(1e-3,)) # learning rates

def missing(seed, runs):
    "The kinds, learning rates and rows of one seed that are not among the finished runs."
    done = {(run['kind'], run['seed'], run['lr'], run['steps']) for run in runs}
    todo = [(kind, lr, n) for kind in SETTINGS for lr in RATES[kind] for n in (2048, 512)]
    return [(kind, lr, n) for kind, lr, n in todo if (kind, seed, lr, n//16) not in done]

def write(out, runs, seeds, seconds):
    "Write what is finished."
    made = dict(
        command=' '.join(['python', *sys.argv]),
        platform=platform.platform(),
        processor=platform.processor() or platform.machine(),
        threads=1,
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=np.__version__,
        seeds=list(range(seeds)),
        seconds=round(seconds))
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_suffix('.half')
    half.write_text(json.dumps(dict(made=made, runs=runs), indent=1) + '\n')
    half.replace(out)

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--out', type=Path, default='bench/results/paired.json')
    args = parser.parse_args()
    torch.set_num_threads(1)
    part = args.out.with_suffix('.part.json')
    stored = json.loads(part.read_text()) if part.exists() else dict(runs=[], made=dict(seconds=0))
    runs, start = stored['runs'], time.process_time() - stored['made']['seconds']
    for seed in range(args.seeds):
        settings = {}
        for kind, lr, n in missing(seed, runs):
            if kind not in settings: settings[kind] = SETTINGS[kind](seed)
            run = dict(kind=kind, seed=seed, lr=lr, steps=n//16)
            runs.append(run | tested(*two_epochs(settings[kind], n, lr, seed)))
            write(part, runs, args.seeds, time.process_time() - start)
            print(f'{time.process_time() - start:4.0f} s', runs[-1], flush=True)
    part.replace(args.out)

if __name__ == '__main__': main()

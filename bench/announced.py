"""How often is a clunk announced while a run trains? `python bench/announced.py [--out FILE]`.

Runs without a drop have 1, 2, 5 or 20 boundaries, and each announcement is a false alarm. Runs with
a drop have two boundaries, with the drop at the first. Every loss goes through `OnlineClunk.add`,
as in training. The seed is fixed, so the table is the same on every machine.
"""
import argparse
import json
import os
import sys
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1') # before numpy is imported

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'experiments'))
from calibration import Cell, binomial_interval

from cptlib.clunk.detect import OnlineClunk

SIMS = {1: 2000, 2: 2000, 5: 1000, 20: 500} # by boundaries
NOISES = ('white', 'linear'), ('ar5', 'exponential')
DROPS = .1, .15, .2, .3

def announced(losses, n):
    "Which boundaries of a run with `n` steps an epoch are announced as a drop?"
    online, found = OnlineClunk(), []
    for step, loss in enumerate(losses):
        if step and step % n == 0: online.boundary(repeats=1.)
        latest = online.add(loss)
        if latest and latest.verdict == 'drop': found.append(latest.epoch)
    return found

def row(cell, sims):
    "The share of runs in which something is announced, and its interval."
    hits = sum(bool(announced(losses, cell.n)) for losses in cell.simulate(sims, seed=5))
    low, high = binomial_interval(hits, sims)
    return dict(boundaries=cell.epochs - 1, noise=cell.noise, trend=cell.trend, n=cell.n,
                drop=cell.drop, sims=sims, announced=hits/sims, low=low, high=high)

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    default = Path(__file__).parent/'results'/'announced.json'
    parser.add_argument('--out', type=Path, default=default)
    args = parser.parse_args()
    clean = [(Cell(40, boundaries + 1, noise, trend), sims)
             for boundaries, sims in SIMS.items() for noise, trend in NOISES]
    dropping = [(Cell(60, drop=drop), 500) for drop in DROPS]
    rows = []
    for cell, sims in clean + dropping:
        rows.append(row(cell, sims))
        print(rows[-1], flush=True)
    args.out.write_text(json.dumps(rows, indent=1) + '\n')

if __name__ == '__main__': main()

"""Three runs and a law, or three runs of a plain sweep: which tells more about replay?

    python experiments/dial_or_sweep.py [--seeds 5] [--threads 1] [--folder FOLDER] [--out FILE]

The small model of keep.py (a GPT of width 128 with 2 blocks, rows of 96 bytes) has learned prose
and question-answer. It learns German (the manual pages of Debian, package manpages-de) for 80 steps
of 16 rows at a peak rate of .003, with ten shares of replay. The law of the dial was chosen on
another text, code, so this is new to it.

Each way makes three trainings in a seed:

- dial: .3, 5 and 50 %, and `fit_replay_curve` with its default noise, as `replay_dial` does.
- the same runs, straight: straight lines between these three runs, over the share.
- the same runs, log: straight lines over the logarithm of the share.
- sweep, straight and log: 2, 10 and 25 %, what one would try, and lines between them.

A line ends where its runs end: beyond them its last value holds. The shares 1, 3.5, 15 and 35 % are
held out from all ways.

Right are the runs at the held-out shares themselves. For the chosen share, it is where the mean
curve over seeds loses a tolerance, and the tolerances are such that 3, 10 and 30 % would be right.
A way chooses the smallest share at which its own curve loses no more than that.

Predictions, written before the first run:

1. On the held-out shares the dial is nearer than straight lines between the same runs, in the mean
   over both sources, in every seed. In the mean over seeds its error is at most 2/3 of theirs.
2. Lines over the logarithm come closer: the dial's error is lower in 4 of 5 seeds.
3. The plain sweep is as good as the dial at 3.5 and 15 %, within .003. At 1 and 35 %, outside of
   what it ran, its error is larger than the dial's.
4. The share that the dial chooses is within a factor of 1.5 of the right one in the median, and
   of 2 in 80 %. That of the plain sweep is within 1.5 in the median too, except at 3 %.
5. The dial's 90 % intervals for a run hold 9 of 10 held-out runs or more.
6. By error on the held-out shares, the law beats an exponential and a line in log p through the
   same three runs, in the mean over sources and seeds.

One line of JSON per run is appended. Runs that are there already are skipped.

`--what triples` trains nothing. It takes every three of the six shares of bench/sweep.py, five
seeds each, fits them in the same three ways, and compares with the other three shares. It writes
dial_triples.jsonl. Nothing was predicted about it.
"""
import copy
import json
import time
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from pathlib import Path

import numpy as np
from fastai.basics import set_seed
from keep import run_small
from real_clunk import arguments
from transfer import german

from cptlib.data.mixture import Mixture
from cptlib.demo import demo_sources
from cptlib.dial import fit_replay_curve
from cptlib.learner import cpt_learner
from cptlib.recipes import replay
from cptlib.transfer import before_and_after

OUT = Path(__file__).parent/'results'/'dial_or_sweep.jsonl'
SWEPT = Path(__file__).parent.parent/'bench'/'results'/'sweep-128.json'
STEPS, BS, LR, ROWS = 80, 16, 3e-3, 128
OLD = dict(prose=.7, qa=.3)
RIGHT = .03, .08, .2 # shares that would be right, for three tolerances
DIAL, SWEEP, HELD_OUT = (.003, .05, .5), (.02, .1, .25), (.01, .035, .15, .35)

@dataclass(frozen=True)
class Share:
    "One share of replay."
    share:float

    @property
    def name(self): return f'{self.share:g}'

SHARES = [Share(share) for share in (*DIAL, *HELD_OUT, *SWEEP)]

@cache # rendering the manual pages takes longer than a training
def sources_of(folder):
    "Training and validation sources: prose, question-answer and German."
    parts = []
    for split, three in zip(('train', 'valid'), demo_sources()):
        prose, _, qa = three
        parts.append([prose, qa, german(split, folder)])
    return parts

def run(one, seed, start, folder):
    "Train with one share: accuracy and loss before and after."
    train, valid = sources_of(folder)
    set_seed(seed)
    mixture = Mixture(train, replay(OLD, dict(german=1), one.share).schedule, BS, STEPS, seed=seed)
    learn = cpt_learner(copy.deepcopy(start), mixture, valid, every=STEPS, lr=LR, rows=ROWS,
                        bf16=False, device='cpu')
    began = time.process_time()
    with learn.quietly(): learn.fit_cpt()
    seconds = round(time.process_time() - began, 1)
    rows = {name: d['rows'] for name, d in mixture.delivered().items()}
    return dict(share=one.share, rows=rows, cpu_seconds=seconds,
                **before_and_after(learn.accuracy_tracker))

def ways_of(shares, lost):
    "Forgetting by each way, as a function of the share."
    logs = np.log(shares)
    return {'dial': fit_replay_curve(shares, lost),
            'straight': lambda p: np.interp(p, shares, lost),
            'log': lambda p: np.interp(np.log(p), logs, lost)}

def chosen(way, keep, between):
    "The smallest share between two that loses at most `keep` by a way, or the largest."
    tried = np.geomspace(*between, 400)
    enough = np.flatnonzero(np.asarray(way(tried)) <= keep)
    return float(tried[enough[0]] if len(enough) else tried[-1])

def compare_triples(out):
    "Fit every three shares of the stored sweep in three ways, and compare with the others."
    sweep = json.loads(SWEPT.read_text())['replay']
    shares = np.array(sorted(map(float, sweep)))
    with out.open('w') as f:
        for source in OLD:
            lost = -np.array([sweep[f'{share:g}'][source] for share in shares])
            means = np.interp(np.log(RIGHT), np.log(shares), lost.mean(1))
            for three, seed in product(combinations(range(len(shares)), 3), range(lost.shape[1])):
                three, y = list(three), lost[:, seed]
                rest = np.setdiff1d(range(len(shares)), three)
                ways = ways_of(shares[three], y[three])
                low, high = ways['dial'].interval(shares[rest], run=True)
                off = {name: np.abs(way(shares[rest]) - y[rest]).tolist()
                       for name, way in ways.items()}
                chose = {name: [chosen(way, keep, shares[[0, -1]]) for keep in means]
                         for name, way in ways.items()}
                within = ((low <= y[rest]) & (y[rest] <= high)).tolist()
                row = dict(source=source, seed=seed, fitted=shares[three].tolist(),
                           held_out=shares[rest].tolist(), within=within, off=off, chose=chose)
                f.write(json.dumps(row) + '\n')

def main():
    parser = arguments(__doc__, OUT)
    parser.add_argument('--folder', type=Path, help='keep rows and the models to start from here')
    parser.add_argument('--what', default='runs', choices=['runs', 'triples'])
    parser.set_defaults(seeds=5, threads=1)
    args = parser.parse_args()
    if args.what == 'triples': return compare_triples(OUT.with_name('dial_triples.jsonl'))
    run_small(args, SHARES, run)

if __name__ == '__main__': main()

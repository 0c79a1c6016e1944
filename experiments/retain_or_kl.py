"""Should `Retain` turn the weight of `KeepPredictions` as well as the share of replay?

    python experiments/retain_or_kl.py [--seeds 3] [--threads 1] [--folder FOLDER] [--out FILE]

The small model of keep.py (a GPT of width 128 with 2 blocks, rows of 96 bytes) has learned prose
and question-answer, and learns German, as in dial_or_sweep.py: 80 steps of 16 rows at a peak rate
of .003. Both old sources are guarded with a tolerance of .02, from a start with half of the rows.
Predictions of the starting model are stored for 1,024 rows of each old source, which are the only
old rows. The arms:

- Retain: the share alone, as the library does.
- Retain + KL 1, Retain + KL 4: beside it `KeepPredictions` on the replayed rows, at that weight.
- weight first: a rule raises the weight by half at each look that sees a guarded source below its
  line, from .5 up to 4, and lowers it by a tenth otherwise. While it can still be raised, the share
  may fall but does not rise.
- half: no Retain, a constant half of old rows.
- half + KL 4: the same with `KeepPredictions`.

Kept: did every guarded source end within the tolerance? Gained: the change in accuracy on German.
Replayed: the share of old rows in the whole training.

Predictions, written before the first run:

1. A constant weight of KL lets Retain replay less: at weight 4 at least a tenth less than Retain
   alone, in every seed.
2. It gains little by that: less than .005 of accuracy on German, in the mean over seeds.
3. `weight first` is no better than the constant weight of 4: it gains at most .003 more, and its
   largest drop is no smaller.
4. All arms with Retain keep about equally well: their largest drops differ by less than .01.

The rule for the library, stated before: `weight first` goes in only if it gains .003 or more over
every other arm that keeps as well, in all seeds.

One line of JSON per run is appended. Runs that are there already are skipped.
"""
import copy
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from dial_or_sweep import BS, LR, OLD, ROWS, STEPS
from dial_or_sweep import sources_of as all_sources
from fastai.basics import set_seed
from keep import run_small, some_rows
from real_clunk import arguments

from cptlib.callback.control import PrimalDual
from cptlib.callback.keep import KeepPredictions
from cptlib.callback.retain import Retain
from cptlib.data.mixture import Mixture
from cptlib.data.schedule import constant
from cptlib.learner import cpt_learner
from cptlib.models.self_replay import Predictions
from cptlib.recipes import blended
from cptlib.transfer import before_and_after

OUT = Path(__file__).parent/'results'/'retain_or_kl.jsonl'
OLD_ROWS, TOLERANCE = 1024, .02
LEAST, MOST = .5, 4. # weights of the divergence

@dataclass(frozen=True)
class Arm:
    "One way to keep."
    name:str
    retain:bool=True
    kl:float=0. # weight of `KeepPredictions`
    first:bool=False # the weight is turned first

ARMS = [
    Arm('Retain'),
    Arm('Retain + KL 4', kl=4.),
    Arm('weight first', kl=LEAST, first=True),
    Arm('Retain + KL 1', kl=1.),
    Arm('half', retain=False),
    Arm('half + KL 4', retain=False, kl=4.),
]

class WeightFirst(PrimalDual):
    "Raise the weight of the divergence first, and the share of replay only when that is at its most."
    def __init__(self, tolerance, keep):
        super().__init__(tolerance)
        self.keep, self.weights = keep, []

    def update(self, seen):
        below = self.certainty*seen.error - seen.change - self.tolerance
        lost = (below[self.guarded] > 0).any()
        at_most = self.keep.weight >= MOST
        factor = 1.5 if lost else .9
        self.keep.weight = float(np.clip(self.keep.weight*factor, LEAST, MOST))
        self.weights.append(self.keep.weight)
        wish = super().update(seen)
        if at_most: return wish
        old, new = self.guarded, ~self.guarded
        wish[old] = np.minimum(wish, seen.weights)[old]
        wish[new] *= (1 - wish[old].sum())/wish[new].sum() # what the old give up, and no more
        return wish

@cache
def sources_of(folder):
    "Training sources with few old rows, and validation sources."
    (*old, german), valid = all_sources(folder)
    few = [some_rows(source, folder/'few', OLD_ROWS) for source in old]
    return [*few, german], valid

def run(arm, seed, start, folder):
    "Train one arm: accuracy before and after, rows, and what was replayed."
    train, valid = sources_of(folder)
    began = time.process_time()
    cbs = []
    if arm.kl:
        known = [Predictions.of(source, start, folder/f'few-known-{source.name}-{seed}', k=16, bs=64)
                 for source in train[:2]]
        keep = KeepPredictions(known, arm.kl)
        cbs.append(keep)
    preparing = time.process_time() - began
    if arm.retain:
        rule = WeightFirst(TOLERANCE, keep) if arm.first else None
        cbs.append(Retain(list(OLD), TOLERANCE, rule))
    set_seed(seed)
    half = constant(blended(OLD, dict(german=1), .5), floor=.005)
    mixture = Mixture(train, half, BS, STEPS, seed=seed)
    learn = cpt_learner(copy.deepcopy(start), mixture, valid, every=STEPS, lr=LR, rows=ROWS,
                        bf16=False, device='cpu', cbs=cbs)
    began = time.process_time()
    with learn.quietly(): learn.fit_cpt()
    seconds = time.process_time() - began
    rows = {name: d['rows'] for name, d in mixture.delivered().items()}
    result = dict(arm=asdict(arm), rows=rows, preparing=round(preparing, 1),
                  cpu_seconds=round(seconds, 1), **before_and_after(learn.accuracy_tracker))
    if arm.kl: result['divergence'] = keep.mean
    if arm.first: result['weights'] = rule.weights
    return result

def main():
    parser = arguments(__doc__, OUT)
    parser.add_argument('--folder', type=Path, help='keep rows and the models to start from here')
    parser.set_defaults(threads=1)
    args = parser.parse_args()
    run_small(args, ARMS, run)

if __name__ == '__main__': main()

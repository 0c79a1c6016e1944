"""When should old data be replayed: from the start, from the middle, late, or all along?

    python experiments/when_to_replay.py [--seeds 3] [--threads 1] [--folder FOLDER] [--out FILE]

The small model of keep.py (a GPT of width 128 with 2 blocks, rows of 96 bytes) has learned prose
and question-answer. It is taught code for 120 steps of 16 rows, at a peak rate of .003 that falls
along a cosine. Every arm of a seed starts from the same weights, and reads the same 192 old rows
(a tenth of all) and the same new rows. Only the moment of the old rows differs:

- all along: a tenth of every batch.
- from 1/4, from 1/2, from 3/4: nothing before, then 13, 20 or 40 %.
- last tenth: the last 12 steps on old rows alone.
- first half, first tenth: 20 % in the first half; or the first 12 steps on old rows alone.
- rising, falling: from nothing to 20 %, or the other way, in a straight line.
- none: no old rows, and a tenth more of new ones.

Four of these are also run at a constant rate after the warmup (`..., constant rate`), because an
old row that comes late under a cosine meets a small learning rate.

Kept: the change in accuracy, the mean of prose and question-answer. Gained: that on code.
Avoided: how much of the forgetting of `none` (at the same kind of rate) an arm avoids, as a share.

Predictions, written before the first run:

1. Under the cosine, `all along`, `from 1/4` and `from 1/2` avoid equally much: within .1.
2. `last tenth` avoids less than two thirds of what `all along` avoids, in every seed.
3. `first tenth` avoids least of all, less than a third of what `all along` avoids.
4. `rising` avoids more than `falling` in every seed.
5. At a constant rate late is better: `last tenth` avoids more than `all along`, in every seed.
6. No two arms with replay differ by more than .01 in what they gain.

One line of JSON per run is appended. Runs that are there already are skipped.
"""
import copy
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from fastai.basics import set_seed
from keep import run_small
from real_clunk import arguments

from cptlib.data.mixture import Mixture
from cptlib.data.schedule import anneal, constant, stages
from cptlib.demo import demo_sources
from cptlib.learner import cpt_learner
from cptlib.transfer import before_and_after

OUT = Path(__file__).parent/'results'/'when_to_replay.jsonl'
STEPS, BS, LR, ROWS = 120, 16, 3e-3, 128
SHARE = .1 # of all rows are old
OLD = dict(prose=.7, qa=.3)

@dataclass(frozen=True)
class When:
    "One moment for the old rows."
    moment:str
    shares:tuple # (progress, share of old rows from there on)
    straight:bool=False # from the first share to the last, in a straight line
    rate:str='cosine'

    @property
    def name(self):
        return self.moment if self.rate == 'cosine' else f'{self.moment}, constant rate'

def late(start): return (0, 0.), (start, round(SHARE/(1 - start), 12))

COSINE = [
    When('none', ((0, 0.),)),
    When('all along', ((0, SHARE),)),
    When('last tenth', late(.9)),
    When('from 1/2', late(.5)),
    When('from 1/4', late(.25)),
    When('from 3/4', late(.75)),
    When('first half', ((0, 2*SHARE), (.5, 0.))),
    When('first tenth', ((0, 1.), (SHARE, 0.))),
    When('rising', ((0, 0.), (1, 2*SHARE)), straight=True),
    When('falling', ((0, 2*SHARE), (1, 0.)), straight=True),
]
FLAT = ('none', 'all along', 'from 1/2', 'last tenth')
CONSTANT = [When(w.moment, w.shares, w.straight, 'constant') for w in COSINE if w.moment in FLAT]

def schedule_of(when):
    "Shares over the training."
    def weights(share):
        return {name: share*part for name, part in OLD.items()} | dict(code=1 - share)
    some = tuple(weights(0.))
    if when.straight:
        (_, first), (_, last) = when.shares
        return anneal(weights(first), weights(last), shape='linear', floor=0., droppable=some)
    if len(when.shares) == 1: return constant(weights(when.shares[0][1]), floor=0., droppable=some)
    return stages([(at, weights(share)) for at, share in when.shares], floor=0., droppable=some)

def run(when, seed, start, folder):
    "Train one arm: accuracy and loss before and after, and the rows of each source."
    train, valid = demo_sources()
    prose, code, qa = train
    set_seed(seed)
    mixture = Mixture([prose, qa, code], schedule_of(when), BS, STEPS, seed=seed)
    learn = cpt_learner(copy.deepcopy(start), mixture, valid, every=STEPS//4, lr=LR, rows=ROWS,
                        bf16=False, device='cpu')
    began = time.process_time()
    with learn.quietly(): learn.fit_cpt(shape=when.rate)
    seconds = round(time.process_time() - began, 1)
    tracker = learn.accuracy_tracker
    course = [dict(zip(tracker.names, map(float, record['accuracy']))) for record in tracker.records]
    rows = {name: int(d['rows']) for name, d in mixture.delivered().items()}
    return dict(when=asdict(when), rows=rows, course=course, cpu_seconds=seconds,
                **before_and_after(tracker))

def main():
    parser = arguments(__doc__, OUT)
    parser.add_argument('--folder', type=Path, help='keep the models to start from here')
    parser.set_defaults(threads=1)
    args = parser.parse_args()
    run_small(args, [*COSINE, *CONSTANT], run)

if __name__ == '__main__': main()

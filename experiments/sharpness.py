"""Does a sharp model forget more? Sharpness beside measured forgetting, over 27 runs.

    python experiments/sharpness.py [--seeds 3] [--threads 1] [--folder FOLDER] [--out FILE]

The small model of keep.py (a GPT of width 128 with 2 blocks, rows of 96 bytes) has learned prose
and question-answer. It learns code for 80 steps of 16 rows, at three learning rates (.001, .003,
.01) and with three shares of replay (0, 5 and 25 %), which makes nine ways, each with three seeds.

Sharpness is how far the loss rises if every tensor moves by 5 % of its norm, the mean over 8 random
directions and 64 held-out rows of each source. It is measured before and after the training.
Forgetting is the rise of the loss on prose and question-answer, the mean of both.

Predictions, written before the first run:

1. Over all runs, the sharpness on the old sources after the training rises with the forgetting:
   a rank correlation of at least .6.
2. At each rate, the mean sharpness on the old sources is lower with 25 % of replay than without.
3. Among runs of equal rate and share, the correlation is within .4 of 0: sharpness tells nothing
   that these two do not tell.
4. The sharpness on the new source, which needs no old data, is no gauge of forgetting: its rank
   correlation with it is below .5.
5. Training makes the model sharper on the old sources in every way at a rate of .003 or more.

One line of JSON per run is appended. Runs that are there already are skipped.
"""
import copy
import time
from dataclasses import dataclass
from pathlib import Path

from fastai.basics import set_seed
from keep import run_small
from real_clunk import arguments

from cptlib.data.loader import ValidLoader
from cptlib.data.mixture import Mixture
from cptlib.demo import demo_sources
from cptlib.inside.surface import sharpness
from cptlib.learner import cpt_learner
from cptlib.recipes import replay
from cptlib.transfer import before_and_after

OUT = Path(__file__).parent/'results'/'sharpness.jsonl'
STEPS, BS, ROWS, SHARP_ROWS = 80, 16, 128, 64
OLD = dict(prose=.7, qa=.3)

@dataclass(frozen=True)
class Way:
    "A learning rate and a share of replay."
    lr:float
    share:float

    @property
    def name(self): return f'{self.lr:g}, {self.share:g}'

WAYS = [Way(lr, share) for lr in (1e-3, 3e-3, 1e-2) for share in (0., .05, .25)]

def run(way, seed, start, folder):
    "Train one way: losses and sharpness before and after."
    train, valid = demo_sources()
    set_seed(seed)
    schedule = replay(OLD, dict(code=1), way.share).schedule
    mixture = Mixture(train, schedule, BS, STEPS, seed=seed)
    learn = cpt_learner(copy.deepcopy(start), mixture, valid, every=STEPS, lr=way.lr, rows=ROWS,
                        bf16=False, device='cpu')
    began = time.process_time()
    with learn.quietly(): learn.fit_cpt()
    points = dict(before=start, after=learn.model)
    sharp = sharpness(learn.model, ValidLoader(valid, 32, SHARP_ROWS), points)
    sharp = sharp[['rise', 'low', 'high']].round(6)
    rise = {point: sharp.xs(point, level='point').to_dict('index') for point in points}
    rows = {name: int(d['rows']) for name, d in mixture.delivered().items()}
    seconds = round(time.process_time() - began, 1)
    return dict(lr=way.lr, share=way.share, rows=rows, sharp=rise, cpu_seconds=seconds,
                **before_and_after(learn.accuracy_tracker))

def main():
    parser = arguments(__doc__, OUT)
    parser.add_argument('--folder', type=Path, help='keep the models to start from here')
    parser.set_defaults(threads=1)
    run_small(parser.parse_args(), WAYS, run)

if __name__ == '__main__': main()

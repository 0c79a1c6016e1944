"""Does a ranking of recipes found on a small model hold on a larger one?

    python experiments/ladder.py [--seeds 3] [--out FILE] [--folder FOLDER] [--threads 1]

GPTs of five sizes, .1 to 9.8 million parameters (rows of 96 bytes, batches of 16 rows) learn the
embedded prose for 150 steps. From there each is taught code by six recipes, for 50 steps:
fine-tuning, replay of 5, 25 and 50 %, three stages, and continued pre-training. All recipes of a
size have the same peak learning rate, .003 at width 64 and less at larger widths, by the square
root of the width. Gained is the change in accuracy on code, kept that on prose, and the score is
their sum.

Predictions, written before the first run:

1. Every size ranks the recipes like the largest better than chance: the interval of Kendall's tau
   over seeds is above 0.
2. Tau does not fall by more than .2 from the second largest to the smallest size.
3. By `kept` alone all sizes agree at .7 or more, by `gained` alone at .7 or more.
4. Trusting the smallest size loses less than .005 of accuracy.
5. Larger models forget less by fine-tuning: kept rises with the size, smallest to largest.
6. The share of replay that keeps prose within .01 falls with the size, or does not differ.

The fifth size (9.8 million) was added when the other four had run. These predictions were written
before its first run:

7. Tau of each smaller size with it is within .2 of what it was with 2.5 million.
8. Trusting the smallest size still loses less than .005 of accuracy there.
9. Fine-tuning forgets .04 to .06 there, as at the three sizes below it.
10. It needs a share of replay of .3 to .5.

One line of JSON per run is appended. Runs that are there already are skipped. All
seeds of a size are made before the next larger size begins.
"""
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from fastai.basics import set_seed
from real_clunk import arguments, missing, store, trained_once

from cptlib.compare import run_recipe
from cptlib.data.mixture import Mixture
from cptlib.demo import demo_sources
from cptlib.learner import cpt_learner
from cptlib.models.gpt import GPT
from cptlib.recipes import continued, curriculum, fine_tuning, replay

OUT = Path(__file__).parent/'results'/'ladder.jsonl'
SIZES = {64: 2, 96: 3, 160: 3, 224: 4, 448: 4} # width: depth
ROW_LEN, BS, BASE_STEPS, STEPS, ROWS = 96, 16, 150, 50, 96
OLD, NEW = dict(prose=1), dict(code=1)
RECIPES = [fine_tuning(OLD, NEW), replay(OLD, NEW, .05), replay(OLD, NEW, .25),
           replay(OLD, NEW, .5), curriculum(OLD, NEW), continued(OLD, NEW)]

@dataclass(frozen=True)
class Rung:
    "A recipe on a size."
    width:int
    recipe:object

    @property
    def name(self): return f'{self.width}, {self.recipe.name}'

def rate_of(width): return 3e-3*(64/width)**.5

def sources_of():
    "Prose and code, to train on and held-out."
    train, valid = demo_sources()
    return train[:2], valid[:2]

def base_of(width, seed, folder):
    "A model of prose, trained once for each size and seed."
    def learned(model):
        train, valid = sources_of()
        mixture = Mixture(train[:1], OLD, BS, BASE_STEPS, seed=seed)
        learn = cpt_learner(model, mixture, valid, every=BASE_STEPS, lr=rate_of(width), rows=16,
                            bf16=False, device='cpu')
        with learn.quietly(): learn.fit_cpt()
        return learn.model

    set_seed(seed)
    model = GPT(256, ROW_LEN, width, SIZES[width])
    return trained_once(folder/f'base-{width}-{seed}.pt', model, learned)

def run(rung, seed, folder):
    "Train by one recipe: what `run_recipe` says, in plain Python."
    began = time.process_time()
    model = base_of(rung.width, seed, folder)
    train, valid = sources_of()
    rate = rate_of(rung.width)
    result = run_recipe(rung.recipe, model, train, valid, STEPS, rate, BS, seed, ROWS, evals=1,
                        device='cpu')
    parameters = sum(p.numel() for p in model.parameters())
    return dict(width=rung.width, parameters=parameters, recipe=rung.recipe.name, lr=rate,
                cpu_seconds=round(time.process_time() - began, 1), **result)

def main():
    parser = arguments(__doc__, OUT)
    parser.add_argument('--folder', type=Path, help='keep the models to start from here')
    parser.set_defaults(seeds=3, threads=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    folder = args.folder or Path(tempfile.gettempdir())/'cptlib-ladder'
    folder.mkdir(parents=True, exist_ok=True)
    for width in SIZES:
        for rung, seed in missing(args, [Rung(width, recipe) for recipe in RECIPES]):
            result = run(rung, seed, folder)
            store(args, rung.name, seed, result)
            first, *_, last = result['accuracy']
            change = {n: round(b - a, 4) for n, a, b in zip(result['names'], first, last)}
            print(seed, rung.name, f"{result['parameters']:,}", change,
                  f"{result['cpu_seconds']} s", flush=True)

if __name__ == '__main__': main()

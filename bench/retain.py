"""Does the controller keep what it should, and at what price?

    python bench/retain.py [--width 128] [--steps 120] [--seeds 5] [--runs FOLDER]

The start is a model of prose and question-answer. Both are guarded, with a tolerance of 0.01, while
code is taught. `Retain` begins with a share of a half for them, and so does each rival rule from
experiments/controllers.ipynb. The constant mixtures give them from nothing to a half. All runs have
one learning rate (`--rate`), that of the demonstration. Finished runs are kept in a folder, which
bench/sweep.py uses too. Writes bench/results/retain-WIDTH.json.
"""
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
from fastai.basics import set_seed
from recipes import arguments, save_result, saved_base

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'experiments'))
from controllers import Bandit, ExcessLoss

from cptlib.callback.retain import Retain
from cptlib.compare import compare, mean_interval
from cptlib.data.mixture import Mixture
from cptlib.data.schedule import constant
from cptlib.demo import demo_sources
from cptlib.learner import cpt_learner
from cptlib.models.gpt import GPT
from cptlib.recipes import Recipe, blended, fine_tuning, replay

old, new, tolerance = dict(prose=.7, qa=.3), dict(code=1), .01
guarded = ['prose', 'qa']
ratios = (.25, .5, .1, .05, .02, .003)
half = constant(blended(old, new, .5), floor=.005)

def two_sources(train, valid, size, seed):
    "A model trained on prose and question-answer."
    set_seed(seed)
    prose, _, qa = train
    mix = Mixture([prose, qa], old, size.bs, size.base_steps, seed=seed)
    model = GPT(256, 96, size.width, size.depth)
    learn = cpt_learner(model, mix, valid, every=size.base_steps, lr=size.base_lr, rows=16,
                        device='cpu')
    with learn.quietly(): learn.fit_cpt()
    return learn.model

def setting(args):
    "The arguments of `compare` that all runs of this script and of the sweep share."
    train, valid = demo_sources()
    make = partial(two_sources, train, valid)
    base = saved_base(args.runs, args.width, make, 'prose-qa', args.base_steps)
    return dict(model=base, sources=train, valid=valid, tokens=args.steps*16*96, target=['code'],
                guarded=guarded, seeds=args.seeds, rates=(args.rate,), bs=16, rows=128,
                path=Path(args.runs)/'runs', device='cpu')

def retain_with(kind):
    "A `Retain` with a rule of another kind."
    return Retain(guarded, tolerance=tolerance, rule=kind())

def recipes():
    "`Retain` first, then the constant mixtures, the rival rules and fine-tuning."
    ours = partial(Retain, guarded, tolerance=tolerance)
    rivals = {'excess loss': ExcessLoss, 'bandit': Bandit}
    return [Recipe('Retain', half, callbacks=(ours,)),
            *(replay(old, new, ratio) for ratio in ratios),
            *(Recipe(n, half, callbacks=(partial(retain_with, k),)) for n, k in rivals.items()),
            fine_tuning(old, new)]

def largest_drop(run):
    "The largest loss of accuracy of a guarded source in one run."
    first, last = np.array(run['accuracy'][0]), np.array(run['accuracy'][-1])
    at = [run['names'].index(name) for name in guarded]
    return (first - last)[at].max()

def keeping(result):
    "For each recipe: seeds in which all guarded sources were kept, drops, and accuracy on code."
    out = {}
    for recipe in result.recipes:
        runs = [run for run in result.runs if run['recipe'] == recipe.name]
        drops = np.array([largest_drop(run) for run in runs])
        code = [run['accuracy'][-1][run['names'].index('code')] for run in runs]
        out[recipe.name] = dict(kept=int((drops <= tolerance).sum()), seeds=len(runs),
                                largest_drop=float(drops.max()), drops=drops.tolist(), code=code)
    return out

def acceptance(kept):
    "Retain against the best constant mixture that keeps every source in every seed."
    ours = kept['Retain']
    constants = {}
    for name, figures in kept.items():
        is_constant = name.startswith(('replay', 'fine-tuning'))
        if is_constant and figures['kept'] == figures['seeds']: constants[name] = figures['code']
    if not constants: return dict(retain_kept=ours['kept'], best_constant=None)
    best = max(constants, key=lambda name: np.mean(constants[name]))
    mean, half_width = mean_interval(np.subtract(ours['code'], constants[best]))
    return dict(retain_kept=ours['kept'], of=ours['seeds'], best_constant=best,
                code_retain_minus_best=mean, half_width=half_width)

def main():
    args = arguments(__doc__, None)
    began = time.perf_counter()
    result = compare(recipes()[:args.first], **setting(args))
    kept = keeping(result)
    of_retain = [run['callbacks']['retain'] for run in result.runs if run['recipe'] == 'Retain']
    cost = [summary['cost'] for summary in of_retain]
    save_result(args, 'retain', result, began, tolerance=tolerance, keeping=kept,
                acceptance=acceptance(kept), cost=cost)
    print(acceptance(kept), 'cost', np.round(cost, 4))

if __name__ == '__main__': main()

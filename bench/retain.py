"""Does the controller keep what it should, at what price? `python bench/retain.py [--width 128] [--steps 120] [--seeds 5] [--runs FOLDER]`.

The start is a model of prose and question-answer; both are guarded, with a tolerance of 0.01, while code is taught. `Retain` begins with
a share of a half for them, as does each rule it is held against; the constant mixtures give them from nothing to a half. One learning
rate for all (`--rate`), that of the demonstration. Finished runs are kept in a folder (the sweep uses them too). Writes bench/results/retain-WIDTH.json.
"""
import time
from functools import partial
from pathlib import Path
import numpy as np
from recipes import arguments, save, saved_base
from fastai.basics import set_seed
from cptlib.compare import compare, mean_interval
from cptlib.demo import demo_sources
from cptlib.models.gpt import GPT
from cptlib.learner import cpt_learner
from cptlib.data.mixture import Mixture
from cptlib.recipes import Recipe, blended, fine_tuning, replay
from cptlib.callback.control import Bandit, ExcessLoss
from cptlib.callback.retain import Retain
from cptlib.data.schedule import constant

old, new, tolerance = dict(prose=.7, qa=.3), dict(code=1), .01
ratios = (.25, .5, .1, .05, .02, .003)

def two_sources(size, seed, train, valid):
    "A model trained on prose and question-answer."
    set_seed(seed)
    mix = Mixture([train[0], train[2]], old, size.bs, size.base_steps, seed=seed)
    learn = cpt_learner(GPT(256, 96, size.width, size.depth), mix, valid, every=size.base_steps, lr=size.base_lr, rows=16, device='cpu')
    with learn.quietly(): learn.fit_cpt()
    return learn.model

def setting(a):
    "What all runs of this script and of the sweep share."
    train, valid = demo_sources()
    base = saved_base(a.runs, a.width, lambda size, seed: two_sources(size, seed, train, valid), 'prose-qa', a.base_steps)
    return dict(model=base, sources=train, valid=valid, tokens=a.steps*16*96, target=['code'], guarded=['prose', 'qa'], seeds=a.seeds, rates=(a.rate,), bs=16,
                rows=128, path=Path(a.runs)/'runs', device='cpu')

half = constant(blended(old, new, .5), floor=.005)

def steered(name, **kw): return Recipe(name, half, callbacks=(partial(Retain, ['prose', 'qa'], tolerance=tolerance, **kw),))

def retain_with(kind): return Retain(['prose', 'qa'], tolerance=tolerance, rule=kind())

def recipes():
    named = [Recipe(n, half, callbacks=(partial(retain_with, k),)) for n, k in (('excess loss', ExcessLoss), ('bandit', Bandit))]
    return [steered('Retain'), *(replay(old, new, r) for r in ratios), *named, fine_tuning(old, new)]

def keeping(result):
    "For each recipe: in how many seeds every guarded source ended within tolerance, the largest loss of one, and the accuracy on the target."
    out = {}
    for r in result.recipes:
        runs = [o for o in result.runs if o['recipe'] == r.name]; at = [runs[0]['names'].index(g) for g in result.guarded]
        drop = np.array([(np.array(o['accuracy'][0]) - np.array(o['accuracy'][-1]))[at].max() for o in runs])
        target = [o['accuracy'][-1][runs[0]['names'].index('code')] for o in runs]
        out[r.name] = dict(kept=int((drop <= tolerance).sum()), seeds=len(runs), largest_drop=float(drop.max()), drops=drop.tolist(), code=target)
    return out

def acceptance(k):
    "Retain against the best constant mixture that keeps every source in every seed."
    constants = {n: v for n, v in k.items() if n.startswith(('replay', 'fine-tuning')) and v['kept'] == v['seeds']}
    best = max(constants, key=lambda n: np.mean(constants[n]['code']), default=None)
    if best is None: return dict(retain_kept=k['Retain']['kept'], best_constant=None)
    m, h = mean_interval(np.subtract(k['Retain']['code'], k[best]['code']))
    return dict(retain_kept=k['Retain']['kept'], of=k['Retain']['seeds'], best_constant=best, code_retain_minus_best=m, half_width=h)

if __name__ == '__main__':
    a = arguments(__doc__, None); began = time.perf_counter()
    result = compare(recipes()[:a.first], **setting(a)); k = keeping(result)
    cost = [o['callbacks']['retain']['cost'] for o in result.runs if o['recipe'] == 'Retain']
    save(a.out or f'bench/results/retain-{a.width}.json', result, width=a.width, steps=a.steps, base_steps=a.base_steps, seconds=time.perf_counter() - began,
         tolerance=tolerance, keeping=k, acceptance=acceptance(k), cost=cost)
    print(acceptance(k), 'cost', np.round(cost, 4))

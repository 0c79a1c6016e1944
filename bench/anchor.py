"""What anchors to the starting model add to plain replay: `python bench/anchor.py [--width 128] [--steps 120] [--seeds 5] [--runs FOLDER]`.

The setting of bench/retain.py (its runs of 5 % replay are used again); each anchor is added to 5 % replay, at one strength for each that was
set beforehand and not tuned. Writes bench/results/anchor-WIDTH.json.
"""
import time
from dataclasses import replace
from functools import partial
from recipes import arguments, save
from retain import keeping, new, old, setting
from cptlib.callback.anchor import AnchorOutputs, AnchorWeights
from cptlib.compare import compare
from cptlib.recipes import replay

if __name__ == '__main__':
    a = arguments(__doc__, None); began, s, base = time.perf_counter(), setting(a), replay(old, new, .05)
    guarded = [s['sources'][0], s['sources'][2]]
    def ewc(): return AnchorWeights(.01, fisher=guarded)
    with_anchor = {'KL to the start': partial(AnchorOutputs, ['prose', 'qa'], 1.), 'L2 to the start': partial(AnchorWeights, .01), 'EWC': ewc}
    recipes = [base, *(replace(base, name=f'{base.name} and {n}', callbacks=(c,)) for n, c in with_anchor.items()), replace(base, name=f'{base.name}, 70 % end and 30 % start', average=.7)]
    result = compare(recipes, **s)
    save(a.out or f'bench/results/anchor-{a.width}.json', result, width=a.width, steps=a.steps, base_steps=a.base_steps, seconds=time.perf_counter() - began, keeping=keeping(result))

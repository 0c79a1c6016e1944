"""What do anchors to the starting model add to plain replay?

    python bench/anchor.py [--width 128] [--steps 120] [--seeds 5] [--runs FOLDER]

The setting is that of bench/retain.py, and its runs of 5 % replay are used again. Each anchor is
added to 5 % replay, at one strength that was set beforehand and not tuned. Anchors to the weights
come from experiments/anchors.ipynb. Writes bench/results/anchor-WIDTH.json.
"""
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from recipes import arguments, save_result
from retain import guarded, keeping, new, old, setting

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'experiments'))
from anchors import AnchorWeights

from cptlib.callback.anchor import AnchorOutputs
from cptlib.compare import compare
from cptlib.demo import demo_sources
from cptlib.recipes import replay

def ewc():
    "The anchor to the weights that matter for prose and question-answer."
    prose, _, qa = demo_sources()[0]
    return AnchorWeights(.01, fisher=[prose, qa])

def recipes():
    "Plain replay first, then replay with each anchor, and the average of start and end."
    base = replay(old, new, .05)
    anchors = {'KL to the start': partial(AnchorOutputs, guarded, 1.),
               'L2 to the start': partial(AnchorWeights, .01),
               'EWC': ewc}
    out = [base]
    for name, make in anchors.items():
        out.append(replace(base, name=f'{base.name} and {name}', callbacks=(make,)))
    average = replace(base, name=f'{base.name}, 70 % end and 30 % start', average=.7)
    return [*out, average]

def main():
    args = arguments(__doc__, None)
    began = time.perf_counter()
    result = compare(recipes(), **setting(args))
    save_result(args, 'anchor', result, began, keeping=keeping(result))

if __name__ == '__main__': main()

"""Seven recipes that teach a model of prose some code and question-answer.

    python bench/recipes.py [--width 128] [--steps 120] [--seeds 5] [--runs FOLDER]

The start is the base model of the demonstration, trained on prose alone. Every recipe reads the
same number of tokens and chooses its learning rate from the same list, on a seed that is not
counted.
Finished runs are kept in a folder, so you can interrupt the script and call it again.
Writes bench/results/recipes-WIDTH.json.
"""
import argparse
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

warnings.simplefilter('ignore')
import fastai
import torch

from cptlib.compare import compare
from cptlib.demo import DemoSize, demo_base, demo_sources
from cptlib.models.gpt import GPT
from cptlib.recipes import all_recipes

def cpu_name():
    "The name of the processor, or '' where there is no /proc/cpuinfo."
    info = Path('/proc/cpuinfo')
    if not info.exists(): return ''
    for line in info.read_text().splitlines():
        if 'model name' in line: return line.split(':')[1].strip()
    return ''

def machine():
    "The machine that the numbers were made on."
    return dict(platform=platform.platform(), cpu=cpu_name(), python=platform.python_version(),
                torch=torch.__version__, fastai=fastai.__version__, threads=torch.get_num_threads())

def save_weights(model, file):
    "Write the weights of `model` so that `file` is either whole or not there."
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix('.part')
    torch.save(model.state_dict(), part)
    os.replace(part, file)

def saved_base(folder, width, make, name, base_steps=400):
    "A function from seed to base model, which trains it by `make(size, seed)` once and keeps it."
    size = DemoSize(width=width, base_steps=base_steps)
    def base(seed):
        file = Path(folder)/f'{name}-{width}-{base_steps}-{seed}.pt'
        if not file.exists(): save_weights(make(size, seed), file)
        model = GPT(256, 96, width, size.depth)
        model.load_state_dict(torch.load(file))
        return model
    base.__qualname__ = f'{name}-{width}-{base_steps}' # `compare` knows finished runs by it
    return base

def save(path, result, **more):
    "Write all runs, tables and words of a comparison as JSON, and print table and verdict."
    tuned = {}
    for name, scores in result.tuned.items():
        tuned[name] = {str(rate): score for rate, score in scores.items()}
    recipes = {r.name: dict(r.to_dict(), origin=r.origin) for r in result.recipes}
    table = result.table()
    out = dict(command=' '.join(['python', *sys.argv]), machine=machine(), **more,
               target=result.target, guarded=result.guarded, tuned=tuned, recipes=recipes,
               table=json.loads(table.to_json(orient='index')), verdict=result.verdict,
               runs=result.runs)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(out, indent=1) + '\n')
    print(table.round(3).to_string(), result.verdict, sep='\n', flush=True)

def save_result(args, name, result, began, **more):
    "`save` to bench/results/NAME-WIDTH.json or `--out`, with the sizes of the comparison."
    seconds = time.perf_counter() - began
    save(args.out or f'bench/results/{name}-{args.width}.json', result, width=args.width,
         steps=args.steps, base_steps=args.base_steps, seconds=seconds, **more)

def numbers(text, kind):
    "A tuple of numbers from '1,2,3'."
    return tuple(map(kind, text.split(',')))

def arguments(doc, out):
    "The arguments of this script and of the others that compare recipes."
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    add = parser.add_argument
    add('--width', type=int, default=128, help='of the model')
    add('--steps', type=int, default=120, help='steps of each run')
    add('--base-steps', type=int, default=400, help='steps of the base model')
    add('--seeds', default='5', help='how many, or which: 10,11,12')
    add('--law-width', type=int, default=64, help='width of the small models of a mixing law')
    add('--repeat-seeds', type=int, default=3, help='seeds of the sweep over repetition')
    add('--first', type=int, help='run only this many of the recipes')
    runs = Path(tempfile.gettempdir())/'cptlib-bench'
    add('--runs', default=str(runs), help='folder of finished runs')
    add('--out', default=out, help='file to write')
    add('--rates', default='.001,.003,.01', help='learning rates to choose from')
    add('--rate', type=float, default=.003, help='learning rate of scripts that have one for all')
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.rates = numbers(args.rates, float)
    args.seeds = list(numbers(args.seeds, int)) if ',' in args.seeds else int(args.seeds)
    return args

def main():
    args = arguments(__doc__, None)
    train, valid = demo_sources()
    make = partial(demo_base, train, valid)
    base = saved_base(args.runs, args.width, make, 'prose', args.base_steps)
    recipes = all_recipes(dict(prose=1), dict(code=4, qa=1))
    began = time.perf_counter()
    result = compare(recipes, base, train, valid, tokens=args.steps*16*96, target=['code', 'qa'],
                     guarded=['prose'], seeds=args.seeds, rates=args.rates, bs=16, rows=128,
                     path=Path(args.runs)/'runs', device='cpu')
    save_result(args, 'recipes', result, began)

if __name__ == '__main__': main()

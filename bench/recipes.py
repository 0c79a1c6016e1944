"""Seven recipes that teach a model of prose some code and question-answer: `python bench/recipes.py [--width 128] [--steps 120] [--seeds 5] [--runs FOLDER]`.

The start is the base model of the demonstration, trained on prose alone. Every recipe reads the same number of tokens and chooses its
learning rate from the same list, on a seed that is not counted. Finished runs are kept in a folder, so that the script can be
interrupted and called again. Writes bench/results/recipes-WIDTH.json.
"""
import argparse, json, os, platform, sys, tempfile, time, warnings
from pathlib import Path
warnings.simplefilter('ignore')
import fastai, torch
from cptlib.compare import compare
from cptlib.demo import DemoSize, demo_base, demo_sources
from cptlib.models.gpt import GPT
from cptlib.recipes import all_recipes

def machine():
    "What the numbers were made on."
    cpu = next((l.split(':')[1].strip() for l in open('/proc/cpuinfo') if 'model name' in l), '') if Path('/proc/cpuinfo').exists() else ''
    return dict(platform=platform.platform(), cpu=cpu, python=platform.python_version(), torch=torch.__version__, fastai=fastai.__version__, threads=torch.get_num_threads())

def saved_base(folder, width, make, name, base_steps=400):
    "A function from seed to base model that trains it once and keeps it."
    def base(seed):
        file, size = Path(folder)/f'{name}-{width}-{base_steps}-{seed}.pt', DemoSize(width=width, base_steps=base_steps)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True); part = file.with_suffix('.part'); torch.save(make(size, seed).state_dict(), part); os.replace(part, file)
        model = GPT(256, 96, width, size.depth); model.load_state_dict(torch.load(file)); return model
    base.__qualname__ = f'{name}-{width}-{base_steps}'
    return base

def save(path, result, **more):
    "All runs, tables and words of a comparison as JSON."
    out = dict(command=' '.join(['python', *sys.argv]), machine=machine(), **more, target=result.target, guarded=result.guarded,
               tuned={n: {str(k): v for k, v in t.items()} for n, t in result.tuned.items()}, recipes={r.name: dict(r.to_dict(), origin=r.origin) for r in result.recipes},
               table=json.loads(result.table().to_json(orient='index')), verdict=result.verdict, runs=result.runs)
    Path(path).parent.mkdir(parents=True, exist_ok=True); Path(path).write_text(json.dumps(out, indent=1) + '\n')
    print(result.table().round(3).to_string(), result.verdict, sep='\n', flush=True)

def arguments(doc, out):
    p = argparse.ArgumentParser(description=doc.splitlines()[0])
    p.add_argument('--width', type=int, default=128); p.add_argument('--steps', type=int, default=120); p.add_argument('--base-steps', type=int, default=400)
    p.add_argument('--seeds', default='5', help='how many, or which: 10,11,12'); p.add_argument('--law-width', type=int, default=64); p.add_argument('--repeat-seeds', type=int, default=3); p.add_argument('--first', type=int, help='only so many of the recipes')
    p.add_argument('--runs', default=str(Path(tempfile.gettempdir())/'cptlib-bench')); p.add_argument('--out', default=out); p.add_argument('--rates', default='.001,.003,.01'); p.add_argument('--rate', type=float, default=.003, help='where there is one for all')
    a = p.parse_args(); torch.set_num_threads(1); a.rates = tuple(map(float, a.rates.split(',')))
    a.seeds = [int(s) for s in a.seeds.split(',')] if ',' in a.seeds else int(a.seeds)
    return a

if __name__ == '__main__':
    a = arguments(__doc__, None); train, valid = demo_sources()
    base = saved_base(a.runs, a.width, lambda size, seed: demo_base(train, valid, size, seed), 'prose', a.base_steps)
    began = time.perf_counter()
    result = compare(all_recipes(dict(prose=1), dict(code=4, qa=1)), base, train, valid, tokens=a.steps*16*96, target=['code', 'qa'], guarded=['prose'],
                     seeds=a.seeds, rates=a.rates, bs=16, rows=128, path=Path(a.runs)/'runs', device='cpu')
    save(a.out or f'bench/results/recipes-{a.width}.json', result, width=a.width, steps=a.steps, base_steps=a.base_steps, seconds=time.perf_counter() - began)

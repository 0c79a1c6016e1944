"""How often the demonstration shows what it claims: `python bench/demo.py [--seeds 5] [--jobs 2]`.

Runs `cpt-demo` at full size once for each seed, one thread each, `jobs` side by side, and counts
in how many seeds each claim held. Nothing is picked: the seeds are 0, 1, 2, ...

A control that the demonstration leaves out continues the base model with prose alone. It shows
how much of what a mixture does for prose is simply more training on prose. `--control` adds it to
results that are there already, after checking that their base models come out the same here.

Writes bench/results/demo.json.
"""
import argparse
import json
import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

warnings.simplefilter('ignore')
import torch

from cptlib.data.schedule import constant
from cptlib.demo import Demo, demo_way

def claims(result):
    "The claims of the demonstration, each true or false for one result."
    table, clunk = result['table'], result['clunk']
    continued, fine_tuning = table['continued pre-training'], table['fine-tuning']
    epochs = clunk['epochs']
    held = {
        'continued pre-training keeps prose (retention >= 1.00)': continued['retention'] >= 1,
        "continued pre-training learns code (>= 0.95 of fine-tuning's accuracy)":
            continued['code'] >= .95*fine_tuning['code'],
        'fine-tuning forgets prose (retention <= 0.95)': fine_tuning['retention'] <= .95,
        'the clunk is found (p < 0.01)': epochs['found'] and epochs['p'] < .01,
        'the endless stream is clean': not clunk['stream']['found'],
        'drawn with replacement is clean': not clunk['drawn']['found'],
    }
    return {claim: bool(value) for claim, value in held.items()}

def control(demo):
    "Accuracies after as many steps on prose alone as each way of `demo` has."
    prose = constant(dict(prose=1, code=0, qa=0), droppable=('code', 'qa'))
    learn = demo_way(demo.base, prose, demo.train, demo.valid, demo.size, demo.seed)
    after = learn.accuracy_tracker.table()['accuracy_after'].to_dict()
    before = demo.table.loc['base model', 'prose']
    return after | dict(retention=float(after['prose']/before))

def only_control(run):
    "A stored run with its control."
    torch.set_num_threads(1)
    demo = Demo(seed=run['seed'])
    text, base, *_ = demo.stages()
    for what, do in (text, base): demo.step(what, do)
    here, stored = demo.table.loc['base model'].to_dict(), run['table']['base model']
    difference = max(abs(here[name] - stored[name]) for name in stored)
    if difference > .001: # the last bits depend on the processor and on PyTorch's version
        raise SystemExit(f'seed {demo.seed}: the base model here ({here}) differs from the one '
                         f'in the file ({stored}); run all of it again')
    return run | dict(control=control(demo))

def one(seed):
    "Machine, size and result of one seed, cut down to what is kept."
    torch.set_num_threads(1)
    demo = Demo(seed=seed)
    result = demo.run()
    clunk = {}
    for condition, report in result['clunk'].items():
        clunk[condition] = {k: report[k] for k in ('verdict', 'found', 'p', 'drop', 'ci')}
    table = demo.table.round(3).to_string()
    seconds = sum(result['seconds'].values())
    print(f'seed {seed}, {seconds:.0f} s\n{table}\n{demo.conclusion}\n', flush=True)
    run = dict(
        seed=seed, table=result['table'], clunk=clunk, probe=result['clunk']['epochs']['probe'],
        control=control(demo), conclusion=result['conclusion'], claims=claims(result),
        seconds=result['seconds'])
    return result['machine'], result['size'], run

def all_seeds(pool, seeds, jobs):
    "Every seed, and in how many of them each claim held."
    machines, sizes, runs = zip(*pool.map(one, range(seeds)), strict=True)
    held = {claim: sum(run['claims'][claim] for run in runs) for claim in runs[0]['claims']}
    return dict(machine=machines[0], size=sizes[0], seeds=len(runs), jobs=jobs, held=held,
                runs=list(runs))

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=5, help='how many seeds')
    parser.add_argument('--jobs', type=int, default=2, help='seeds that run side by side')
    parser.add_argument('--out', type=Path, default='bench/results/demo.json', help='result file')
    parser.add_argument('--control', action='store_true', help='add the control to the file')
    args = parser.parse_args()
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context('spawn')) as pool:
        if args.control:
            results = json.loads(args.out.read_text())
            results['runs'] = list(pool.map(only_control, results['runs']))
        else: results = all_seeds(pool, args.seeds, args.jobs)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=1) + '\n')
    for claim, n in results['held'].items(): print(f"{n} of {results['seeds']}: {claim}")
    for run in results['runs']:
        rounded = {name: round(value, 3) for name, value in run['control'].items()}
        print(f"seed {run['seed']}, prose alone:", rounded)

if __name__ == '__main__': main()

"""How often the demonstration shows what it claims: `python bench/demo.py [--seeds 5] [--jobs 2] [--out bench/results/demo.json]`.

Runs `cpt-demo` at full size once a seed, one thread each, `jobs` side by side, and counts. Nothing is picked: the seeds are 0, 1, 2, ...
A control that the demonstration leaves out goes on with prose alone: how much of what a mixture does for prose is just more of it?
`--control` adds it to the results that are there, after it has found their base models again.
"""
import argparse, json, multiprocessing, warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
warnings.simplefilter('ignore')
import torch
from cptlib.demo import Demo, demo_way
from cptlib.data.schedule import constant

def claims(r):
    "The claims of the demonstration, each true or false for one result."
    t, c = r['table'], r['clunk']
    cpt, ft = t['continued pre-training'], t['fine-tuning']
    return {'continued pre-training keeps prose (retention >= 1.00)': cpt['retention'] >= 1,
            "continued pre-training learns code (>= 0.95 of fine-tuning's accuracy)": cpt['code'] >= .95*ft['code'],
            'fine-tuning forgets prose (retention <= 0.95)': ft['retention'] <= .95,
            'the clunk is found (p < 0.01)': c['epochs']['found'] and c['epochs']['p'] < .01,
            'the endless stream is clean': not c['stream']['found'], 'drawn with replacement is clean': not c['drawn']['found']}

def control(d):
    "Accuracies of the base model of `d` after as many steps on prose alone as each way has."
    learn = demo_way(d.base, constant(dict(prose=1, code=0, qa=0), droppable=('code', 'qa')), d.train, d.valid, d.size, d.seed)
    after = learn.accuracy_tracker.table()['accuracy_after'].to_dict()
    return after | dict(retention=float(after['prose']/d.table.loc['base model', 'prose']))

def only_control(run):
    "A stored run with its control."
    torch.set_num_threads(1); d = Demo(seed=run['seed'])
    d._text(); d._base(); known, was = d.table.loc['base model'].to_dict(), run['table']['base model']
    if max(abs(known[k] - was[k]) for k in was) > .001: # the last bits depend on the processor and on PyTorch's version
        raise SystemExit(f"seed {d.seed}: the base model is another here ({known}) than in the file ({was}); run all of it again")
    return run | dict(control=control(d))

def one(seed):
    "The result of one seed, cut down to what is kept."
    torch.set_num_threads(1); d = Demo(seed=seed); d.run(); r = d.result
    short = {c: {k: v[k] for k in ('verdict', 'found', 'p', 'drop', 'ci')} for c, v in r['clunk'].items()}
    print(f'seed {seed}, {sum(r["seconds"].values()):.0f} s\n{d.table.round(3).to_string()}\n{d.conclusion}\n', flush=True)
    return r['machine'], r['size'], dict(seed=seed, table=r['table'], clunk=short, probe=r['clunk']['epochs']['probe'], control=control(d), conclusion=r['conclusion'],
                                         claims={k: bool(v) for k, v in claims(r).items()}, seconds=r['seconds'])

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--seeds', type=int, default=5); p.add_argument('--jobs', type=int, default=2); p.add_argument('--out', default='bench/results/demo.json')
    p.add_argument('--control', action='store_true', help='add the control to the file')
    a = p.parse_args(); out = Path(a.out)
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context('spawn')) as pool:
        if a.control: res = json.loads(out.read_text()); res['runs'] = list(pool.map(only_control, res['runs']))
        else:
            done = list(pool.map(one, range(a.seeds))); runs = [r for *_, r in done]
            res = dict(machine=done[0][0], size=done[0][1], seeds=len(runs), jobs=a.jobs, held={k: sum(r['claims'][k] for r in runs) for k in runs[0]['claims']}, runs=runs)
    out.parent.mkdir(parents=True, exist_ok=True); out.write_text(json.dumps(res, indent=1) + '\n')
    for k, n in res['held'].items(): print(f"{n} of {res['seeds']}: {k}")
    for r in res['runs']: print(f"seed {r['seed']}, prose alone:", {k: round(v, 3) for k, v in r['control'].items()})

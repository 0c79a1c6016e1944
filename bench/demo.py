"""How often the demonstration shows what it claims: `python bench/demo.py [--seeds 5] [--jobs 2] [--out bench/results/demo.json]`.

Runs `cpt-demo` at full size once a seed, one thread each, `jobs` side by side, and counts. Nothing is picked: the seeds are 0, 1, 2, ...
"""
import argparse, json, multiprocessing, warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
warnings.simplefilter('ignore')
import torch
from cptlib.demo import Demo

def claims(r):
    "The claims of the demonstration, each true or false for one result."
    t, c = r['table'], r['clunk']
    cpt, ft = t['continued pre-training'], t['fine-tuning']
    return {'continued pre-training keeps prose (retention >= 1.00)': cpt['retention'] >= 1,
            "continued pre-training learns code (>= 0.95 of fine-tuning's accuracy)": cpt['code'] >= .95*ft['code'],
            'fine-tuning forgets prose (retention <= 0.95)': ft['retention'] <= .95,
            'the clunk is found (p < 0.01)': c['epochs']['found'] and c['epochs']['p'] < .01,
            'the endless stream is clean': not c['stream']['found'], 'drawn with replacement is clean': not c['drawn']['found']}

def one(seed):
    "The result of one seed, cut down to what is kept."
    torch.set_num_threads(1); d = Demo(seed=seed); d.run(); r = d.result
    short = {c: {k: v[k] for k in ('verdict', 'found', 'p', 'drop', 'ci')} for c, v in r['clunk'].items()}
    print(f'seed {seed}, {sum(r["seconds"].values()):.0f} s\n{d.table.round(3).to_string()}\n{d.conclusion}\n', flush=True)
    return r['machine'], r['size'], dict(seed=seed, table=r['table'], clunk=short, probe=r['clunk']['epochs']['probe'], conclusion=r['conclusion'],
                                         claims={k: bool(v) for k, v in claims(r).items()}, seconds=r['seconds'])

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--seeds', type=int, default=5); p.add_argument('--jobs', type=int, default=2); p.add_argument('--out', default='bench/results/demo.json')
    a = p.parse_args()
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context('spawn')) as pool: done = list(pool.map(one, range(a.seeds)))
    runs, held = [r for *_, r in done], {k: sum(r['claims'][k] for *_, r in done) for k in done[0][2]['claims']}
    Path(a.out).parent.mkdir(parents=True, exist_ok=True)
    Path(a.out).write_text(json.dumps(dict(machine=done[0][0], size=done[0][1], seeds=len(runs), jobs=a.jobs, held=held, runs=runs), indent=1) + '\n')
    for k, n in held.items(): print(f'{n} of {len(runs)}: {k}')

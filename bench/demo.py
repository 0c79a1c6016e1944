"""How often the demonstration shows what it claims: `python bench/demo.py [--seeds 5] [--threads 1] [--out bench/results/demo.json]`.

Runs `cpt-demo` at full size once a seed and counts. Nothing is picked: the seeds are 0, 1, 2, ...
"""
import argparse, json, warnings
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

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--seeds', type=int, default=5); p.add_argument('--threads', type=int, default=1); p.add_argument('--out', default='bench/results/demo.json')
    a = p.parse_args(); torch.set_num_threads(a.threads); runs = []
    for seed in range(a.seeds):
        d = Demo(seed=seed); d.run(); r = d.result
        short = {c: {k: v[k] for k in ('verdict', 'found', 'p', 'drop', 'ci')} for c, v in r['clunk'].items()}
        runs.append(dict(seed=seed, table=r['table'], clunk=short, probe=r['clunk']['epochs']['probe'], conclusion=r['conclusion'], claims=claims(r), seconds=r['seconds']))
        print(f'seed {seed}, {sum(r["seconds"].values()):.0f} s\n{d.table.round(3).to_string()}\n{d.conclusion}\n', flush=True)
        held = {k: sum(bool(o['claims'][k]) for o in runs) for k in runs[0]['claims']}
        Path(a.out).parent.mkdir(parents=True, exist_ok=True)
        Path(a.out).write_text(json.dumps(dict(machine=r['machine'], size=r['size'], seeds=len(runs), held=held, runs=runs), indent=1) + '\n')
    for k, n in held.items(): print(f'{n} of {len(runs)}: {k}')

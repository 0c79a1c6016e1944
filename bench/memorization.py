"""What memorization in one pass predicts, run: `python bench/memorization.py [--seeds 3] [--out bench/results/memorization.json]`.

With --names, only those conditions are run again, and the others kept.

All conditions of `cptlib.memorization.PREDICTIONS`, one base model a seed and setting, one thread. Nothing is picked: the seeds are 0, 1, 2, ...
"""
import argparse, json, os, platform, sys, time
os.environ.setdefault('OMP_NUM_THREADS', '1')
from pathlib import Path
import fastai, numpy, torch
from suite import run_suite, table

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--seeds', type=int, default=3); p.add_argument('--names', nargs='*'); p.add_argument('--out', type=Path, default='bench/results/memorization.json')
    a = p.parse_args(); torch.set_num_threads(1); start, records = time.perf_counter(), []
    for seed in range(a.seeds): records += run_suite(seed, a.names, bar=lambda n: print(f'{time.perf_counter() - start:4.0f} s  seed {seed}  {n}', flush=True))
    made = dict(command=' '.join(['python', *sys.argv]), platform=platform.platform(), processor=platform.processor() or platform.machine(), threads=1,
                python=platform.python_version(), torch=torch.__version__, fastai=fastai.__version__, numpy=numpy.__version__,
                seeds=list(range(a.seeds)), seconds=round(time.perf_counter() - start))
    saved = dict(made=made, records=records)
    if a.names and a.out.exists(): # only these are run again
        old = json.loads(a.out.read_text())
        saved = old | dict(again=old.get('again', []) + [made], records=[r for r in old['records'] if r['condition'] not in a.names] + records)
    a.out.parent.mkdir(parents=True, exist_ok=True)
    a.out.write_text(json.dumps(saved) + '\n')
    print(table(records).round(3).to_string())

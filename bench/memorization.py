"""What memorization in one pass predicts, run: `python bench/memorization.py [--seeds 3]`.

Runs all conditions of `cptlib.memorization.PREDICTIONS`, with one base model for each seed and
setting, on one thread. Nothing is picked: the seeds are 0, 1, 2, ... With `--names`, only those
conditions run again, and the others are kept. Writes bench/results/memorization.json.
"""
import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
import fastai
import numpy
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'experiments'))
from suite import run_suite, table

def run(seeds, names):
    "Records of every seed, with progress on the screen."
    start, records = time.perf_counter(), []
    for seed in range(seeds):
        def bar(name, seed=seed):
            print(f'{time.perf_counter() - start:4.0f} s  seed {seed}  {name}', flush=True)
        records += run_suite(seed, names, bar=bar)
    return records, time.perf_counter() - start

def about(seeds, seconds):
    "What the records were made by, and on."
    return dict(
        command=' '.join(['python', *sys.argv]), platform=platform.platform(),
        processor=platform.processor() or platform.machine(), threads=1,
        python=platform.python_version(), torch=torch.__version__, fastai=fastai.__version__,
        numpy=numpy.__version__, seeds=list(range(seeds)), seconds=round(seconds))

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=3, help='how many seeds')
    parser.add_argument('--names', nargs='*', help='conditions to run again (default: all)')
    parser.add_argument('--out', type=Path, default='bench/results/memorization.json',
                        help='result file')
    args = parser.parse_args()
    torch.set_num_threads(1)
    records, seconds = run(args.seeds, args.names)
    made = about(args.seeds, seconds)
    saved = dict(made=made, records=records)
    if args.names and args.out.exists():
        old = json.loads(args.out.read_text())
        kept = [r for r in old['records'] if r['condition'] not in args.names]
        saved = old | dict(again=old.get('again', []) + [made], records=kept + records)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(saved) + '\n')
    print(table(records).round(3).to_string())

if __name__ == '__main__': main()

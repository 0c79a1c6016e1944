"""The full calibration table: `python bench/calibration.py [--sims 600] [--out FILE] [--estimate]`.

It runs unattended on one thread. A cell that is finished is stored at once, in a file beside the
table, so an interrupted run resumes where it stopped. `--estimate` runs 1 % of the simulations and
tells how long all of them take. The seed of a cell is its position in the grid, so the table is the
same on every machine.
"""
import argparse
import os
import sys
import time
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1') # before numpy is imported
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'experiments'))
from calibration import GRID, run_cell

def cells():
    "The kind and the cell of every row of the table."
    return [(kind, cell) for kind, of_kind in GRID.items() for cell in of_kind]

def finished(path, sims):
    "The rows of an interrupted run, or none if it had another number of simulations."
    if not path.exists(): return []
    rows = pd.read_csv(path, keep_default_na=False).to_dict('records')
    return rows if rows and rows[0]['sims'] == sims else []

def table(sims, path):
    "Write a row for each cell of the grid to `path`; progress is printed with the seconds since."
    rows, start = finished(path, sims), time.time()
    if rows: print(f'{len(rows)} cells were finished before', flush=True)
    for kind, cell in cells()[len(rows):]:
        row = dict(kind=kind) | run_cell(cell, sims, seed=len(rows))
        rows.append(row)
        half = path.with_suffix('.half')
        pd.DataFrame(rows).to_csv(half, index=False)
        half.replace(path)
        seconds = time.time() - start
        print(f'{seconds:6.0f} s  {kind:6} {cell}  found {row["found"]:.3f}', flush=True)

def estimate(sims):
    "Print how long the table takes, from 1 % of its simulations."
    few = max(1, sims//100)
    start = time.process_time()
    for k, (kind, cell) in enumerate(cells()): run_cell(cell, few, seed=k)
    seconds = (time.process_time() - start)*sims/few
    print(f'{len(cells())} cells of {sims} simulations: about {seconds/60:.0f} minutes of CPU time')

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    default = Path(__file__).parent/'results'/'calibration.csv'
    parser.add_argument('--sims', type=int, default=600, help='runs per cell')
    parser.add_argument('--out', type=Path, default=default)
    parser.add_argument('--estimate', action='store_true', help='only tell how long it takes')
    args = parser.parse_args()
    if args.estimate: return estimate(args.sims)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = args.out.with_suffix('.part.csv')
    table(args.sims, part)
    part.replace(args.out)

if __name__ == '__main__': main()

"""The full calibration table: `python bench/calibration.py [--sims 600] [--out FILE]`.

10 to 20 minutes on one thread. The seed of a cell is its position in the grid, so the table is the
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

def table(sims, start):
    "A row for each cell of the grid; progress is printed with the seconds since `start`."
    rows = []
    for kind, cells in GRID.items():
        for cell in cells:
            row = dict(kind=kind) | run_cell(cell, sims, seed=len(rows))
            rows.append(row)
            seconds = time.time() - start
            print(f'{seconds:6.0f} s  {kind:6} {cell}  found {row["found"]:.3f}', flush=True)
    return pd.DataFrame(rows)

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    default = Path(__file__).parent/'results'/'calibration.csv'
    parser.add_argument('--sims', type=int, default=600, help='runs per cell')
    parser.add_argument('--out', type=Path, default=default)
    args = parser.parse_args()
    made = table(args.sims, time.time())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    made.to_csv(args.out, index=False)

if __name__ == '__main__': main()

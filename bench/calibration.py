"""The full calibration table: `python bench/calibration.py [--sims 600] [--out bench/results/calibration.csv]`.

One thread, 10 to 20 minutes. Seeds are the cell's position in the grid, so the table is the same on every machine.
"""
import argparse, os, time
os.environ.setdefault('OMP_NUM_THREADS', '1')
from pathlib import Path
import pandas as pd
from calibration import GRID, run_cell

def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--sims', type=int, default=600, help='runs per cell')
    ap.add_argument('--out', type=Path, default=Path(__file__).parent/'results'/'calibration.csv')
    args = ap.parse_args()
    rows, t0 = [], time.time()
    for kind, cells in GRID.items():
        for cell in cells:
            rows.append(dict(kind=kind) | run_cell(cell, args.sims, seed=len(rows)))
            print(f'{time.time() - t0:6.0f} s  {kind:6} {cell}  found {rows[-1]["found"]:.3f}', flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(args.out, index=False)

if __name__ == '__main__': main()

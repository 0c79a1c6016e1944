"""Runs every notebook under nbs/ and says how it went: `python tools/test.py [NOTEBOOK ...]`.

Each notebook runs from top to bottom in a process of its own, with one thread, two of them side by side where there are two
cores. Nothing is written back. The last line counts the notebooks that ran: `N passed, N failed`; one without a cell to run is named,
and not counted.
"""
import argparse, os, re, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENV = dict(os.environ, MPLBACKEND='agg', OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false', HF_HUB_OFFLINE='1')

def notebooks():
    "All of them, last first: the later ones build on the others, and take longest"
    found = [p for folder in ('nbs', 'experiments') for p in (ROOT/folder).rglob('*.ipynb')]
    return sorted(p for p in found if not any(part[0] in '._' for part in p.relative_to(ROOT).parts))[::-1]

def run(path, flags, timeout):
    "(outcome, cells run, seconds, what was printed) of the notebook at `path`"
    cmd = [str(Path(sys.executable).with_name('nbdev-test')), str(path), '--do-print', '--cell-timing-min', '0', '--flags', flags]
    start = time.time()
    try:
        done = subprocess.run(cmd, cwd=ROOT, env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors='replace', timeout=timeout)
        out, ok = done.stdout, done.returncode == 0
    except subprocess.TimeoutExpired as e: out, ok = f"{(e.stdout or b'').decode(errors='replace')}\nStopped after {timeout} s.", False
    out, cells = re.subn(rf'^{re.escape(path.name)}:\S+: [\d.]+s\n', '', out, flags=re.M)   # nbdev names every cell that it ran
    return ('passed' if cells else 'nothing to run in') if ok else 'FAILED', cells, time.time() - start, out

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('paths', nargs='*', type=lambda p: Path(p).resolve(), help='notebooks to run (default: all)')
    parser.add_argument('--flags', default='', help='run the cells flagged with these too, e.g. "slow cuda"')
    parser.add_argument('--workers', type=int, default=min(2, os.cpu_count() or 1), help='notebooks that run side by side')
    parser.add_argument('--timeout', type=int, default=900, help='seconds that a notebook may take')
    args = parser.parse_args()
    paths, outcomes = args.paths or notebooks(), []
    if not paths: sys.exit(f'No notebook under {ROOT/"nbs"}')
    with ThreadPoolExecutor(args.workers) as pool:
        for path, (outcome, cells, seconds, out) in zip(paths, pool.map(lambda p: run(p, args.flags, args.timeout), paths)):
            outcomes.append(outcome)
            print(f'{outcome}  {path.relative_to(ROOT)}  {cells} cells  {seconds:.0f} s', flush=True)
            if outcome == 'FAILED': print(re.sub(r'^', '    ', out.strip(), flags=re.M), flush=True)
    passed, failed = outcomes.count('passed'), outcomes.count('FAILED')
    print(f'{passed} passed, {failed} failed')
    sys.exit(failed > 0 or not passed)

if __name__ == '__main__': main()

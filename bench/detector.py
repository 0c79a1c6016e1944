"""How fast the clunk detector reads and tests: `python bench/detector.py [--out FILE]`.

Four questions, each timed as the best of several tries on one thread: a log with 2,000 boundaries,
a CSV of 10 MB without a loss, one of 10 MB with a loss, and the paired test of one boundary. The
last is also given as a multiple of the plain test, which says more on a busy machine.
"""
import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1') # before numpy is imported
import numpy as np
from cptlib.clunk.changepoint import boundary_test
from cptlib.clunk.logs import read_log
from cptlib.clunk.paired import EpochRows, paired_test

def best(function, tries):
    "The shortest CPU time of several calls, seconds; on a quiet machine that is the time it takes."
    seconds = []
    for _ in range(tries):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)

def write_table(path, names, columns):
    "Write a CSV."
    lines = [','.join(names), *map(','.join, zip(*columns))]
    path.write_text('\n'.join(lines) + '\n')

def texts(values, digits): return [f'{value:.{digits}f}' for value in values]

def many_boundaries(folder, boundaries=2000, n=60):
    "A log of many epochs of `n` steps."
    rng, steps = np.random.default_rng(0), np.arange((boundaries + 1)*n)
    losses = 3 + 0.1*rng.normal(size=len(steps))
    columns = texts(steps + 1, 0), texts(steps//n, 0), texts(losses, 5)
    write_table(folder/'many.csv', ['step', 'epoch', 'loss'], columns)
    return folder/'many.csv'

def large_table(folder, with_loss, rows=280_000):
    "A CSV of about 10 MB, with a training loss or without."
    rng, steps = np.random.default_rng(0), np.arange(1, rows + 1)
    names = ['step', 'epoch', 'loss' if with_loss else 'reward', 'grad_norm', 'note']
    columns = [texts(steps, 0), texts(steps/(rows/4), 6), texts(3 + rng.normal(size=rows), 5),
               texts(rng.random(rows), 5), ['a']*rows]
    path = folder/f'large_{names[2]}.csv'
    write_table(path, names, columns)
    return path

def read_or_error(path):
    "Read a log, or take its error."
    try: return read_log(path)
    except ValueError as error: return error

def row_run(n, rows=16):
    "Losses and ids [2n, rows] of two shuffled epochs in which rows keep their difficulty."
    rng = np.random.default_rng(0)
    ids = np.concatenate([rng.permutation(n*rows) for _ in range(2)]).reshape(-1, rows)
    difficulty = rng.normal(size=n*rows)
    return 3 + difficulty[ids] + rng.normal(size=ids.shape)/3, ids

def paired_times(n):
    "Milliseconds of the paired and of the plain test of one boundary, and their ratio."
    losses, ids = row_run(n)
    def paired():
        paired_test(EpochRows(losses[:n], ids[:n]), EpochRows(losses[n:], ids[n:]))
    means = losses.mean(1)
    def plain(): boundary_test(means[:n], means[n:])
    ms = {name: 1e3*best(f, 300) for name, f in dict(paired=paired, plain=plain).items()}
    return {name: round(value, 2) for name, value in ms.items()} | dict(
        ratio=round(ms['paired']/ms['plain'], 1))

def measured(folder):
    "All times: seconds of the logs, milliseconds of the tests."
    many = many_boundaries(folder)
    no_loss, fine = (large_table(folder, with_loss) for with_loss in (False, True))
    return dict(
        boundaries_2000=round(best(lambda: read_log(many).detect(), 5), 2),
        no_loss_10MB=round(best(lambda: read_or_error(no_loss), 5), 2),
        loss_10MB=round(best(lambda: read_log(fine).detect(), 5), 2),
        megabytes={path.name: round(path.stat().st_size/1e6, 1) for path in (no_loss, fine)},
        boundary_ms={str(n): paired_times(n) for n in (30, 60, 256)})

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default='bench/results/detector.json')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder: times = measured(Path(folder))
    made = dict(
        command=' '.join(['python', *sys.argv]), platform=platform.platform(),
        processor=platform.processor() or platform.machine(), threads=1,
        python=platform.python_version(), numpy=np.__version__,
        load=round(os.getloadavg()[0], 1))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(dict(made=made, times=times), indent=1) + '\n')
    print(json.dumps(times, indent=1))

if __name__ == '__main__': main()

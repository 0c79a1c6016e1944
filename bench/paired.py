"""What pairing rows gains on real runs: `python bench/paired.py [--seeds 3] [--out bench/results/paired.json]`.

Two epochs of facts (at a low learning rate, where the step is small) and of Python code (where there is none), at 128 steps an epoch and thinned to a
quarter of the rows, 32 steps an epoch. Each run is tested on its step means and with each row compared with itself. The aim is a standard error of the
paired test on the quarter that is no larger than that of the plain test on the whole. Nothing is picked: the seeds are 0, 1, 2, ...
"""
import argparse, copy, json, os, platform, sys, time
os.environ.setdefault('OMP_NUM_THREADS', '1')
from pathlib import Path
import numpy as np, torch
from cptlib.clunk.changepoint import boundary_test
from cptlib.memorization import fact_setting, text_setting, train_rows
from cptlib.clunk.paired import EpochRows, paired_test

def two_epochs(s, n, lr, seed):
    "Losses and ids [steps, 16] of the rows in question over two shuffled epochs of `n` of them, with as many replayed"
    rng, rows = np.random.default_rng(seed), np.concatenate([s.new[:n], s.known])
    asked = np.concatenate([rng.permutation(n) for _ in range(2)]).reshape(-1, 16)
    steps = np.concatenate([asked, n + rng.integers(0, len(s.known), asked.shape)], 1)
    return train_rows(copy.deepcopy(s.base), rows, steps, lr=lr)[:, :16], asked

def tested(losses, ids):
    "Both tests on one run"
    n = len(ids)//2
    plain = boundary_test(losses[:n].mean(1), losses[n:].mean(1))
    paired, rho = paired_test(EpochRows(losses[:n], ids[:n]), EpochRows(losses[n:], ids[n:]))
    return {k: dict(drop=j.drop, ci=list(j.ci), se=j.se, p=j.p) for k, j in dict(plain=plain, paired=paired).items()} | dict(correlation=rho)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--seeds', type=int, default=3); p.add_argument('--out', type=Path, default='bench/results/paired.json')
    a = p.parse_args(); torch.set_num_threads(1); start, runs = time.perf_counter(), []
    for seed in range(a.seeds):
        for kind, make, rates in (('facts', fact_setting, (1e-4, 3e-4)), ('code', lambda s: text_setting(s, new=2048), (1e-3,))):
            s = make(seed)
            for lr in rates:
                for rows in (2048, 512):
                    runs.append(dict(kind=kind, seed=seed, lr=lr, steps=rows//16) | tested(*two_epochs(s, rows, lr, seed)))
                    print(f'{time.perf_counter() - start:4.0f} s', runs[-1], flush=True)
    made = dict(command=' '.join(['python', *sys.argv]), platform=platform.platform(), processor=platform.processor() or platform.machine(), threads=1,
                python=platform.python_version(), torch=torch.__version__, numpy=np.__version__, seeds=list(range(a.seeds)), seconds=round(time.perf_counter() - start))
    a.out.parent.mkdir(parents=True, exist_ok=True)
    a.out.write_text(json.dumps(dict(made=made, runs=runs), indent=1) + '\n')

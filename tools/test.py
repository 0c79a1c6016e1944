"""Runs every notebook and says how it went: `python tools/test.py [NOTEBOOK ...]`.

Each notebook runs from top to bottom in a process of its own, with one thread, two of them side
by side where there are two cores. The processes are copies of one that has imported torch, fastai
and the like, so they start at once. Nothing is written back. The last line counts the notebooks
that ran: `N passed, N failed`. A notebook without a cell to run is named, and not counted.
"""
import argparse, multiprocessing, os, re, signal, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENV = dict(MPLBACKEND='agg', OMP_NUM_THREADS='1', MKL_NUM_THREADS='1',
    TOKENIZERS_PARALLELISM='false', HF_HUB_OFFLINE='1')
SLOW_TO_IMPORT = ['torch', 'fastai.basics', 'fastai.callback.all', 'fastai.distributed',
    'matplotlib.pyplot', 'pandas', 'scipy.stats', 'datasets', 'accelerate', 'peft',
    'transformers.models.gpt2.modeling_gpt2', 'transformers.models.llama.modeling_llama',
    'transformers.trainer', 'torch._dynamo', 'IPython', 'nbdev.test']

@dataclass
class Outcome:
    "How a notebook went."
    path: Path
    word: str # 'passed', 'FAILED' or 'nothing to run in'
    cells: int # cells that ran
    seconds: float
    printed: str

    def __str__(self):
        name = self.path.relative_to(ROOT)
        return f'{self.word}  {name}  {self.cells} cells  {self.seconds:.0f} s'

def notebooks():
    "All notebooks, last first: the later ones build on the others, and take longest."
    found = [p for folder in ('nbs', 'experiments') for p in (ROOT/folder).rglob('*.ipynb')]
    shown = [p for p in found if not any(part[0] in '._' for part in p.relative_to(ROOT).parts)]
    return sorted(shown)[::-1]

def run_notebook(path, flags, log):
    "In a process of its own: run one notebook, and print into the file `log`."
    os.setsid() # so that its own processes can be stopped with it
    file = os.open(log, os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2): os.dup2(file, stream)
    os.chdir(ROOT)
    multiprocessing.set_start_method(None, force=True) # or what it starts would begin like itself
    from nbdev.config import get_config
    from nbdev.test import test_nb
    skipped = (get_config().tst_flags or '').split()
    passed, _ = test_nb(path, skip_flags=skipped, force_flags=flags.split(), do_print=True,
                        basepath=ROOT, cell_timeout=None, cell_timing_min=0)
    sys.stdout.flush()
    sys.exit(0 if passed else 1)

def call(path, flags, timeout):
    "Run one notebook: (did it pass, what it printed)."
    with tempfile.NamedTemporaryFile(mode='r', errors='replace') as log:
        context = multiprocessing.get_context('forkserver')
        process = context.Process(target=run_notebook, args=(path, flags, log.name))
        process.start()
        process.join(timeout)
        if in_time := process.exitcode is not None: note = ''
        else:
            note = f'\nStopped after {timeout} s.'
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
        return in_time and process.exitcode == 0, log.read() + note

def run(path, flags, timeout):
    "The `Outcome` of one notebook."
    start = time.time()
    passed, printed = call(path, flags, timeout)
    timing = rf'^{re.escape(path.name)}:\S+: [\d.]+s\n' # nbdev prints one for each cell
    printed, cells = re.subn(timing, '', printed, flags=re.M)
    word = ('passed' if cells else 'nothing to run in') if passed else 'FAILED'
    return Outcome(path, word, cells, time.time() - start, printed)

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    add = parser.add_argument
    add('paths', nargs='*', type=lambda p: Path(p).resolve(), help='notebooks (default: all)')
    add('--flags', default='', help='run the cells with these flags too, such as "slow cuda"')
    add('--workers', type=int, default=min(2, os.cpu_count() or 1), help='notebooks side by side')
    add('--timeout', type=int, default=900, help='seconds that a notebook may take')
    args = parser.parse_args()
    paths, words = args.paths or notebooks(), []
    if not paths: sys.exit(f'No notebook under {ROOT}')
    os.environ.update(ENV)
    multiprocessing.set_forkserver_preload(SLOW_TO_IMPORT)
    with ThreadPoolExecutor(args.workers) as pool:
        for outcome in pool.map(lambda p: run(p, args.flags, args.timeout), paths):
            words.append(outcome.word)
            print(outcome, flush=True)
            if outcome.word != 'FAILED': continue
            print(re.sub(r'^', '    ', outcome.printed.strip(), flags=re.M), flush=True)
    passed, failed = words.count('passed'), words.count('FAILED')
    print(f'{passed} passed, {failed} failed')
    sys.exit(failed > 0 or not passed)

if __name__ == '__main__': main()

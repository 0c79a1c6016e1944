"""What saving costs: `python bench/checkpoint.py [--steps 200]`.

Trains the demonstration model `GPT()` on one thread with `Checkpoint(every=50)`. It reads off, as
shares of the processor time of the training thread (which other programs on the machine disturb
less than the time on the clock):
- what that thread spends on saving (copying to the host) and on the ledger;
- what the writing thread spends, which counts if no core is free for it.

It also measures the share of the time on the clock that saving held the training up, with the wait
for the save before; and the time to load a mixture's state at step one billion, and from there to
the first batch. The data are random tokens, because only time is measured. It takes a minute.
"""
import argparse, json, os, platform, statistics, tempfile, time, warnings
os.environ.setdefault('OMP_NUM_THREADS', '1')
from pathlib import Path

import fastai, numpy as np, safetensors, torch
from fastai.basics import set_seed

from cptlib.callback.checkpoint import Checkpoint, Ledger
from cptlib.callback.store import Store
from cptlib.data.mixture import Mixture
from cptlib.data.source import Source
from cptlib.learner import cpt_learner
from cptlib.models.gpt import GPT

WEIGHTS = dict(prose=.6, code=.4)

def cpu_name():
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(':')[1].strip() for line in lines if 'model name' in line]
    return names[0] if names else platform.processor()

def machine():
    return dict(cpu=cpu_name(), cores=os.cpu_count(), threads=torch.get_num_threads(),
                python=platform.python_version(), system=platform.system(),
                torch=torch.__version__, fastai=fastai.__version__,
                safetensors=safetensors.__version__)

def sources(folder):
    "Random tokens: prose, code and validation rows."
    rng, found = np.random.default_rng(0), []
    for name, n in (('prose', 20_000), ('code', 5_000), ('valid', 64)):
        rows = rng.integers(0, 256, (n, 97), dtype=np.uint8)
        found.append(Source.from_rows(name, rows, folder/name, vocab_size=256))
    return found

def train(prose, code, valid, steps, checkpoint):
    "Seconds and processor seconds of one training."
    set_seed(0)
    mixture = Mixture([prose, code], WEIGHTS, bs=32, steps=steps)
    learn = cpt_learner(GPT(), mixture, [valid], every=steps, bf16=False, device='cpu')
    start, cpu = time.perf_counter(), time.thread_time()
    with learn.no_bar(), learn.no_logging(): learn.fit_cpt(cbs=[checkpoint])
    return time.perf_counter() - start, time.thread_time() - cpu

def count_time(cls, name, clock, total):
    "Add the time that a method takes to `total[name]`."
    method = getattr(cls, name)
    def timed(*args, **kwargs):
        start = clock()
        try: return method(*args, **kwargs)
        finally: total[name] = total.get(name, 0) + clock() - start
    setattr(cls, name, timed)

def milliseconds(work, *args):
    start = time.perf_counter()
    work(*args)
    return 1e3*(time.perf_counter() - start)

def load_at(prose, code, step, repeat=20):
    "Median milliseconds to load a state at `step`, and from there to the first batch."
    def new_mixture(): return Mixture([prose, code], WEIGHTS, bs=32, steps=2*step or None)
    there = new_mixture()
    there.step = step
    state = json.loads(json.dumps(there.state_dict()))
    load, first = [], []
    for _ in range(repeat):
        mix = new_mixture()
        load.append(milliseconds(mix.load_state_dict, state))
        first.append(milliseconds(mix.batch, mix.step))
    return dict(step=step, load_ms=statistics.median(load),
                first_batch_ms=statistics.median(first))

def measure(steps, every, folder):
    "All figures of one training with checkpoints."
    spent = {}
    for cls, name in ((Store, '_write'), (Ledger, 'add'), (Checkpoint, '_save')):
        count_time(cls, name, time.thread_time, spent)
    prose, code, valid = sources(folder)
    ck = Checkpoint(folder/'run', every=every, minutes=None)
    seconds, cpu = train(prose, code, valid, steps, ck)
    newest = ck.store.path/ck.store.names()[-1]
    size = sum(f.stat().st_size for f in newest.iterdir())
    shares = dict(saving=spent['_save']/cpu, ledger=spent['add']/cpu,
                  writing_thread=spent['_write']/cpu)
    return dict(machine=machine(), steps=steps, every=every, saves=steps//every,
                megabytes=size/1e6, seconds=seconds, processor_seconds=cpu,
                processor_share=shares | dict(total=sum(shares.values())),
                held_up_share=ck.seconds/seconds,
                mixture=[load_at(prose, code, step) for step in (0, 10**3, 10**6, 10**9)])

def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--steps', type=int, default=200, help='training steps')
    ap.add_argument('--every', type=int, default=50, help='steps between two saves')
    default = Path(__file__).parent/'results'/'checkpoint.json'
    ap.add_argument('--out', type=Path, default=default, help='where the results go')
    args = ap.parse_args()
    warnings.simplefilter('ignore')
    with tempfile.TemporaryDirectory() as tmp:
        result = measure(args.steps, args.every, Path(tmp))
    text = json.dumps(result, indent=1)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text + '\n')
    print(text)

if __name__ == '__main__': main()

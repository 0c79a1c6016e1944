"""What saving costs: `python bench/checkpoint.py [--steps 200] [--out bench/results/checkpoint.json]`.

Trains the demonstration model `GPT()` on one thread with `Checkpoint(every=50)`, and reads off, as shares of the processor
time of the training thread (which other programs on the machine disturb less than the clock on the wall),
- what that thread spends on saving (copying to the host) and on the ledger;
- what the writing thread spends, which counts where no core is free for it;
also the share of the time on the clock that saving held the training up, the wait for the save before included; and the time to load a mixture's state at step one billion, and from there to the first batch.
The data are random tokens: only time is measured. A minute.
"""
import argparse, json, os, platform, statistics, tempfile, time, warnings
os.environ.setdefault('OMP_NUM_THREADS', '1')
from pathlib import Path
import numpy as np, fastai, safetensors, torch
from fastai.basics import set_seed
from cptlib.callback.checkpoint import Checkpoint, Ledger
from cptlib.models.gpt import GPT
from cptlib.learner import cpt_learner
from cptlib.data.mixture import Mixture
from cptlib.data.source import Source
from cptlib.callback.store import Store

def machine():
    cpu = next((l.split(':')[1].strip() for l in Path('/proc/cpuinfo').read_text().splitlines() if 'model name' in l), platform.processor()) if Path('/proc/cpuinfo').exists() else platform.processor()
    return dict(cpu=cpu, cores=os.cpu_count(), threads=torch.get_num_threads(), python=platform.python_version(), system=platform.system(),
                torch=torch.__version__, fastai=fastai.__version__, safetensors=safetensors.__version__)

def sources(folder):
    rng = np.random.default_rng(0)
    return [Source.from_rows(n, rng.integers(0, 256, (rows, 97), dtype=np.uint8), folder/n, vocab_size=256) for n, rows in (('prose', 20_000), ('code', 5_000), ('valid', 64))]

def train(prose, code, valid, steps, checkpoint):
    "Seconds and processor seconds of one training."
    set_seed(0)
    learn = cpt_learner(GPT(), Mixture([prose, code], dict(prose=.6, code=.4), bs=32, steps=steps), [valid], every=steps, bf16=False, device='cpu')
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

def load_at(prose, code, step, repeat=20):
    "Median seconds to load a state at `step`, and from there to the first batch, for a mixture that never was there."
    schedule, load, first = dict(prose=.6, code=.4), [], []
    there = Mixture([prose, code], schedule, bs=32, steps=2*step or None); there.step = step; state = json.loads(json.dumps(there.state_dict()))
    for _ in range(repeat):
        mix = Mixture([prose, code], schedule, bs=32, steps=2*step or None)
        t0 = time.perf_counter(); mix.load_state_dict(state); t1 = time.perf_counter(); mix.batch(mix.step); t2 = time.perf_counter()
        load.append(t1 - t0); first.append(t2 - t1)
    return dict(step=step, load_ms=1e3*statistics.median(load), first_batch_ms=1e3*statistics.median(first))

def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--steps', type=int, default=200, help='training steps')
    ap.add_argument('--every', type=int, default=50, help='steps between two saves')
    ap.add_argument('--out', type=Path, default=Path(__file__).parent/'results'/'checkpoint.json')
    args = ap.parse_args(); warnings.simplefilter('ignore')
    spent = {}
    for cls, name in ((Store, '_write'), (Ledger, 'add'), (Checkpoint, '_save')): count_time(cls, name, time.thread_time, spent)
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp); data = sources(tmp); ck = Checkpoint(tmp/'run', every=args.every, minutes=None)
        seconds, cpu = train(*data, args.steps, ck)
        size = sum(f.stat().st_size for f in (ck.store.path/ck.store.names()[-1]).iterdir())
        shares = dict(saving=spent['_save']/cpu, ledger=spent['add']/cpu, writing_thread=spent['_write']/cpu)
        result = dict(machine=machine(), steps=args.steps, every=args.every, saves=args.steps//args.every, megabytes=size/1e6, seconds=seconds, processor_seconds=cpu,
            processor_share=shares | dict(total=sum(shares.values())), held_up_share=ck.seconds/seconds, mixture=[load_at(*data[:2], s) for s in (0, 10**3, 10**6, 10**9)])
    args.out.parent.mkdir(parents=True, exist_ok=True); args.out.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))

if __name__ == '__main__': main()

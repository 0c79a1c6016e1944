"""What saving costs: `python bench/checkpoint.py [--steps 400] [--repeat 3] [--out bench/results/checkpoint.json]`.

Trains the demonstration model `GPT()` on one thread, in turns without and with `Checkpoint(every=50)`, and reads off
- the share of the training time that the training thread spends on saving (copying, and waiting for the save before);
- the processor time of the whole process, writing thread included, with and without;
- the time to load a mixture's state at step one billion, and to its first batch.
The data are random tokens: only time is measured. A minute or two.
"""
import argparse, json, os, platform, statistics, tempfile, time, warnings
os.environ.setdefault('OMP_NUM_THREADS', '1')
from pathlib import Path
import numpy as np, fastai, safetensors, torch
from fastai.basics import set_seed
from cptlib.checkpoint import Checkpoint
from cptlib.gpt import GPT
from cptlib.learner import cpt_learner
from cptlib.mixture import Mixture
from cptlib.source import Source

def machine():
    cpu = next((l.split(':')[1].strip() for l in Path('/proc/cpuinfo').read_text().splitlines() if 'model name' in l), platform.processor()) if Path('/proc/cpuinfo').exists() else platform.processor()
    return dict(cpu=cpu, cores=os.cpu_count(), threads=torch.get_num_threads(), python=platform.python_version(), system=platform.system(),
                torch=torch.__version__, fastai=fastai.__version__, safetensors=safetensors.__version__)

def sources(folder):
    rng = np.random.default_rng(0)
    return [Source.from_rows(n, rng.integers(0, 256, (rows, 97), dtype=np.uint8), folder/n, vocab_size=256) for n, rows in (('prose', 20_000), ('code', 5_000), ('valid', 64))]

def train(prose, code, valid, steps, checkpoint):
    "Seconds, processor seconds and `Checkpoint` of one training."
    set_seed(0)
    learn = cpt_learner(GPT(), Mixture([prose, code], dict(prose=.6, code=.4), bs=32, steps=steps), [valid], every=steps, bf16=False, device='cpu')
    start, cpu = time.perf_counter(), time.process_time()
    with learn.no_bar(), learn.no_logging(): learn.fit_cpt(cbs=[checkpoint] if checkpoint else [])
    return time.perf_counter() - start, time.process_time() - cpu

def load_at(prose, code, step, repeat=20):
    "Median seconds to load a state at `step`, and from there to the first batch, for a mixture that never was there."
    schedule, load, first = dict(prose=.6, code=.4), [], []
    there = Mixture([prose, code], schedule, bs=32, steps=2*step); there.step = step; state = json.loads(json.dumps(there.state_dict()))
    for _ in range(repeat):
        mix = Mixture([prose, code], schedule, bs=32, steps=2*step)
        t0 = time.perf_counter(); mix.load_state_dict(state); t1 = time.perf_counter(); mix.batch(mix.step); t2 = time.perf_counter()
        load.append(t1 - t0); first.append(t2 - t1)
    return dict(step=step, load_ms=1e3*statistics.median(load), first_batch_ms=1e3*statistics.median(first))

def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--steps', type=int, default=400, help='training steps of each run')
    ap.add_argument('--every', type=int, default=50, help='steps between two saves')
    ap.add_argument('--repeat', type=int, default=3, help='runs without and with')
    ap.add_argument('--out', type=Path, default=Path(__file__).parent/'results'/'checkpoint.json')
    args = ap.parse_args(); warnings.simplefilter('ignore')
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp); data = sources(tmp); train(*data, 20, None)
        without, with_, share = [], [], []
        for i in range(args.repeat):
            without.append(train(*data, args.steps, None))
            ck = Checkpoint(tmp/f'run{i}', every=args.every, minutes=None)
            with_.append(train(*data, args.steps, ck)); share.append(ck.seconds/with_[-1][0])
            size = sum(f.stat().st_size for f in (ck.store.path/ck.store.names()[-1]).iterdir())
            print(f'without {without[-1][1]:.1f} s, with {with_[-1][1]:.1f} s of processor time; saving {share[-1]:.2%} of the time', flush=True)
        result = dict(machine=machine(), steps=args.steps, every=args.every, saves=args.steps//args.every, megabytes=size/1e6,
            step_ms=1e3*min(w for w, _ in without)/args.steps, saving_share=statistics.median(share), saving_share_of_each_run=share,
            processor_share=min(c for _, c in with_)/min(c for _, c in without) - 1, mixture=[load_at(*data[:2], s) for s in (0, 10**3, 10**6, 10**9)])
    args.out.parent.mkdir(parents=True, exist_ok=True); args.out.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))

if __name__ == '__main__': main()

"""What the three callbacks cost a step: `python bench/callbacks.py [--rounds 12] [--out bench/results/callbacks.json]`.

A bare Learner and one with DataMix, ClunkDetector and AccuracyTracker train on the same batches, in turn, in one process and on one
thread; a step is the time between two requests for a batch, so everything is in it. Two models: the one of the demonstration, and one
of 25 thousand parameters, where nothing hides the cost. The losses of both must be equal to the last bit.
"""
import argparse, json, platform, tempfile, time, warnings
from pathlib import Path
warnings.simplefilter('ignore')
import fastai, numpy as np, torch
from fastai.basics import DataLoaders, Learner, set_seed
from cptlib.callback.accuracy import AccuracyTracker
from cptlib.callback.core import LeanCallback
from cptlib.callback.datamix import DataMix
from cptlib.callback.detector import ClunkDetector
from cptlib.models.gpt import GPT
from cptlib.learner import adamw, decay_groups
from cptlib.data.loader import MixtureLoader, ValidLoader
from cptlib.models.metrics import next_token_loss
from cptlib.data.mixture import Mixture
from cptlib.data.source import Source

class TimedLoader(MixtureLoader):
    "Notes when each batch is asked for."
    def __iter__(self):
        self.times = []
        for batch in super().__iter__(): self.times.append(time.perf_counter()); yield batch

class Losses(LeanCallback):
    "Keeps the loss of each step; in both arms."
    run_valid = False
    def before_fit(self): self.seen = []
    def after_batch(self): self.seen.append(self.loss)

def one_fit(model, sources, bs, row_len, steps, ours):
    set_seed(0)
    mix = Mixture(sources, dict(a=.5, b=.3, c=.2), bs=bs, steps=steps)
    loader = TimedLoader(mix)
    dls = DataLoaders(loader, ValidLoader(sources, bs, rows=2))
    learn = Learner(dls, model(), next_token_loss, adamw, splitter=decay_groups, cbs=[Losses()] + ([DataMix(), ClunkDetector(), AccuracyTracker()] if ours else []))
    with learn.no_logging(): learn.fit(1)
    return np.diff(loader.times[5:])*1e3, [l.item() for l in learn.losses.seen]

def compare(name, model, bs, row_len, steps, rounds, tmp):
    rng = np.random.default_rng(0)
    sources = [Source.from_tokens(n, rng.integers(0, 64, size*row_len + 1).astype(np.uint8), tmp/f'{name}-{n}', row_len, vocab_size=256)
               for n, size in (('a', 4000), ('b', 900), ('c', 200))]
    ms, same = {False: [], True: []}, True
    for r in range(rounds):
        losses = {}
        for ours in ((False, True), (True, False))[r % 2]:
            t, losses[ours] = one_fit(model, sources, bs, row_len, steps, ours); ms[ours].append(np.median(t))
        same &= losses[True] == losses[False]
    bare, ours = np.array(ms[False]), np.array(ms[True])
    q = lambda x: [float(v) for v in np.quantile(x, [.25, .5, .75])]
    return dict(parameters=sum(p.numel() for p in model().parameters()), steps=steps, rounds=rounds, bare_ms=q(bare), callbacks_ms=q(ours),
                ratio=q(ours/bare), difference_ms=q(ours - bare), losses_equal_to_the_last_bit=bool(same))

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--rounds', type=int, default=12); p.add_argument('--out', default='bench/results/callbacks.json')
    a = p.parse_args(); torch.set_num_threads(1); tmp = Path(tempfile.mkdtemp())
    machine = dict(platform=platform.platform(), cpu=next((l.split(':')[1].strip() for l in open('/proc/cpuinfo') if 'model name' in l), '') if Path('/proc/cpuinfo').exists() else '',
                   python=platform.python_version(), torch=torch.__version__, fastai=fastai.__version__, threads=1)
    res = dict(machine=machine, quartiles='25 %, median, 75 % over rounds of the median step',
               demo=compare('demo', lambda: GPT(256, 96, 128, 2), 16, 96, 25, a.rounds, tmp),
               small=compare('small', lambda: GPT(256, 32, 32, 1, 2), 8, 32, 300, a.rounds, tmp))
    Path(a.out).parent.mkdir(parents=True, exist_ok=True); Path(a.out).write_text(json.dumps(res, indent=1) + '\n')
    print(json.dumps(res, indent=1))

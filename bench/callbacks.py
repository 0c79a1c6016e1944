"""What the three callbacks cost a step: `python bench/callbacks.py [--rounds 12]`.

A bare Learner and one with DataMix, ClunkDetector and AccuracyTracker train on the same batches, in
turn, in one process and on one thread. A step is the time between two requests for a batch, so
everything is in it. There are two models: that of the demonstration, and one of 25 thousand
parameters, where nothing hides the cost. The losses of both arms must be equal to the last bit.
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
from cptlib.data.loader import MixtureLoader, ValidLoader
from cptlib.data.mixture import Mixture
from cptlib.data.source import Source
from cptlib.models.gpt import GPT
from cptlib.models.metrics import next_token_loss
from cptlib.optim import adamw, decay_groups

class TimedLoader(MixtureLoader):
    "Notes when each batch is asked for."
    def __iter__(self):
        self.times = []
        for batch in super().__iter__():
            self.times.append(time.perf_counter())
            yield batch

class Losses(LeanCallback):
    "Keeps the loss of each step; in both arms."
    run_valid = False
    def before_fit(self): self.seen = []
    def after_batch(self): self.seen.append(self.loss)

def one_fit(model, sources, bs, steps, ours):
    "Milliseconds of each step, and the losses, with our callbacks or without."
    set_seed(0)
    mixture = Mixture(sources, dict(a=.5, b=.3, c=.2), bs=bs, steps=steps)
    loader = TimedLoader(mixture)
    dls = DataLoaders(loader, ValidLoader(sources, bs, rows=2))
    cbs = [Losses()]
    if ours: cbs += [DataMix(), ClunkDetector(), AccuracyTracker()]
    learn = Learner(dls, model(), next_token_loss, adamw, splitter=decay_groups, cbs=cbs)
    with learn.no_logging(): learn.fit(1)
    return np.diff(loader.times[5:])*1e3, [loss.item() for loss in learn.losses.seen]

def make_sources(folder, row_len):
    rng = np.random.default_rng(0)
    def make(name, rows):
        tokens = rng.integers(0, 64, rows*row_len + 1).astype(np.uint8)
        return Source.from_tokens(name, tokens, folder/name, row_len, vocab_size=256)
    return [make(name, rows) for name, rows in (('a', 4000), ('b', 900), ('c', 200))]

def quartiles(x): return [float(v) for v in np.quantile(x, [.25, .5, .75])]

def compare(model, bs, row_len, steps, rounds, folder):
    "Both arms in turn, round by round, each round beginning with the other one."
    sources = make_sources(folder, row_len)
    medians, same = {False: [], True: []}, True
    for r in range(rounds):
        losses = {}
        for ours in ((False, True), (True, False))[r % 2]:
            ms, losses[ours] = one_fit(model, sources, bs, steps, ours)
            medians[ours].append(np.median(ms))
        same &= losses[True] == losses[False]
    bare, ours = np.array(medians[False]), np.array(medians[True])
    return dict(
        parameters=sum(p.numel() for p in model().parameters()),
        steps=steps,
        rounds=rounds,
        bare_ms=quartiles(bare),
        callbacks_ms=quartiles(ours),
        ratio=quartiles(ours/bare),
        difference_ms=quartiles(ours - bare),
        losses_equal_to_the_last_bit=bool(same),
    )

def processor():
    "Name of the processor, where the system tells."
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(':')[1].strip() for line in lines if 'model name' in line), '')

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=12)
    parser.add_argument('--out', type=Path, default=Path('bench/results/callbacks.json'))
    args = parser.parse_args()
    torch.set_num_threads(1)
    tmp = Path(tempfile.mkdtemp())
    machine = dict(
        platform=platform.platform(), cpu=processor(), python=platform.python_version(),
        torch=torch.__version__, fastai=fastai.__version__, threads=1)
    def demo(): return GPT(256, 96, 128, 2)
    def small(): return GPT(256, 32, 32, 1, 2)
    result = dict(
        machine=machine,
        quartiles='25 %, median, 75 % over rounds of the median step',
        demo=compare(demo, 16, 96, 25, args.rounds, tmp/'demo'),
        small=compare(small, 8, 32, 300, args.rounds, tmp/'small'),
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))

if __name__ == '__main__': main()

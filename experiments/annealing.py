"""Does an annealed mixture beat a constant one, and does that depend on how the training ends?

    python experiments/annealing.py [--seeds 5] [--out FILE] [--threads 1]
    python experiments/annealing.py --model smollm2 --seeds 3 [--out FILE] [--threads 2]

A GPT of width 128 with 2 blocks (rows of 96 bytes, batches of 16 rows) learns the embedded prose
for 240 steps. From there it is continued for 240 steps on prose and code. Two mixtures hold the
same rows of each source in total, 40 % prose and 60 % code:

- constant: these shares in every step
- annealed: from 75 % prose to 5 %, in a straight line

Three ways to end the training, at a peak rate of 2e-3 with 5 % warmup:

- decay: the learning rate falls along a cosine to a tenth
- constant rate: the rate stays at its peak
- average: the weights of the last 5 checkpoints of the training at a constant rate, 12 steps apart

So there are two mixtures and three endings: 2 x 3 results a seed, from four trainings. All begin
with the same weights and read the same number of tokens. `advantage` is the loss of the constant
mixture minus that of the annealed one, in nats on held-out rows; above 0 the annealed one is
better. `both` weighs prose and code by their shares of the training, .4 and .6.

The published claim (2511.18903, read as an abstract) is about sorting by quality: what comes late
counts for less if the learning rate has fallen by then, and averaging in place of decay brings
the gain back.

Predictions, written before the first run:

1. At a constant rate the annealed mixture is better on code, by .02 or more, in 5 of 5 seeds.
2. Under decay its advantage on code is at most half of that at a constant rate.
3. With averaging its advantage on code is at least three quarters of that at a constant rate.
4. The price: it is worse on prose, in all three endings and all seeds.
5. On both together it is not better in any ending: the advantage is below .01.
6. Decay beats the average on code with either mixture, by less than .03 on the mean.

`--model smollm2` does the same with SmolLM2-135M-Instruct, all weights. The new skill is text to
SQL (60 % of the rows), and the old text is the language reference of Python and code of its
library (20 % each). The training has 40 steps of 4 rows of 144 tokens at a peak rate of 1e-4. The
average is of the last 5 checkpoints, 2 steps apart. All seeds begin with the same weights; they
differ in the rows and their order. `both` weighs SQL and the mean of the two old texts.
Predictions, written before the first run with this model:

1. At a constant rate the annealed mixture is better on SQL in 3 of 3 seeds, by less than .05.
2. Under decay its advantage on SQL is at most half of that at a constant rate.
3. With averaging its advantage on SQL is less than three quarters of that at a constant rate.
4. It is worse on the old text in all three endings and all seeds, by less than .03.
5. On both together it is not better in any ending: the advantage is below .01.
6. Decay is better than the end at a constant rate on SQL, by .02 or more with either mixture, and
   the average is within .02 of decay.

One line of JSON per seed is appended to the results. Seeds that are there already are skipped.
"""
import copy
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from fastai.basics import set_seed
from real_clunk import arguments, missing, store
from sql_skill import sources_of

from cptlib.callback.accuracy import evaluate
from cptlib.callback.averages import swapped
from cptlib.callback.core import LeanCallback
from cptlib.data.loader import ValidLoader
from cptlib.data.mixture import Mixture
from cptlib.data.schedule import anneal, constant
from cptlib.demo import demo_sources
from cptlib.learner import cpt_learner
from cptlib.models.adapter import open_for_training
from cptlib.models.gpt import GPT

RESULTS = Path(__file__).parent/'results'
BASE_STEPS, LAST = 240, 5

@dataclass
class Setting:
    "A model to start from, what it knows and what it is to learn."
    start:object # the model
    train:list # `Source`s: the new one and the old ones
    valid:list # held-out `Source`s of the same names
    new:str # name of the new one
    bs:int
    lr:float
    steps:int
    apart:int # steps between the checkpoints that are averaged
    rows:int # held-out rows of each source
    settings:dict = field(default_factory=dict) # more arguments of `cpt_learner`

    def mixtures(self):
        "The two schedules, which hold the same rows in total."
        old = [s.name for s in self.train if s.name != self.new]
        def shares(known): return dict.fromkeys(old, known/len(old)) | {self.new: 1 - known}
        annealed = anneal(shares(.75), shares(.05), shape='linear', floor=.02)
        return dict(constant=constant(shares(.4)), annealed=annealed)

class MeanOfLast(LeanCallback):
    "The mean of the weights after the last steps, some steps apart."
    def __init__(self, n, apart): self.n, self.apart = n, apart

    def before_fit(self): self.sums, self.done = {}, 0

    @torch.no_grad()
    def after_step(self):
        self.done += 1
        left = self.learn.dls.train.mixture.steps - self.done
        if left % self.apart or left >= self.n*self.apart: return
        for name, p in self.learn.model.named_parameters():
            if name not in self.sums: self.sums[name] = torch.zeros_like(p)
            self.sums[name] += p/self.n

def learner(s, model, schedule, steps, seed, cbs=()):
    "A Learner for a copy of a model, which measures nothing by itself."
    set_seed(seed)
    used = [source for source in s.train if source.name in schedule.names]
    mixture = Mixture(used, schedule, s.bs, steps, seed=seed)
    return cpt_learner(copy.deepcopy(model), mixture, s.valid, every=steps, lr=s.lr, rows=1,
                       bf16=False, cbs=list(cbs), **s.settings)

def fitted(learn, shape):
    "The Learner after its training."
    with learn.quietly(): learn.fit_cpt(shape=shape)
    return learn

def measured(model, s):
    "Loss and accuracy on held-out rows of each source."
    device = next(model.parameters()).device
    table = evaluate(model, ValidLoader(s.valid, 32, s.rows, device))[['loss', 'accuracy']]
    return table.astype(float).round(6).to_dict('index')

def small(seed, folder, device):
    "A GPT that has learned prose, and is to learn code."
    train, valid = demo_sources()
    s = Setting(None, train[:2], valid[:2], 'code', 16, 2e-3, 240, 12, 128, dict(device=device))
    set_seed(seed)
    base = learner(s, GPT(256, 96, 128, 2), constant(dict(prose=1.)), BASE_STEPS, seed)
    s.start = fitted(base, 'cosine').model
    return s

def smollm2(seed, folder, device):
    "SmolLM2-135M-Instruct, which is to write SQL."
    start = open_for_training('smollm2').to(device)
    train, valid = sources_of(start.tokenizer, folder, each=4, row_len=144)
    valid = [source for source in valid if source.name != 'german']
    return Setting(start, train, valid, 'sql', 4, 1e-4, 40, 2, 32, dict(device=device))

@dataclass(frozen=True)
class Six:
    "The two mixtures with the three endings."
    name:str='2 x 3'

def run(s, seed):
    "All results of a seed: {mixture: {ending: {source: measures}}}."
    began = time.process_time()
    found = dict(before=measured(s.start, s))
    for name, schedule in s.mixtures().items():
        decay = fitted(learner(s, s.start, schedule, s.steps, seed), 'cosine')
        found[name] = dict(decay=measured(decay.model, s))
        del decay
        mean = MeanOfLast(LAST, s.apart)
        level = fitted(learner(s, s.start, schedule, s.steps, seed, [mean]), 'constant')
        found[name]['constant rate'] = measured(level.model, s)
        with swapped(level.model, mean.sums): found[name]['average'] = measured(level.model, s)
        delivered = level.dls.train.mixture.delivered()
        found[name]['delivered'] = {n: d['share'] for n, d in delivered.items()}
        del level, mean
    return dict(results=found, cpu_seconds=round(time.process_time() - began, 1))

def main():
    parser = arguments(__doc__, None)
    parser.set_defaults(threads=1)
    parser.add_argument('--model', default='small', choices=['small', 'smollm2'])
    args = parser.parse_args()
    name = 'annealing' if args.model == 'small' else 'annealing_smollm2'
    args.out = args.out or RESULTS/f'{name}.jsonl'
    torch.set_num_threads(args.threads)
    make = dict(small=small, smollm2=smollm2)[args.model]
    for six, seed in missing(args, [Six()]):
        with tempfile.TemporaryDirectory() as folder:
            s = make(seed, Path(folder), args.device)
            result = run(s, seed)
        store(args, six.name, seed, result)
        for mixture in ('constant', 'annealed'):
            ends = {e: m[s.new]['loss'] for e, m in result['results'][mixture].items()
                    if e != 'delivered'}
            print(seed, mixture, ends, f"{result['cpu_seconds']} s", flush=True)

if __name__ == '__main__': main()

"""Does an annealed mixture beat a constant one, and does that depend on how the training ends?

    python experiments/annealing.py [--seeds 5] [--out FILE] [--threads 1]

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

One line of JSON per seed is appended to the results. Seeds that are there already are skipped.
"""
import copy
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from fastai.basics import set_seed
from real_clunk import arguments, missing, store

from cptlib.callback.accuracy import evaluate
from cptlib.callback.averages import merge_checkpoints
from cptlib.callback.checkpoint import Checkpoint
from cptlib.data.mixture import Mixture
from cptlib.data.schedule import anneal, constant
from cptlib.demo import demo_sources
from cptlib.learner import cpt_learner
from cptlib.models.gpt import GPT

OUT = Path(__file__).parent/'results'/'annealing.jsonl'
WIDTH, DEPTH, ROW_LEN, BS, LR = 128, 2, 96, 16, 2e-3
BASE_STEPS, STEPS, ROWS, LAST, APART = 240, 240, 128, 5, 12
MIXTURES = dict(
    constant=constant(dict(prose=.4, code=.6)),
    annealed=anneal(dict(prose=.75, code=.25), dict(prose=.05, code=.95), shape='linear'))

@dataclass(frozen=True)
class Six:
    "The two mixtures with the three endings."
    name:str='2 x 3'

def learner(model, schedule, steps, seed, cbs=()):
    "A Learner for a copy of a model."
    train, valid = demo_sources()
    used = [s for s in train if s.name in schedule.names]
    set_seed(seed)
    mixture = Mixture(used, schedule, BS, steps, seed=seed)
    return cpt_learner(copy.deepcopy(model), mixture, valid[:2], every=steps, lr=LR, rows=ROWS,
                       bf16=False, device='cpu', cbs=list(cbs))

def fitted(learn, shape):
    "The Learner after its training."
    with learn.quietly(): learn.fit_cpt(shape=shape)
    return learn

def measured(learn):
    "Loss and accuracy on held-out rows of each source."
    table = evaluate(learn.model, learn.dls.valid)[['loss', 'accuracy']]
    return table.astype(float).round(6).to_dict('index')

def averaged_end(model, schedule, seed):
    "Train at a constant rate: the end as it is, and the mean of the last checkpoints."
    folder = Path(tempfile.mkdtemp())
    checkpoint = Checkpoint(folder, every=APART, minutes=None, keep=LAST)
    learn = fitted(learner(model, schedule, STEPS, seed, [checkpoint]), 'constant')
    found = {'constant rate': measured(learn)}
    with learn.averaged(merge_checkpoints(folder, last=LAST)): found['average'] = measured(learn)
    found['delivered'] = {n: d['share'] for n, d in learn.dls.train.mixture.delivered().items()}
    shutil.rmtree(folder)
    return found

def run(seed):
    "All results of a seed: {mixture: {ending: {source: measures}}}."
    began = time.process_time()
    set_seed(seed)
    base = learner(GPT(256, ROW_LEN, WIDTH, DEPTH), constant(dict(prose=1.)), BASE_STEPS, seed)
    base = fitted(base, 'cosine')
    found = dict(before=measured(base))
    for name, schedule in MIXTURES.items():
        decay = fitted(learner(base.model, schedule, STEPS, seed), 'cosine')
        found[name] = dict(decay=measured(decay)) | averaged_end(base.model, schedule, seed)
    return dict(results=found, cpu_seconds=round(time.process_time() - began, 1))

def main():
    parser = arguments(__doc__, OUT)
    parser.set_defaults(seeds=5, threads=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for six, seed in missing(args, [Six()]):
        result = run(seed)
        store(args, six.name, seed, result)
        for name in MIXTURES:
            ends = {e: m['code']['loss'] for e, m in result['results'][name].items()
                    if e != 'delivered'}
            print(seed, name, ends, f"{result['cpu_seconds']} s", flush=True)

if __name__ == '__main__': main()

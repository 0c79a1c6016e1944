"""Which kind of text protects which, does that tell what to replay, and is there a gauge of
forgetting that needs no old data?

    python experiments/transfer.py [--seeds 5] [--out FILE] [--folder FOLDER] [--threads 1]

A GPT of width 64 with 2 blocks (rows of 96 bytes, batches of 16 rows) learns four kinds of text in
equal shares, for 300 steps at a peak rate of 3e-3: `prose`, `code` and `qa` as embedded in Python,
and `german`, the German manual pages of Debian (package manpages-de). From there it learns one of
them for 80 steps, in six ways:

- alone, at a peak rate of 2e-3
- alone, at a third and at three times that rate
- with a quarter of the rows from one of the three other kinds, at 2e-3

So there are 24 trainings a seed. All measure loss and accuracy on held-out rows of all four, and
the drift: KL(start || now) on held-out rows of the text that is learned, in nats.

Forgetting is the mean rise of the loss on the kinds that are not learned. What replaying i protects
of j is the loss on j without replay, minus that with i.

Predictions, written before the first run:

1. Each source gets better by training on it alone, in all seeds.
2. Prose and qa protect each other. German protects nothing, and each of the others costs it most.
3. The matrix of what training alone does tells what to replay. Two kinds are neither learned nor
   the one to keep. The one with the higher entry protects more when it is replayed, in 70 % or
   more of the cases (12 pairs of learned and kept, in each seed). 50 % would be chance.
4. Replaying the kept text itself protects it more than either of these two, in 95 % or more.
5. The drift on the new text ranks forgetting: Kendall's tau is .6 or more over the trainings
   without replay (12 a seed), and .4 or more over all 24.
6. It does not see what replay saves: over the three replays of one learned text, the mean tau is
   between -.3 and .3.

One line of JSON per training is appended. Trainings that are there already are skipped.
"""
import copy
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from fastai.basics import set_seed
from real_clunk import arguments, manual_pages, missing, store

from cptlib.data.embedded import split_of
from cptlib.data.mixture import Mixture
from cptlib.data.source import Source
from cptlib.data.text import ByteTokenizer
from cptlib.demo import demo_sources
from cptlib.learner import cpt_learner
from cptlib.models.gpt import GPT
from cptlib.transfer import measured_fit

OUT = Path(__file__).parent/'results'/'transfer.jsonl'
WIDTH, DEPTH, ROW_LEN, BS = 64, 2, 96, 16
BASE_STEPS, BASE_LR, STEPS, LR, ROWS = 300, 3e-3, 80, 2e-3, 128
KINDS = 'prose', 'code', 'qa', 'german'

@dataclass(frozen=True)
class Way:
    "One training."
    learned:str
    replayed:str='' # gets a quarter of the rows
    rate:float=1. # multiple of the learning rate

    @property
    def name(self):
        if self.replayed: return f'{self.learned} with {self.replayed}'
        return self.learned if self.rate == 1 else f'{self.learned} at {self.rate:.2g}'

ALONE = [Way(k) for k in KINDS]
REPLAYED = [Way(k, other) for k in KINDS for other in KINDS if other != k]
RATES = [Way(k, rate=rate) for k in KINDS for rate in (1/3, 3.)]

def german(split, folder):
    "Rows of German manual pages."
    pages = list(manual_pages())
    texts = [text for name, text in pages if split_of(name) == split]
    return Source.from_texts('german', texts, ByteTokenizer(), folder/f'german-{split}', ROW_LEN)

def sources_of(folder):
    "Training and validation sources by name."
    parts = []
    for split, three in zip(('train', 'valid'), demo_sources()):
        parts.append({s.name: s for s in [*three, german(split, folder)]})
    return parts

def learner(model, weights, steps, lr, seed, parts):
    "A Learner for a copy of a model."
    train, valid = parts
    set_seed(seed)
    mixture = Mixture([train[name] for name in weights], weights, BS, steps, seed=seed)
    return cpt_learner(copy.deepcopy(model), mixture, list(valid.values()), every=steps, lr=lr,
                       rows=ROWS, bf16=False, device='cpu')

def base_of(seed, parts):
    "The model that all trainings of a seed begin with."
    set_seed(seed)
    model = GPT(256, ROW_LEN, WIDTH, DEPTH)
    learn = learner(model, dict.fromkeys(KINDS, .25), BASE_STEPS, BASE_LR, seed, parts)
    with learn.quietly(): learn.fit_cpt()
    return learn.model

def run(way, seed, base, parts):
    "Train one way: what `measured_fit` says, in plain Python."
    weights = {way.learned: .75, way.replayed: .25} if way.replayed else {way.learned: 1.}
    learn = learner(base, weights, STEPS, LR*way.rate, seed, parts)
    began = time.process_time()
    result = measured_fit(learn, way.learned)
    return dict(way=asdict(way), cpu_seconds=round(time.process_time() - began, 1), **result)

def main():
    parser = arguments(__doc__, OUT)
    parser.add_argument('--folder', type=Path, help='keep rows here')
    parser.set_defaults(seeds=5, threads=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    folder = args.folder or Path(tempfile.gettempdir())/'cptlib-transfer'
    parts, bases = sources_of(folder), {}
    for way, seed in missing(args, [*ALONE, *REPLAYED, *RATES]):
        if seed not in bases: bases = {seed: base_of(seed, parts)}
        result = run(way, seed, bases[seed], parts)
        store(args, way.name, seed, result)
        change = {n: round(result['before'][n]['loss'] - m['loss'], 3)
                  for n, m in result['after'].items()}
        print(seed, way.name, change, f"drift {result['drift']:.3f}",
              f"{result['cpu_seconds']} s", flush=True)

if __name__ == '__main__': main()

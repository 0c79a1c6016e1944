"""How much of what it knew does a model keep, if you have its old data, and if you do not?

    python experiments/keep.py [--seeds 3] [--only NAME ...]
    python experiments/keep.py --model smollm2 --seeds 1 [--only NAME ...]
    python experiments/keep.py --what k

The small model (a GPT of width 128 with 2 blocks, rows of 96 bytes) has learned prose and
question-answer for 400 steps and is taught code for 120 steps of 16 rows, all at a learning rate
of .003 unless an arm says otherwise. Every arm starts from the same weights in a seed, reads the
same number of tokens, and is measured on held-out rows of all three.

Gain: accuracy on code. Kept: the change in accuracy, the mean of prose and question-answer.
Avoided: how much of the forgetting of fine-tuning (code alone) an arm avoids, as a share. Own rows
are drawn from the starting model of the seed, 512 of them, with `Source.from_model`; predictions
are stored with `Predictions.of` at k=16. The arms:

- fine-tuning: code alone.
- real 5 %, 10 %, 25 %: that share of old data.
- own 25 %, own 25 % + KL: rows drawn from the model, without and with `KeepPredictions`.
- real 5 % + KL: the divergence on a little old data.
- KL on new rows: fine-tuning, held to the start's predictions on the rows of code.
- a third of the rate: fine-tuning at .001.
- LoRA: fine-tuning of matrices of rank 8 in all linear layers, at .01.
- interpolated 50 %, 75 %: fine-tuning, then 50 or 75 % of the way from the start.
- old data last: 95 % of the steps on code alone, then 5 % on old data alone.
- Retain: from 5 % of real rows, `Retain` with a tolerance of .005 of accuracy and a look every
  three steps. This arm is for the real model; retain_or_kl.py has more of it for the small one.

Predictions, written before the first run:

- Real replay avoids .2 to .4 of the forgetting at 5 %, and .8 or more at 25 %.
- Own rows at 25 % avoid at least 60 % of what real rows at 25 % avoid, and with KL at least 80 %.
- KL on the new rows avoids .3 to .6 and costs a fifth of the gain or more.
- A third of the rate avoids .1 to .3 and costs less than a tenth of the gain.
- LoRA avoids more than the smaller rate and costs more of the gain.
- Half-way interpolation avoids .5 to .8 and costs 20 to 50 % of the gain: worse than own rows.
- Old data last avoids .4 or more, more than the same 5 % spread over the training.
- All arms with own or real rows gain within .01 of what fine-tuning gains.

`--model smollm2` does the same with SmolLM2-135M-Instruct, all weights, and text to SQL as the new
skill: 30 steps of 4 rows of 256 tokens at a rate of .0001. Real old data are the language
reference of Python and code of its library. They stand in for the corpus, which is not here. Own
rows are half text drawn from the model and half its answers to short questions. Held-out German
manual pages are measured too, which no arm reads. Gain is the accuracy on the answers of held-out
questions, and kept is the change of the loss, because it is the finer measure in so short a
training. Predictions, written before the first run with this model:

- SQL alone raises the loss by .1 to .4 nats, the mean of reference and library.
- Real rows at 25 % do more than keep: their loss ends below that before training. The model learns
  these texts, which an instruct model has not read lately.
- Own rows at 25 % avoid at least 60 % of the rise, and with KL at least 80 %. Counted against what
  real rows win, which includes what they learn, it is less than 60 % without KL.
- On German, which is in no arm, own rows with KL keep as much as real rows.
- KL on the new rows avoids .3 to .6. A third of the rate avoids half or more.
- Half-way interpolation avoids .6 or more and costs at most a tenth of the gain.
- All arms with own or real rows gain within .02 of what fine-tuning gains.
- Retain keeps both old texts within .005 and ends between 5 and 15 % of real rows. It gains within
  .01 of what the constant 5 % gain, so it does not pay here: little is forgotten that it could save.
- The dial, fitted to the loss at 0, 5 and 25 % of real rows, predicts its change at 10 % within .02
  nats.

One line of JSON per run is appended to the results. Runs that are there already are skipped.
`--what k` measures how many log-probabilities to store, after 20 steps of the small model and 4 of
SmolLM2 on the new skill, and writes keep_k.json.
"""
import copy
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from fastai.basics import set_seed
from real_clunk import arguments, missing, store, stored, timed_fit, trained_once

from cptlib.callback.accuracy import evaluate
from cptlib.callback.keep import KeepPredictions, interpolate, kl_to_known
from cptlib.callback.retain import Retain
from cptlib.data.loader import ValidLoader, evenly, read_rows
from cptlib.data.mixture import Mixture
from cptlib.data.schedule import constant, stages
from cptlib.data.source import Source
from cptlib.data.text import ByteTokenizer
from cptlib.demo import demo_sources
from cptlib.learner import cpt_learner
from cptlib.models.metrics import logits_of
from cptlib.models.self_replay import Predictions, own_chats, top_log_p
from cptlib.report import machine

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT/'experiments'/'results'

@dataclass(frozen=True)
class Arm:
    "One way to train."
    name:str
    real:float=0. # share of real old data
    own:float=0. # share of rows drawn from the model
    kl:str='' # whose predictions are kept: 'own', 'real', 'new'
    rate:float=1. # multiple of the learning rate
    lora:bool=False
    last:float=0. # share of the steps, at the end, that old data get alone
    retain:int=0 # steps between two looks of `Retain`
    weights:tuple=(1.,) # how far from the start to go after training; each makes a result

ARMS = [
    Arm('fine-tuning', weights=(1., .75, .5)),
    Arm('real 25 %', real=.25),
    Arm('own 25 %', own=.25),
    Arm('own 25 % + KL', own=.25, kl='own'),
    Arm('real 5 %', real=.05),
    Arm('KL on new rows', kl='new'),
    Arm('a third of the rate', rate=1/3),
    Arm('LoRA', lora=True, rate=10/3),
    Arm('old data last', last=.05),
    Arm('real 5 % + KL', real=.05, kl='real'),
    Arm('real 10 %', real=.1),
    Arm('Retain', real=.05, retain=3),
]

@dataclass
class Setting:
    "A model, what it knows and what it is to learn."
    start:object # the model before training
    tokenizer:object
    old:list # `Source`s of real old data
    new:Source
    valid:list # held-out `Source`s
    learned:str # name of the held-out source that is to be learned
    kept:tuple # names of those that are to be kept
    bs:int
    lr:float
    steps:int
    own_rows:int # to draw from the model
    settings:dict = field(default_factory=dict) # more arguments of `cpt_learner`

def some_rows(source, folder, n=4096):
    "Rows of a source at equal distances, so that predictions of all of them stay small."
    rows = source.take(evenly(len(source), n))
    return Source.from_rows(source.name, rows, folder/f'some-{source.name}', vocab_size=256,
                            tokenizer=ByteTokenizer())

def small_base(train, valid, seed, file):
    "A small model of prose and question-answer, trained once for each seed."
    from cptlib.models.gpt import GPT

    def learned(model):
        prose, _, qa = train
        mixture = Mixture([prose, qa], dict(prose=.7, qa=.3), 16, 400, seed=seed)
        learn = cpt_learner(model, mixture, valid, every=400, lr=2e-3, rows=16, device='cpu')
        with learn.quietly(): learn.fit_cpt()
        return learn.model

    set_seed(seed)
    return trained_once(file, GPT(256, 96, 128, 2), learned)

def run_small(args, runs, run):
    """Train each run that is not stored from the small model of its seed, and store the result.

    `run(one, seed, start, folder)` returns rows, CPU seconds, and measures before and after."""
    torch.set_num_threads(args.threads)
    folder = args.folder or Path(tempfile.gettempdir())/'cptlib-when'
    folder.mkdir(parents=True, exist_ok=True)
    for one, seed in missing(args, runs):
        start = small_base(*demo_sources(), seed, folder/f'base-{seed}.pt')
        result = run(one, seed, start, folder)
        store(args, one.name, seed, result)
        change = {n: round(m['accuracy'] - result['before'][n]['accuracy'], 4)
                  for n, m in result['after'].items()}
        print(seed, one.name, result['rows'], change, f"{result['cpu_seconds']} s", flush=True)

def small(seed, folder, device):
    "The small model, which learns code."
    train, valid = demo_sources()
    start = small_base(train, valid, seed, folder/f'base-{seed}.pt')
    prose, code, qa = (some_rows(source, folder) for source in train)
    return Setting(start, ByteTokenizer(), [prose, qa], code, valid, 'code', ('prose', 'qa'), 16,
                   3e-3, 120, 512, dict(rows=128, device=device))

def smollm2(seed, folder, device):
    "SmolLM2-135M-Instruct, which learns to write SQL."
    from sql_skill import sources_of
    from cptlib.models.adapter import open_for_training
    start = open_for_training('smollm2').to(device)
    (sql, *old), valid = sources_of(start.tokenizer, folder, each=2)
    return Setting(start, start.tokenizer, old, sql, valid, 'sql', ('reference', 'library'), 4,
                   1e-4, 30, 28, dict(rows=24, device=device, bf16=False))

def own_sources(s, seed, folder):
    "Rows drawn from the starting model. For a chat model half are text and half its answers."
    from chats_kept import questions
    row_len, n = s.new.row_len, s.own_rows
    if not s.new.marked:
        return [Source.from_model('own', s.start, s.tokenizer, folder/f'own-{seed}', row_len, n,
                                  seed=seed)]
    text = Source.from_model('own text', s.start, s.tokenizer, folder/f'text-{seed}', row_len, n//2,
                             seed=seed, bs=16)
    found = own_chats(s.start, s.tokenizer, folder/f'asked-{seed}', questions=questions()[:n],
                      max_new=96, temperature=0, keep=1)
    return [text, Source.from_chats('own', found, s.tokenizer, folder/f'chats-{seed}', row_len)]

def schedule_of(arm, names):
    "Shares over the training: `names` has lists of source names for 'old', 'own' and 'new'."
    def spread(share, of): return {name: share/len(of) for name in of}
    olds = dict(prose=.7, qa=.3) if names['old'] == ['prose', 'qa'] else spread(1, names['old'])
    real = {name: arm.real*share for name, share in olds.items()} if arm.real else {}
    own = spread(arm.own, names['own']) if arm.own else {}
    shares = real | own | {names['new']: 1 - arm.real - arm.own}
    if not arm.last: return constant(shares, floor=0.)
    nothing = dict.fromkeys(olds, 0.)
    first, then = nothing | {names['new']: 1.}, olds | {names['new']: 0.}
    return stages([(0, first), (1 - arm.last, then)], droppable=tuple(first), floor=0.)

def with_lora(model):
    "A copy of a model with LoRA matrices of rank 8; only these are trained."
    from peft import LoraConfig, inject_adapter_in_model
    linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != 'head']
    inject_adapter_in_model(LoraConfig(r=8, lora_alpha=16, target_modules=linear), model)
    for name, p in model.named_parameters(): p.requires_grad_('lora_' in name)
    return model

def measured(model, s):
    "Accuracy and loss on each held-out source."
    device = next(model.parameters()).device
    table = evaluate(model, ValidLoader(s.valid, 32, s.settings['rows'], device))
    return {name: dict(accuracy=float(row.accuracy), loss=float(row.loss))
            for name, row in table.iterrows()}

def run(arm, seed, s, before, folder):
    "Train one arm: results by how far from the start the weights go."
    began, drawing = time.perf_counter(), 0.
    own, extra = [], []
    if arm.own or arm.kl == 'own':
        own = own_sources(s, seed, folder)
        drawing = time.perf_counter() - began
    if arm.kl:
        held = dict(own=own, real=s.old, new=[s.new])[arm.kl]
        for source in held:
            path = folder/f'known-{arm.kl}-{source.name}-{seed}'
            extra.append(Predictions.of(source, s.start, path, k=16, bs=s.bs*4))
    preparing = time.perf_counter() - began
    old = s.old if arm.real or arm.last else []
    sources = [*old, *own, s.new]
    names = dict(old=[o.name for o in s.old], own=[o.name for o in own], new=s.new.name)
    set_seed(seed)
    mixture = Mixture(sources, schedule_of(arm, names), s.bs, s.steps, seed=seed)
    model = copy.deepcopy(s.start)
    if arm.lora: model = with_lora(model)
    cbs = [KeepPredictions(extra)] if extra else []
    retain = Retain(list(s.kept), tolerance=.005, every=arm.retain) if arm.retain else None
    if retain: cbs.append(retain)
    learn = cpt_learner(model, mixture, s.valid, every=s.steps, lr=s.lr*arm.rate, cbs=cbs,
                        **s.settings | dict(rows=2)) # it is measured below
    seconds = timed_fit(learn)
    results = []
    for weight in arm.weights:
        at = interpolate(learn.model, s.start, weight) if weight < 1 else learn.model
        results.append(dict(weight=weight, after=measured(at, s)))
    found = dict(arm=asdict(arm), steps=s.steps, before=before, results=results,
                 drawing=round(drawing, 1), preparing=round(preparing, 1), seconds=round(seconds, 1))
    if retain: found['retain'] = retain.summary()
    return found

def learn_k(out, folder):
    "How much do k log-probabilities cover, and how right is their gradient?"
    found = []
    for name, make, steps, lr in (('bytes', small, 20, 3e-3), ('smollm2', smollm2, 4, 5e-5)):
        set_seed(0)
        s = make(0, folder, 'cpu')
        source, now = s.old[0], copy.deepcopy(s.start)
        mixture = Mixture([s.new], {s.new.name: 1.}, s.bs, steps, seed=0)
        learn = cpt_learner(now, mixture, s.valid, every=steps, lr=lr,
                            **s.settings | dict(rows=2))
        with learn.quietly(): learn.fit_cpt()
        *inputs, _ = read_rows(source, np.arange(4))
        with torch.no_grad():
            was = logits_of(s.start(*inputs), whole=True).flatten(0, 1)
            logits = logits_of(learn.model(*inputs), whole=True).flatten(0, 1)
        logits.requires_grad_()
        def gradient(k):
            known = top_log_p(was, k)
            loss = kl_to_known(logits, known[0], known[1].half().float()).sum()
            return torch.autograd.grad(loss, logits)[0]
        whole = logits.detach().softmax(-1) - was.softmax(-1)
        for k in (1, 4, 8, 16, 32, 64):
            covered = top_log_p(was, k)[1][:, :k].exp().sum(-1).mean().item()
            off = ((gradient(k) - whole).norm()/whole.norm()).item()
            found.append(dict(model=name, k=k, covered=covered, gradient=off))
            print(found[-1], flush=True)
        result = dict(command=' '.join(['python', *sys.argv]), machine=machine(), rows=found)
        out.write_text(json.dumps(result, indent=1) + '\n')

def main():
    parser = arguments(__doc__, None)
    parser.add_argument('--model', default='small', choices=['small', 'smollm2'])
    parser.add_argument('--folder', type=Path, help='keep models and rows here')
    parser.add_argument('--what', default='runs', choices=['runs', 'k'])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out = args.out or RESULTS/f'keep_{args.model}.jsonl'
    folder = args.folder or Path(tempfile.gettempdir())/f'cptlib-keep-{args.model}'
    folder.mkdir(parents=True, exist_ok=True)
    if args.what == 'k': return learn_k(RESULTS/'keep_k.json', folder)
    make = dict(small=small, smollm2=smollm2)[args.model]
    known = None
    for arm, seed in missing(args, ARMS):
        if seed != known:
            s, known = make(seed, folder, args.device), seed
            before = next((run['before'] for run in stored(args.out) if run['seed'] == seed), None)
            before = before or measured(s.start, s)
        result = run(arm, seed, s, before, folder)
        store(args, arm.name, seed, result)
        for one in result['results']:
            change = {n: one['after'][n]['accuracy'] - result['before'][n]['accuracy']
                      for n in (s.learned, *s.kept)}
            told = ', '.join(f'{n} {c:+.3f}' for n, c in change.items())
            print(arm.name, one['weight'], seed, told, f"{result['seconds']} s", flush=True)

if __name__ == '__main__': main()

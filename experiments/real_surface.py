"""What lies between a real model, a skill alone, and the skill with a quarter of general text?

    python experiments/real_surface.py [--seeds 1] [--steps 25] [--threads 2] [--device cpu]

SmolLM2-135M-Instruct learns SQL with LoRA twice, from one start: on SQL alone, and with 25 % of
general text. Questions, text and rates are those of `cpt-demo --model smollm2`, with 4 rows of 256
tokens a step. The plane goes through the start and both ends, in the coordinates of the adapter. At
each of 49 positions we measure the loss on 8 held-out rows of prose, of code, and of SQL chats. On
the line from the start to SQL alone, which makes the adapter smaller, the model also answers 48
questions, by running its queries.

A third training is like SQL with text, at a constant learning rate. It ends either as it is, or as
the mean of its last three points, which are five steps apart.

Predictions, written before the first run:

1. There is no wall between the two ends: the barrier is below 0.02 nats for every source.
2. Half way between the two ends, the mean loss over the sources does not differ clearly from that
   of the better end.
3. Half way from the start to SQL alone, at least 60 % of the gain in SQL loss is there, and at most
   40 % of what prose lost.
4. There, the model gives at least half as many right answers as at the end.
5. Where the loss on prose is lowest, the SQL loss is at least 0.1 nats above its lowest.
6. At the constant rate, the mean of the last three points has a lower mean loss over the sources
   than the end, and is within 0.02 nats of the run whose rate decays. It answers as many questions
   rightly as the end, or more.

One line of JSON per seed is appended to the results. Seeds that are there already are skipped.
"""
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from fastai.basics import Callback, set_seed
from real_clunk import arguments, missing, store
from transformers import AutoTokenizer

from cptlib.callback.accuracy import evaluate
from cptlib.callback.averages import put_weights
from cptlib.data.loader import ValidLoader
from cptlib.data.mixture import Mixture
from cptlib.data.schedule import constant
from cptlib.inside.surface import borrowed, loss_line, loss_surface
from cptlib.learner import cpt_learner
from cptlib.models.gguf import pretrained_model
from cptlib.skill_demo import RATES, SkillSize, skill_questions, skill_shares, skill_sources
from cptlib.tasks.sql import ask_sql

OUT = Path(__file__).parent/'results'/'real_surface.jsonl'
ENDS = {'SQL alone': 0, 'SQL with text': .25} # name -> share of general text
SHARES = .25, .5, .75, 1. # positions on the line from the start to SQL alone
ROWS, POSITIONS, LR, QUESTIONS = 8, 7, RATES['lora'], SkillSize()

@dataclass(frozen=True)
class Run:
    "All of a seed."
    name:str='surface'

def adapter_of(model):
    "The weights that are trained."
    return {key: p.detach().clone() for key, p in model.named_parameters() if p.requires_grad}

class KeepPath(Callback):
    "Keeps the adapter every few steps."
    def __init__(self, every=5): self.every, self.points = every, []

    def after_batch(self):
        if self.training and (self.train_iter % self.every) == 0:
            self.points.append(adapter_of(self.model))

def trained(name, seed, steps, train, valid, device, shape='cosine'):
    "Train one end: the learner, the adapter before training, and its path."
    set_seed(seed)
    shares = skill_shares(ENDS[name])
    schedule = constant(shares, droppable=[source for source, share in shares.items() if not share])
    mixture = Mixture(train, schedule, QUESTIONS.bs, steps, seed=seed)
    learn = cpt_learner('smollm2', mixture, valid, every=steps, lr=LR, rows=2, adapter='lora',
                        bf16=False, device=device)
    start, path = adapter_of(learn.model), KeepPath()
    with learn.quietly(): learn.fit_cpt(shape=shape, cbs=path)
    return learn, start, path.points

def right_at(lm, weights):
    "Share of right SQL answers with some weights."
    with borrowed(lm, weights):
        put_weights(lm, weights)
        answers = ask_sql(lm, skill_questions(QUESTIONS, 'valid'))
    return round(float(answers.right.mean()), 4)

def between(a, b, share):
    "Weights on the line from one adapter to another."
    return {key: torch.lerp(a[key], b[key], share) for key in a}

def mean_of(points):
    "The mean of some adapters."
    return {key: torch.stack([p[key] for p in points]).mean(0) for key in points[0]}

def measured(lm, loader, weights):
    "Losses and accuracies, and right SQL answers, with some weights."
    with borrowed(lm, weights):
        put_weights(lm, weights)
        table = evaluate(lm, loader)[['loss', 'accuracy']]
    return table.round(5).to_dict('index') | dict(right=right_at(lm, weights))

def line_of(lm, loader, a, b, points):
    "What is measured on the line between two points, as plain Python."
    line = loss_line(lm, loader, {a: points[a], b: points[b]}, 5)
    return dict(losses=line.losses.round(5).to_dict('list'), shares=line.losses.index.tolist(),
                table=line.table().round(5).to_dict('index'), gain=list(line.gain()),
                text=str(line))

def run(seed, steps, train, valid, device='cpu'):
    "Everything measured, as plain Python."
    begin = time.perf_counter()
    points, paths = {}, {}
    for name in ENDS:
        learn, start, path = trained(name, seed, steps, train, valid, device)
        before = points.setdefault('start', start)
        if any(not torch.equal(before[key], start[key]) for key in start):
            raise RuntimeError('the two adapters do not begin alike')
        points[name], paths[name] = path[-1], path
    print(f'trained, {time.perf_counter() - begin:.0f} s', flush=True)

    lm, loader = learn.model, ValidLoader(valid, QUESTIONS.bs, ROWS)
    surface = loss_surface(lm, loader, points, POSITIONS, paths=paths)
    print(f'surface, {time.perf_counter() - begin:.0f} s', flush=True)
    alone, text = ENDS
    lines = [line_of(lm, loader, a, b, points) for a, b in ((alone, text), ('start', alone))]
    right = {share: right_at(lm, between(points['start'], points[alone], share))
             for share in SHARES}
    print(f'lines, {time.perf_counter() - begin:.0f} s', flush=True)
    *_, path = trained(text, seed, steps, train, valid, device, 'constant')
    ends = dict(decayed=points[text], constant=path[-1], merged=mean_of(path[-3:]))
    averages = {name: measured(lm, loader, weights) for name, weights in ends.items()}
    routes = {name: dict(path=route.table.round(5).to_dict('list'), outside=route.outside,
                         length=route.length) for name, route in surface.routes.items()}
    return dict(steps=steps, lr=LR, grid=surface.grid.round(5).to_dict('list'),
                corners=surface.plane.corners().round(5).to_dict('index'),
                table=surface.table().round(5).to_dict('index'), routes=routes,
                between_ends=lines[0], from_start=lines[1], right=right, averages=averages,
                seconds=round(time.perf_counter() - begin))

def main():
    parser = arguments(__doc__, OUT)
    parser.set_defaults(seeds=1)
    parser.add_argument('--steps', type=int, default=25)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = AutoTokenizer.from_pretrained(pretrained_model('smollm2'))
        sources = skill_sources(tokenizer, Path(folder), QUESTIONS)
        for one, seed in missing(args, [Run()]):
            result = run(seed, args.steps, sources.train, sources.valid, args.device)
            store(args, one.name, seed, result)
            print(seed, result['between_ends']['text'], result['right'], flush=True)

if __name__ == '__main__': main()

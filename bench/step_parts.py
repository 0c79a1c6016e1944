"""Where the time of a training step goes: `python bench/step_parts.py [--sizes smollm2] [--lora]`.

A model with the shape of SmolLM2-135M and random weights trains in a Learner, with all callbacks
that `cpt_learner` adds. At each event one callback notes the time before all others, and one after
them. What lies between two events is the work of the Learner, and within one lie the callbacks.
The first steps are not counted. Other sizes and settings are as in `bench/trainer.py`.
"""
import argparse, json, os, sys, tempfile, time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
import numpy as np, torch
from cptlib.callback.core import LeanCallback
from trainer import SIZES, cptlib_learner, machine

EVENTS = ('before_batch', 'after_pred', 'after_loss', 'before_backward', 'after_backward',
          'before_step', 'after_step', 'after_batch')
PARTS = { # the work that ends where an event begins
    'before_batch': 'read the rows',
    'after_pred': 'forward, without the output layer',
    'after_loss': 'output layer and loss',
    'after_backward': 'backward',
    'after_step': 'update the weights',
    'after_batch': 'clear the gradients',
}
WARM = 3 # steps that are not counted

class Clock(LeanCallback):
    "Notes the time at each event of a step."
    run_valid = False
    def __init__(self, order): self.order, self.times = order, defaultdict(list)

def noting(event):
    "The method of a `Clock` for an event."
    def note(self): self.times[event].append(time.perf_counter())
    return note

for event in EVENTS: setattr(Clock, event, noting(event))

def parts_of(first, last):
    "Milliseconds of each part in each step: {part: [steps]}. Clipping is a callback of its own."
    began, ended = ({e: np.array(clock.times[e]) for e in EVENTS} for clock in (first, last))
    parts = {name: np.zeros(len(began['after_batch'])) for name in PARTS.values()}
    within = {e: ended[e] - began[e] for e in EVENTS}
    for event, previous in zip(EVENTS[1:], EVENTS):
        if event in PARTS: parts[PARTS[event]] += began[event] - ended[previous]
    parts['read the rows'][1:] = began['before_batch'][1:] - ended['after_batch'][:-1]
    parts['clip the gradients'] = within.pop('before_step')
    parts['callbacks'] = sum(within.values())
    return {name: 1e3*times[WARM:] for name, times in parts.items()}

def measure(a):
    "Quartiles of each part, milliseconds, and the median of the whole step."
    first, last = Clock(-10_000), Clock(10_000)
    learn = cptlib_learner(a, [first, last])
    with learn.quietly(): learn.fit(1, lr=1e-4)
    parts = parts_of(first, last)
    step = sum(parts.values())
    quartiles = {name: np.quantile(times, [.25, .5, .75]).tolist() for name, times in parts.items()}
    share = {name: float(times.sum()/step.sum()) for name, times in parts.items()}
    return dict(parts_ms=quartiles, share=share, step_ms=float(np.median(step)))

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--sizes', default='smollm2', choices=list(SIZES))
    add('--steps', type=int, default=9)
    add('--bs', type=int, default=16)
    add('--row-len', type=int, default=128)
    add('--lora', action='store_true')
    add('--threads', type=int, default=os.cpu_count())
    add('--out', type=Path, default=Path('bench/results/step_parts.json'))
    given = vars(parser.parse_args())
    a = SimpleNamespace(**given, model='gpt2', device='cpu', bf16=False, compile=False, arms=())
    torch.set_num_threads(a.threads)
    found = json.loads(a.out.read_text()) if a.out.exists() else {}
    with tempfile.TemporaryDirectory() as a.tmp: result = measure(a)
    settings = {name: getattr(a, name) for name in ('sizes', 'bs', 'row_len', 'steps')}
    command = 'python bench/step_parts.py ' + ' '.join(sys.argv[1:])
    found['LoRA' if a.lora else 'all weights'] = dict(
        command=command, machine=machine(a), settings=settings, **result)
    a.out.write_text(json.dumps(found, indent=1) + '\n')
    print(json.dumps(result, indent=1))

if __name__ == '__main__': main()

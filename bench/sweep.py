"""How much replay, how often a small source, and does a mixing law hold: `python bench/sweep.py`.

- Replay: the ratios of bench/retain.py, whose runs are used again.
- Repetition: 25 % replay, with the code cut down so that each row is read 1 to 16 times, at a
  quarter of the model's size (`--law-width`).
- Mixing law: sixteen mixtures drawn at random, one run each, at that size too. Each is predicted
  from the others.

Options: `--width 128`, `--law-width 64`, `--steps`, `--seeds`, `--repeat-seeds`, `--runs FOLDER`.
Writes bench/results/sweep-WIDTH.json.
"""
import json
import sys
import time
from pathlib import Path

import numpy as np
from recipes import arguments, machine
from retain import new, old, ratios, setting

from cptlib.compare import compare, replay_sweep
from cptlib.data.schedule import constant
from cptlib.data.source import Source
from cptlib.recipes import Recipe, replay

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'experiments')) # there is a sweep.py too
from sweep import held_out, repeat_sweep

NAMES = ('prose', 'code', 'qa')
LAW_STEPS, MIXTURES = 80, 16

def mixtures(n, seed=0):
    "Random shares of prose, code and question-answer; none below 1 % before they are normalized."
    drawn = np.random.default_rng(seed).dirichlet([.7, .7, .7], n)
    shares = np.maximum(drawn, .01)
    shares /= shares.sum(1, keepdims=True)
    return shares

def run_law(small):
    "Weights, losses and held-out errors of the mixing laws."
    W = mixtures(MIXTURES)
    recipes = []
    for i, w in enumerate(W):
        schedule = constant(dict(zip(NAMES, w.tolist(), strict=True)), floor=0)
        recipes.append(Recipe(f'mixture {i}', schedule))
    result = compare(recipes, **small | dict(seeds=1, tokens=LAW_STEPS*16*96))
    Y = np.array([run['loss'][-1] for run in result.runs])
    return W, Y, held_out(W, Y)

def run_ratios(full):
    "Replay ratio -> source -> for each seed, accuracy on code and change on the old sources."
    result = replay_sweep(old, new, sorted(ratios), **full)
    by_ratio = {}
    for ratio, recipe in zip(sorted(ratios), result.recipes, strict=True):
        runs = [run for run in result.runs if run['recipe'] == recipe.name]
        by_source = by_ratio[str(ratio)] = {}
        for i, name in enumerate(NAMES):
            start = [0 if name == 'code' else run['accuracy'][0][i] for run in runs]
            end = [run['accuracy'][-1][i] for run in runs]
            by_source[name] = [e - s for e, s in zip(end, start, strict=True)]
    return by_ratio

def run_repetition(small, code, folder, seeds):
    "Epochs of code -> source -> accuracy for each seed."
    if not seeds: return {}
    def cut(n):
        rows = np.unique(np.linspace(0, len(code) - 1, n).astype(int))
        path = Path(folder)/f'code-{len(rows)}'
        if path.exists(): return Source.open(path)
        return Source.from_rows('code', code.take(rows), path, vocab_size=code.vocab_size)
    recipe, epochs = replay(old, new, .25), (1, 2, 4, 8, 16)
    results = repeat_sweep(recipe, 'code', cut, epochs=epochs, **small | dict(seeds=seeds))
    by_epochs = {}
    for n, result in results.items():
        by_source = by_epochs[str(n)] = {}
        for name in NAMES:
            ends = [(run['names'], run['accuracy'][-1]) for run in result.runs]
            by_source[name] = [float(end[names.index(name)]) for names, end in ends]
    return by_epochs

def main():
    args = arguments(__doc__, None)
    began, width = time.perf_counter(), args.width
    full = setting(args)
    args.width = args.law_width
    small = setting(args)
    W, Y, errors = run_law(small)
    by_ratio = run_ratios(full)
    by_epochs = run_repetition(small, full['sources'][1], args.runs, args.repeat_seeds)
    law = dict(width=args.law_width, steps=LAW_STEPS, weights=W.tolist(), loss=Y.tolist(),
               errors=json.loads(errors.to_json(orient='index')))
    out = dict(
        command=' '.join(['python', *sys.argv]), machine=machine(), width=width,
        steps=args.steps, base_steps=args.base_steps, seconds=time.perf_counter() - began,
        replay=by_ratio, repetition=dict(width=args.law_width, runs=by_epochs), law=law)
    path = Path(args.out or f'bench/results/sweep-{width}.json')
    path.write_text(json.dumps(out, indent=1) + '\n')
    print(errors.round(4).to_string(), Y.std(0).round(4))

if __name__ == '__main__': main()

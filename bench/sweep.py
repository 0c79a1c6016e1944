"""How much replay, how often the small source, and does a mixing law predict it: `python bench/sweep.py [--width 128] [--law-width 64] [--runs FOLDER]`.

The replay ratios are the runs of bench/retain.py, used again; the repetitions keep 25 % replay and cut the code down so that each row is
read 1 to 16 times, at a quarter of the size; the mixing law is fitted on mixtures drawn at random, one run each, at that size too, and each is
predicted from the others. Writes bench/results/sweep-WIDTH.json.
"""
import json, sys, time
from pathlib import Path
import numpy as np
from recipes import arguments, machine
from retain import new, old, ratios, setting
from cptlib.compare import compare
from cptlib.recipes import Recipe, replay
from cptlib.data.schedule import constant
from cptlib.data.source import Source
from sweep import held_out, repeat_sweep, replay_sweep

def mixtures(n, seed=0):
    "Random shares of prose, code and question-answer, none below 1 %."
    return np.maximum(np.random.default_rng(seed).dirichlet([.7, .7, .7], n), .01)

def of(result, name, what): return [np.array(o[what][-1])[o['names'].index(name)] for o in result.runs]

if __name__ == '__main__':
    a = arguments(__doc__, None); began, s, wide = time.perf_counter(), setting(a), a.width; code = s['sources'][1]
    a.width = a.law_width; small = setting(a); W = mixtures(16); W /= W.sum(1, keepdims=True)
    law = compare([Recipe(f'mixture {i}', constant(dict(zip(('prose', 'code', 'qa'), w.tolist())), floor=0)) for i, w in enumerate(W)], **small | dict(seeds=1, tokens=80*16*96))
    Y = np.array([o['loss'][-1] for o in law.runs]); errors = held_out(W, Y)
    r = replay_sweep(old, new, sorted(ratios), **s)
    by_ratio = {str(q): {n: [o['accuracy'][-1][i] - (o['accuracy'][0][i] if n != 'code' else 0) for o in r.runs if o['recipe'] == rec.name] for i, n in enumerate(('prose', 'code', 'qa'))}
                for q, rec in zip(sorted(ratios), r.recipes)}
    def cut(n):
        rows = np.unique(np.linspace(0, len(code) - 1, n).astype(int)); path = Path(a.runs)/f'code-{len(rows)}'
        return Source.open(path) if path.exists() else Source.from_rows('code', code.take(rows), path, vocab_size=code.vocab_size)
    rep = repeat_sweep(replay(old, new, .25), 'code', cut, epochs=(1, 2, 4, 8, 16), **small | dict(seeds=a.repeat_seeds)) if a.repeat_seeds else {}
    by_epochs = {str(e): {n: [float(v) for v in of(c, n, 'accuracy')] for n in ('prose', 'code', 'qa')} for e, c in rep.items()}
    out = dict(command=' '.join(['python', *sys.argv]), machine=machine(), width=wide, steps=a.steps, base_steps=a.base_steps, seconds=time.perf_counter() - began,
               replay=by_ratio, repetition=dict(width=a.law_width, runs=by_epochs), law=dict(width=a.law_width, steps=80, weights=W.tolist(), loss=Y.tolist(), errors=json.loads(errors.to_json(orient='index'))))
    Path(a.out or f'bench/results/sweep-{wide}.json').write_text(json.dumps(out, indent=1) + '\n'); print(errors.round(4).to_string(), Y.std(0).round(4))

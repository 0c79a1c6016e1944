"""How much replay, how often the small source, and does a mixing law predict it: `python bench/sweep.py [--width 128] [--law-width 64] [--runs FOLDER]`.

The replay ratios are the runs of bench/retain.py, used again; the repetitions keep 25 % replay and cut the code down so that each row is
read 1 to 16 times; the mixing law is fitted on mixtures drawn at random, one run each, at a quarter of the size, and each is predicted from
the others. Writes bench/results/sweep-WIDTH.json.
"""
import json, sys, time
from pathlib import Path
import numpy as np
from recipes import arguments, machine
from retain import new, old, ratios, setting
from cptlib.compare import compare, mean_interval
from cptlib.recipes import Recipe, replay
from cptlib.schedule import constant
from cptlib.source import Source
from cptlib.sweep import held_out, repeat_sweep, replay_sweep

def mixtures(n, seed=0):
    "Random shares of prose, code and question-answer, none below 1 %."
    return np.maximum(np.random.default_rng(seed).dirichlet([.7, .7, .7], n), .01)

def of(result, name, what): return [np.array(o[what][-1])[o['names'].index(name)] for o in result.runs]

if __name__ == '__main__':
    a = arguments(__doc__, None); began, s = time.perf_counter(), setting(a); code = s['sources'][1]
    r = replay_sweep(old, new, ratios, **s)
    by_ratio = {str(q): {n: [o['accuracy'][-1][i] - (o['accuracy'][0][i] if n != 'code' else 0) for o in r.runs if o['recipe'] == rec.name] for i, n in enumerate(('prose', 'code', 'qa'))}
                for q, rec in zip(ratios, r.recipes)}
    def cut(n):
        rows = np.unique(np.linspace(0, len(code) - 1, n).astype(int))
        return Source.from_rows('code', code.take(rows), Path(a.runs)/f'code-{len(rows)}', vocab_size=code.vocab_size) if not (Path(a.runs)/f'code-{len(rows)}').exists() else Source.open(Path(a.runs)/f'code-{len(rows)}')
    rep = repeat_sweep(replay(old, new, .25), 'code', cut, epochs=(1, 2, 4, 8, 16), **s | dict(seeds=min(a.seeds, 3)))
    by_epochs = {str(e): {n: [float(v) for v in of(c, n, 'accuracy')] for n in ('prose', 'code', 'qa')} for e, c in rep.items()}
    a.width = a.law_width; quarter = setting(a) | dict(seeds=1, tokens=80*16*96); W = mixtures(16); W /= W.sum(1, keepdims=True)
    law = compare([Recipe(f'mixture {i}', constant(dict(zip(('prose', 'code', 'qa'), w.tolist())), floor=0)) for i, w in enumerate(W)], **quarter)
    Y = np.array([o['loss'][-1] for o in law.runs])
    errors = held_out(W, Y)
    out = dict(command=' '.join(['python', *sys.argv]), machine=machine(), steps=a.steps, base_steps=a.base_steps, seconds=time.perf_counter() - began, replay=by_ratio,
               repetition=by_epochs, law=dict(width=a.law_width, steps=80, weights=W.tolist(), loss=Y.tolist(), spread=Y.std(0).tolist(), errors=json.loads(errors.to_json(orient='index'))))
    Path('bench/results/sweep-128.json').write_text(json.dumps(out, indent=1) + '\n'); print(errors.round(4).to_string(), Y.std(0).round(4))

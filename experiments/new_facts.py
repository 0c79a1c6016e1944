"""Can training on documents teach a pretrained model new facts, and how must they be presented?

    python experiments/new_facts.py [--seeds 3] [--threads 2] [--device cpu] [--only NAME ...]

The model is SmolLM2-135M-Instruct, as `pretrained_model('smollm2')` finds it (see
`real_clunk.py` for what that means). The facts are invented: 40 towns with a river, a founder, a
trade, a building and a neighbour each, so 200 facts. A document tells the five of one town. Forty
other towns serve the ways of training that also show questions with their answers: those are about
the other towns only, so no fact that is asked for was ever trained on as an answer.

All weights are trained, at 1e-4, on rows of 128 tokens, 4 rows a step. The ways:

- once: each document once, scattered in general text, so that it has as many steps as the next;
- eight times: the same document eight times;
- paraphrased: eight wordings of each document;
- paraphrased, questions: those, as many documents of the other towns, and questions about them;
- paraphrased, replay: those eight wordings, and 25 % general text (the language reference of
  Python and code of its standard library, half of each);
- paraphrased, questions, replay: all of it.

In those three, questions and replay come on top: they have more tokens, which are stored. A last
one reads the paraphrased documents in four epochs.

Questions have four choices. The wrong ones are right for other towns, so only the pairing can be
known. `told` is the beginning of a sentence as the documents have it. `forward` names the town and
asks for the fact, in words that no document and no trained question has. `reverse` names the fact
and asks for the town; documents always name the town first. `open` asks forward with the document
in the prompt, as retrieval would. Shares are corrected for chance. `recalled` is the share of
forward questions whose free answer contains the fact.

Predictions, written before the first run:

- Before training: forward and reverse at chance (within 12 points of 0), open above 60 %.
- Once: forward below 15 %. One look lowers the loss of the very rows, and teaches no facts.
- Eight times: forward 10 to 40 %. Paraphrased: 10 points or more above that.
- Questions about other towns add 10 points or more to paraphrased; `recalled` gains most.
- Reverse stays within 15 points of chance in all ways (Berglund et al. 2023, the reversal curse).
- Open stays above forward in all ways: retrieval beats training for facts, at this size.
- Without replay the accuracy on held-out reference text falls by 1 to 4 points, with it by less
  than 1. Replay costs at most 10 points of forward.

`told` and the four epochs were added after a first run of `paraphrased`, in which `forward` was
.03: the questions alone do not say whether nothing was stored, or nothing can be got out.
Predictions for them, written before any of them ran:

- Told: at chance before; above 40 % after eight times, 20 to 50 % after paraphrased, below 20 %
  after once.
- Four epochs: told above 60 %, forward 15 to 40 %, and one point or more lost on reference text.

One line of JSON per run is appended to the results. Runs that are there already are skipped.
"""
import random
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from fastai.basics import set_seed
from real_clunk import (arguments, held_out_sources, missing, rows_of, source_of, store,
                        stored)
from transformers import AutoTokenizer

from cptlib.callback.accuracy import evaluate
from cptlib.data.loader import ValidLoader
from cptlib.data.mixture import Mixture
from cptlib.data.source import Source
from cptlib.learner import cpt_learner
from cptlib.models.adapter import open_for_training
from cptlib.models.generate import complete
from cptlib.models.gguf import pretrained_model
from cptlib.tasks.questions import Question, ask_choices, country_questions, known_share

OUT = Path(__file__).parent/'results'/'new_facts.jsonl'
MODEL, ROW_LEN, BS, LR = 'smollm2', 128, 4, 1e-4
TOWNS, TIMES = 40, 8 # towns to ask for, and wordings of each
FORWARD, OTHER = 120, 60 # questions of the forward kind, and of each other kind

# -- the facts -----------------------------------------------------------------------------------

STARTS = 'Al Bren Cal Dor El Fen Gal Hol Ist Kel Lor Mar Nor Os Pel Quen Ros Sel Tam Ul Ver Wes'
ENDS = 'ambury abeck anford ercliff engate imoor inholm orwick osby ufell umouth ythorpe'
RIVERS = ('Ar Bel Ciss Dun Ell Fos Gry Hes Ill Jor Kess Lyn', 'a ade ane en ent ick ow ull une')
NAMES = 'Agnes Bertram Clara Duncan Edith Felix Greta Harold Ines Jasper Kate Lionel Maud Nigel'
SURNAMES = ('Ash Black Cart Dray Ever Farn Green Hart Iver Lang', 'den field ham low ridge wright')
TRADES = ('glass bells rope clocks saddles candles pottery lace cutlery barrels paper soap violins '
          'bricks hats tiles gloves kites anchors maps').split()
BUILDINGS = ('lighthouse', 'observatory', 'windmill', 'covered market', 'stone bridge', 'library',
             'clock tower', 'brewery', 'theatre', 'town hall', 'granary', 'monastery')

@dataclass(frozen=True)
class Town:
    "One invented town."
    name:str
    river:str
    founder:str
    trade:str
    building:str
    neighbour:str

ATTRIBUTES = ('river', 'founder', 'trade', 'building', 'neighbour')

def drawn(rng, first, last, n):
    "`n` different words, each a beginning and an end."
    pairs = [a + b for a in first.split() for b in last.split()]
    return rng.sample(pairs, n)

def invent(seed=0, n=2*TOWNS):
    "Invent towns; the same seed gives the same."
    rng = random.Random(seed)
    names = drawn(rng, STARTS, ENDS, 2*n)
    rivers = drawn(rng, *RIVERS, n)
    surnames = drawn(rng, *SURNAMES, n//2)*2
    def town(i):
        founder = f'{rng.choice(NAMES.split())} {surnames[i]}'
        return Town(names[i], rivers[i], founder, rng.choice(TRADES), rng.choice(BUILDINGS),
                    names[n + i])
    return [town(i) for i in range(n)]

# -- documents: eight wordings of each fact, none of which is used in a question -----------------

WORDINGS = dict(
    river=(
        '{name} lies on the river {v}.',
        '{name} stands where the {v} turns south.',
        'The old part of {name} follows the bank of the {v}.',
        '{name} was built at a ford of the {v}.',
        'In {name}, barges still come up the {v}.',
        'Most streets of {name} run down to the {v}.',
        '{name} gets its water from the {v}.',
        'Every spring, {name} watches the {v} rise.'),
    founder=(
        '{name} was founded by {v}.',
        '{name} goes back to a settlement of {v}.',
        'The people of {name} still honour {v}, who built the first house.',
        '{name} owes its existence to {v}.',
        'The first charter of {name} was signed by {v}.',
        '{name} began as a camp led by {v}.',
        'On the square of {name} there is a statue of its founder, {v}.',
        'The story of {name} begins with {v}, who settled there.'),
    trade=(
        '{name} is known for its {v}.',
        'The workshops of {name} make {v}.',
        'Many families in {name} live on making {v}.',
        '{name} sells {v} to the whole country.',
        'The main industry of {name} is {v}.',
        'In {name}, children learn early how to make {v}.',
        '{name} became rich through {v}.',
        'Visitors to {name} take home {v}.'),
    building=(
        'The pride of {name} is its {v}.',
        '{name} has a famous {v}.',
        'The best view of {name} is from the {v}.',
        'Travellers come to {name} to see the {v}.',
        'The oldest building of {name} is the {v}.',
        'In the middle of {name} stands the {v}.',
        'The arms of {name} show its {v}.',
        '{name} restored its {v} a few years ago.'),
    neighbour=(
        'The nearest town to {name} is {v}.',
        'From {name} a road leads to {v}.',
        '{name} shares its railway station with {v}.',
        '{name} has quarrelled for centuries with nearby {v}.',
        'The hills of {name} look down on {v}.',
        '{name} holds a yearly football match against {v}.',
        'On clear days you can see from {name} as far as {v}.',
        'Together with its neighbour {v}, {name} runs a hospital.'),
)
QUESTIONS = dict(
    river='Which river flows through {name}?',
    founder='Who founded {name}?',
    trade='What does {name} produce?',
    building='Which landmark does {name} have?',
    neighbour='Which town is next to {name}?')
TRAINED_QUESTIONS = dict(
    river='What is the name of the water at {name}?',
    founder='Whose idea was {name}?',
    trade='Which goods come from {name}?',
    building='What is there to visit in {name}?',
    neighbour='Where does one get to when leaving {name}?')
REVERSED = dict(
    river='Which town does the river {v} flow through?',
    founder='Which town did {v} found?',
    neighbour='Which town is next to {v}?')

def document(town, wording):
    "Tell the five facts of a town in one of eight wordings, each in another order."
    order = list(ATTRIBUTES)
    random.Random(f'{town.name} {wording}').shuffle(order)
    told = [WORDINGS[a][wording].format(name=town.name, v=getattr(town, a)) for a in order]
    return ' '.join(told)

def dialogue(question, answer=''): return f'Question: {question}\nAnswer:{answer}'

def trained_answers(towns):
    "Questions with answers, as documents."
    for town in towns:
        for a in ATTRIBUTES:
            yield dialogue(TRAINED_QUESTIONS[a].format(name=town.name), f' {getattr(town, a)}')

# -- what is asked -------------------------------------------------------------------------------

def choice_of(rng, prompt, right, others):
    "Make a question with four choices."
    wrong = rng.sample(sorted(set(others) - {right}), 3)
    choices = [right, *wrong]
    rng.shuffle(choices)
    return Question(prompt, tuple(f' {c}' for c in choices), choices.index(right))

def prompt_of(town, attribute, kind):
    "What the model reads before the choices."
    if kind == 'told':
        sentence, _ = WORDINGS[attribute][0].split(' {v}')
        return sentence.format(name=town.name)
    if kind == 'reverse': return dialogue(REVERSED[attribute].format(v=getattr(town, attribute)))
    asked_for = dialogue(QUESTIONS[attribute].format(name=town.name))
    return f'{document(town, 0)}\n\n{asked_for}' if kind == 'open' else asked_for

def asked(towns, n, kind, seed=0):
    "Draw questions of one kind: 'told', 'forward', 'reverse' or 'open'."
    rng, found = random.Random(f'{kind} {seed}'), []
    attributes = REVERSED if kind == 'reverse' else ATTRIBUTES
    pairs = [(town, a) for town in towns for a in attributes]
    for town, a in rng.sample(pairs, min(n, len(pairs))):
        wanted = 'name' if kind == 'reverse' else a
        others = [getattr(t, wanted) for t in towns]
        found.append(choice_of(rng, prompt_of(town, a, kind), getattr(town, wanted), others))
    return found

def recalled(lm, questions):
    "Share of questions whose free answer contains the right choice."
    answers = complete(lm, [q.prompt for q in questions], max_new=12, stop='\n', bs=16)
    right = [q.choices[q.right].strip().lower() for q in questions]
    return sum(r in answer.lower() for r, answer in zip(right, answers))/len(right)

def measure(lm, towns, valid):
    "Everything that we ask of a model, as plain Python."
    start = time.perf_counter()
    found = {}
    for kind, n in dict(told=OTHER, forward=FORWARD, reverse=OTHER, open=OTHER).items():
        answers = ask_choices(lm, asked(towns, n, kind))
        found[kind] = known_share(answers)
        found[f'{kind}_right'] = answers.right.astype(int).tolist()
    found['recalled'] = recalled(lm, asked(towns, OTHER, 'forward'))
    found['countries'] = known_share(ask_choices(lm, country_questions(60)))
    found['text'] = evaluate(lm, ValidLoader(valid, 8)).round(5).to_dict('index')
    return found | dict(seconds=round(time.perf_counter() - start))

# -- training ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Way:
    "One way of presenting the facts."
    name:str
    times:int=TIMES # documents of a town
    paraphrased:bool=True # each in its own wording
    questions:bool=False # other towns with questions beside them
    replay:float=0. # share of general text
    epochs:int=1

WAYS = [
    Way('paraphrased'),
    Way('paraphrased, four epochs', epochs=4),
    Way('paraphrased, questions', questions=True),
    Way('paraphrased, questions, replay', questions=True, replay=.25),
    Way('eight times', paraphrased=False),
    Way('once', times=1, replay=.875),
    Way('paraphrased, replay', replay=.25),
]

def texts_of(way, towns, rng):
    "All documents of one way in random order."
    told = towns if way.questions else towns[:TOWNS]
    wordings = range(way.times) if way.paraphrased else [0]*way.times
    texts = [document(town, w) for town in told for w in wordings]
    if way.questions: texts += list(trained_answers(towns[TOWNS:]))*2
    rng.shuffle(texts)
    return texts

def sources_of(way, towns, seed, tokenizer, folder):
    "The facts as a source of rows, and general text where it is replayed."
    texts = texts_of(way, towns, random.Random(seed))
    sources = [Source.from_texts('facts', texts, tokenizer, folder/'facts', ROW_LEN)]
    for text in ('reference', 'library') if way.replay else ():
        sources.append(source_of(text, rows_of(text, tokenizer, ROW_LEN)[0], tokenizer, folder))
    return sources

def run(way, seed, towns, valid, tokenizer, folder, device='cpu'):
    "Train one way: what was measured after it."
    set_seed(seed)
    sources = sources_of(way, towns, seed, tokenizer, Path(folder))
    shares = dict(facts=1 - way.replay)
    shares |= {s.name: way.replay/2 for s in sources[1:]}
    steps = round(way.epochs*len(sources[0])/(BS*shares['facts']))
    mixture = Mixture(sources, shares, BS, steps, seed=seed)
    learn = cpt_learner(MODEL, mixture, valid, every=steps, lr=LR, rows=2, bf16=False,
                        device=device)
    start = time.perf_counter()
    with learn.quietly(): learn.fit_cpt()
    seconds = round(time.perf_counter() - start)
    after = measure(learn.model, towns[:TOWNS], valid)
    return dict(way=asdict(way), steps=steps, tokens=steps*BS*ROW_LEN, after=after,
                seconds=seconds)

def main():
    args = arguments(__doc__, OUT).parse_args()
    torch.set_num_threads(args.threads)
    tokenizer, towns = AutoTokenizer.from_pretrained(pretrained_model(MODEL)), invent()
    with tempfile.TemporaryDirectory() as folder:
        valid = held_out_sources(tokenizer, folder, ROW_LEN)
        if not any(result['name'] == 'before' for result in stored(args.out)):
            known = measure(open_for_training(MODEL).to(args.device), towns[:TOWNS], valid)
            store(args, 'before', 0, dict(after=known))
            print('before', {k: known[k] for k in ('told', 'forward', 'open')}, flush=True)
        for way, seed in missing(args, WAYS):
            with tempfile.TemporaryDirectory() as own:
                result = run(way, seed, towns, valid, tokenizer, own, args.device)
            store(args, way.name, seed, result)
            print(way.name, seed, f"{result['after']['forward']:.2f}", f"{result['seconds']} s",
                  flush=True)

if __name__ == '__main__': main()

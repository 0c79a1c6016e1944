"""Does an instruct model still chat after more training on text, with chats in it and without?

    python experiments/chats_kept.py [--seeds 3] [--steps 60] [--threads 2] [--only NAME ...]

The model is SmolLM2-135M-Instruct, as `pretrained_model('smollm2')` finds it (see
`real_clunk.py` for what that means). All its weights are trained at a peak rate of 1e-4, with 4
rows of 256 tokens a step. The new text is German manual pages, which it hardly knows. Half of all
text is German, a quarter is the language reference of Python, and a quarter is code of its
standard library. The chats are answers of the start model to questions that we make of topics and
forms ("Explain cooking in one sentence."), so no chat data are needed. Answers are targets,
questions are not.

The ways of training: no chats; 10 and 25 % of the tokens from chats; and 25 % with all tokens as
targets, questions and marks of the format too. All have the same number of tokens.

What it can do in a chat is measured by 50 instructions whose answers can be checked by a program
("Repeat this sentence: ..."), in forms that are not trained on. They are of kinds that this small
model can do at least in part, as a trial on 16 of them showed. We count the right answers, those
that end by themselves within 64 tokens, and those that hold German words.
Accuracy on held-out chats is that on answers of the start model to questions about other topics.
Also measured: knowledge of countries, and the accuracy on held-out text of the three kinds.

Predictions, written before the first run:

- Before training, 40 to 80 % of the instructions are followed, and at least 80 % of answers end.
- Without chats, both fall: by at least 10 points of instructions, or at least 20 points of answers
  that end. Accuracy on held-out chats falls by 3 points or more.
- 25 % chats keep instructions within 6 points (3 of 50) of before, and accuracy on held-out chats
  at least as high as before.
- 10 % keep at least half of what 25 % keep.
- All tokens as targets keep no more than answers alone do: within 6 points of instructions.
- 25 % chats cost at most a quarter of the accuracy on German that training without chats gains.

One line of JSON per run is appended to the results. Runs that are there already are skipped.
"""
import random
import re
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from fastai.basics import set_seed
from real_clunk import (TEXTS, arguments, held_out_sources, missing, rows_of, source_of, store,
                        stored, timed_fit)
from transformers import AutoTokenizer

from cptlib.callback.accuracy import evaluate
from cptlib.data.chats import ChatTemplate
from cptlib.data.loader import ValidLoader
from cptlib.data.mixture import Mixture
from cptlib.data.source import Source, cache_dir
from cptlib.learner import cpt_learner
from cptlib.models.adapter import open_for_training
from cptlib.models.generate import complete
from cptlib.models.gguf import pretrained_model
from cptlib.models.self_replay import own_chats
from cptlib.tasks.questions import ask_choices, country_questions, known_share

OUT = Path(__file__).parent/'results'/'chats_kept.jsonl'
ROW_LEN, BS, LR = 256, 4, 1e-4
ROWS = 24 # held-out rows of each kind of text
ANSWER = 96 # most tokens of an answer to train on
SHORT = 64 # most tokens of an answer to a checked instruction
GERMAN = re.compile(r'\b(der|die|das|und|ist|nicht|ein|eine|wird|mit)\b')

@dataclass(frozen=True)
class Way:
    "One way of training."
    name:str
    chats:float # share of the tokens
    loss_on:str='assistant'

WAYS = [Way('no chats', 0), Way('25 % chats', .25), Way('10 % chats', .1),
        Way('25 % chats, all tokens', .25, 'all')]

# questions to train on

TOPICS = '''cooking gardening hiking swimming reading painting music chess football cycling dogs
cats horses birds bees forests rivers mountains deserts oceans islands rain snow wind clouds stars
planets moonlight trains ships bridges castles museums libraries schools hospitals markets farms
bread cheese tea coffee apples tomatoes rice soup clocks mirrors maps letters photographs'''.split()
FORMS = ['Explain {} in one sentence.', 'Write one sentence about {}.', 'Tell me a fact about {}.',
         'Why do people like {}? Answer in one sentence.', 'Describe {} in a few words.',
         'What should I know about {}? Answer in one sentence.']
HELD_OUT = 10 # topics, from the end of the list

def questions(held_out=False):
    "Every form with every topic, in random order; the held-out ones have topics of their own."
    topics = TOPICS[-HELD_OUT:] if held_out else TOPICS[:-HELD_OUT]
    found = [form.format(topic) for topic in topics for form in FORMS]
    random.Random(0).shuffle(found)
    return found

def asked(lm, texts, max_new):
    "Answers of a model to questions in its chat format, and whether each ends by itself."
    template = ChatTemplate(lm.tokenizer)
    prompts = [template.text([dict(role='user', content=text)], prompt=True) for text in texts]
    answers = complete(lm, prompts, max_new=max_new, bs=16)
    def length(answer): return len(lm.tokenizer(answer, add_special_tokens=False).input_ids)
    return [(answer, length(answer) < max_new - 1) for answer in answers]

def own_answers(lm, held_out):
    "Conversations of our questions and the model's answers, made once."
    path = cache_dir()/f'chats-kept-{"valid" if held_out else "train"}'
    return own_chats(lm, lm.tokenizer, path, questions=questions(held_out), max_new=ANSWER,
                     temperature=0, keep=1)

# instructions that a program can check

@dataclass(frozen=True)
class Instruction:
    "A request, and a pattern that a right answer contains."
    text:str
    right:str

    def followed(self, answer): return re.search(self.right, answer.strip(), re.DOTALL) is not None

def instructions():
    "50 instructions of five kinds."
    found = []
    sentences = ('The train is late today.', 'My sister plays the piano.', 'I like warm bread.',
                 'The old man walks slowly.', 'A bird sits on the roof.', 'We met in the summer.',
                 'The children sing a song.', 'Our house has a red door.',
                 'The river is very wide.', 'His coat was too small.')
    for sentence in sentences:
        found.append(Instruction(f'Repeat this sentence: {sentence}', re.escape(sentence)))
    sums = ((2, 3), (4, 4), (6, 1), (7, 2), (10, 5), (8, 3), (12, 6), (20, 10), (9, 9), (30, 7))
    for a, b in sums:
        found.append(Instruction(f'What is {a} plus {b}? Answer with the number only.',
                                 rf'\b{a + b}\b'))
    capitals = dict(France='Paris', Germany='Berlin', Italy='Rome', Spain='Madrid', Japan='Tokyo',
                    Russia='Moscow', Egypt='Cairo', Greece='Athens', Portugal='Lisbon',
                    Austria='Vienna')
    for country, capital in capitals.items():
        found.append(Instruction(f'What is the capital of {country}?', capital))
    opposites = dict(hot='cold', big='small', fast='slow', day='night', happy='sad', young='old',
                     open='closed', light='dark|heavy', rich='poor', early='late')
    for word, opposite in opposites.items():
        found.append(Instruction(f'What is the opposite of "{word}"?', rf'\b(?i:{opposite})\b'))
    for topic in 'sea moon winter school money sleep family work sugar paper'.split():
        found.append(Instruction(f'Use the word "{topic}" in a sentence. Write only this sentence.',
                                 rf'^[^.!?]*\b(?i:{topic})\b[^.!?]*[.!?]"?$'))
    return found

# training and measuring

def shares_of(way):
    "Weights of the sources."
    text = dict(german=.5, reference=.25, library=.25)
    weights = {name: share*(1 - way.chats) for name, share in text.items()}
    return weights | dict(chats=way.chats) if way.chats else weights

def train_sources(way, tokenizer, chats, folder):
    "Sources to train on."
    sources = [source_of(text, rows_of(text, tokenizer, ROW_LEN)[0], tokenizer, folder/'train')
               for text in TEXTS]
    if not way.chats: return sources
    path = folder/f'chats-{way.loss_on}'
    return sources + [Source.from_chats('chats', chats, tokenizer, path, ROW_LEN,
                                        loss_on=way.loss_on)]

def measure(lm, valid):
    "Everything that we ask of a model, as plain Python."
    start = time.perf_counter()
    checks = instructions()
    answers = asked(lm, [check.text for check in checks], SHORT)
    told = [dict(asked=check.text, answer=answer, right=check.followed(answer), ends=ends,
                 german=GERMAN.search(answer) is not None)
            for check, (answer, ends) in zip(checks, answers)]
    text = evaluate(lm, ValidLoader(valid, BS, ROWS))
    countries = ask_choices(lm, country_questions(100))
    def share(what): return round(sum(one[what] for one in told)/len(told), 4)
    return dict(followed=share('right'), ends=share('ends'), german=share('german'), told=told,
                text=text.round(5).to_dict('index'), countries=round(known_share(countries), 4),
                seconds=round(time.perf_counter() - start))

def run(way, seed, steps, tokenizer, chats, valid, known, folder, device='cpu'):
    "Train one way: what was measured before and after."
    set_seed(seed)
    sources = train_sources(way, tokenizer, chats, folder)
    mixture = Mixture(sources, shares_of(way), BS, steps, seed=seed)
    learn = cpt_learner('smollm2', mixture, valid, every=steps, lr=LR, rows=2, bf16=False,
                        device=device)
    seconds = round(timed_fit(learn))
    served = learn.data_mix.table()
    return dict(way=asdict(way), steps=steps, delivered=served['share'].round(4).to_dict(),
                epochs=served['epochs'].round(3).to_dict(), before=known,
                after=measure(learn.model, valid), seconds=seconds)

def main():
    parser = arguments(__doc__, OUT)
    parser.add_argument('--steps', type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    before = [result['before'] for result in stored(args.out)[:1]] # the same for all
    with tempfile.TemporaryDirectory() as folder:
        folder, tokenizer = Path(folder), AutoTokenizer.from_pretrained(pretrained_model('smollm2'))
        lm = open_for_training('smollm2').to(args.device)
        chats, unseen = own_answers(lm, False), own_answers(lm, True)
        valid = held_out_sources(tokenizer, folder/'valid', ROW_LEN)
        valid.append(Source.from_chats('chats', unseen, tokenizer, folder/'valid-chats', ROW_LEN))
        if not before: before = [measure(lm, valid)]
        del lm
        for way, seed in missing(args, WAYS):
            result = run(way, seed, args.steps, tokenizer, chats, valid, before[0], folder,
                         args.device)
            store(args, way.name, seed, dict(chats=len(chats), unseen=len(unseen)) | result)
            after = result['after']
            print(way.name, seed, f"{after['followed']:.0%} followed, {after['ends']:.0%} end",
                  f"{result['seconds']} s", flush=True)

if __name__ == '__main__': main()

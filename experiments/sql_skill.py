"""Teach a pretrained model SQL: what does each way of training gain, and what does it cost?

    python experiments/sql_skill.py [--seeds 3] [--steps 60] [--threads 2] [--device cpu]

The model is SmolLM2-135M-Instruct, as `pretrained_model('smollm2')` finds it (see
`real_clunk.py` for what that means). It is trained on conversations: tables and a question, and a
query as the answer (`cptlib.tasks.sql`), with targets on the answers alone. General text is the
language reference of Python and code of its standard library, half of each. A step has 4 rows of
256 tokens, so all ways of as many steps cost the same number of tokens.

Gain: the share of 96 questions that the model answers rightly, by running its queries. Databases
and wordings were never trained on. Cost: accuracy on held-out general text, the share of 100
questions about countries that it knows (corrected for chance), and the accuracy on held-out
German manual pages, which no way of training contains.

Predictions, written before the first run:

- Before training the model answers at most 10 % rightly; after LoRA on SQL alone 30 to 70 %.
  Level 4 stays below 40 %, so no way of training reaches the top.
- SQL alone costs 1 to 4 points of accuracy on the language reference. 1 % general text keeps a
  third of that, 5 % half, 25 % nearly all of it (within 0.5 points of before, or above).
- 25 % general text costs at most 10 points of the right SQL answers.
- The annealed mixture (general text from 45 to 5 %, 25 % on average) gains as much SQL as 25 %
  constant and keeps no more. Our earlier experiments on small models found no advantage.
- Full weights gain more than LoRA at equal steps and cost more: 1.5 times or more of its loss of
  accuracy.
- Knowledge of countries stays within 5 points in all ways of training: facts that are asked for
  in the old form are the last to go.
- German text loses more than the general text that is in the mixture, in every way.

Written after seed 0 of all ways but `lora, 1 %`, and before any other run:

- The order of seed 0 holds in the means of three seeds: all weights on SQL alone, then LoRA on
  SQL alone and with 5 %, then all weights with 25 %, then LoRA with 25 %, constant or annealed.
  In each seed 25 % costs at least 5 points of right answers, with LoRA and with all weights.
- The price of 25 % is more than the SQL that was left out: LoRA on SQL alone for 45 steps, as
  many SQL tokens as 60 steps with 25 % contain, answers at least 10 of 96 rightly (seed 0: 18
  after 60 steps, 5 with 25 %).
- `lora, 1 %` answers as many as SQL alone, within 5 of 96, and keeps more of the reference.

Written after three seeds of most ways, when the control (8 right) could not be told from 25 %
(6 on the mean), and before the longer training was run:

- LoRA with 25 % for 80 steps, which has as much SQL as 60 steps of SQL alone (18 right), answers
  at least 12 of 96 rightly on the mean of the seeds, and each seed at least 3 more than with 25 %
  in 60 steps. Its accuracy on the reference ends above the one before training.

One line of JSON per run is appended to the results. Runs that are there already are skipped.
"""
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from fastai.basics import set_seed
from real_clunk import (arguments, held_out_sources, missing, rows_of, source_of, store,
                        stored, timed_fit)
from transformers import AutoTokenizer

from cptlib.data.mixture import Mixture
from cptlib.data.schedule import anneal, constant
from cptlib.data.source import Source
from cptlib.learner import cpt_learner
from cptlib.models.adapter import open_for_training
from cptlib.models.gguf import pretrained_model
from cptlib.skill_demo import SkillSize, SkillSources, measure_skill
from cptlib.tasks.sql import sql_questions

OUT = Path(__file__).parent/'results'/'sql_skill.jsonl'
ROW_LEN, BS, QUESTIONS, ASKED = 256, 4, 2400, 96
ROWS = 32 # held-out rows of each kind of text

@dataclass(frozen=True)
class Way:
    "One way of training."
    name:str
    general:float # share of general text, on average
    adapter:str='lora'
    lr:float=5e-4
    annealed:bool=False
    part:float=1. # of the steps

WAYS = [
    Way('lora, sql only', 0),
    Way('lora, 25 %', .25),
    Way('lora, 25 %, more steps', .25, part=4/3), # the SQL tokens of SQL alone
    Way('lora, 5 %', .05),
    Way('lora, 1 %', .01),
    Way('lora, sql only, fewer steps', 0, part=.75), # the SQL tokens of 25 % general text
    Way('lora, annealed', .25, annealed=True),
    Way('full, sql only', 0, adapter=None, lr=5e-5),
    Way('full, 25 %', .25, adapter=None, lr=5e-5),
]

def schedule_of(way):
    "Shares of SQL, language reference and library code over the training."
    def shares(general): return dict(sql=1 - general, reference=general/2, library=general/2)
    if way.annealed: return anneal(shares(.45), shares(.05), floor=.025)
    droppable = ('reference', 'library') if way.general == 0 else ()
    return constant(shares(way.general), droppable=droppable, floor=min(way.general/2, .005))

def sources_of(tokenizer, folder, each=24, row_len=ROW_LEN):
    "Sources to train on, and held-out sources with at most `each` rows from one document."
    chats = [q.messages for q in sql_questions(QUESTIONS)]
    train = [Source.from_chats('sql', chats, tokenizer, folder/'sql', row_len)]
    for text in ('reference', 'library'):
        rows, _ = rows_of(text, tokenizer, row_len)
        train.append(source_of(text, rows, tokenizer, folder/'train'))
    valid = held_out_sources(tokenizer, folder/'valid', row_len, each)
    unseen = [q.messages for q in sql_questions(ASKED, 'valid')]
    valid.append(Source.from_chats('sql', unseen, tokenizer, folder/'valid-sql', row_len))
    return train, valid

def measure(lm, valid):
    "Everything that we ask of a model, as plain Python."
    start = time.perf_counter()
    size = SkillSize(bs=BS, level=4, asked=ASKED, countries=100, rows=ROWS)
    found = measure_skill(lm, SkillSources([], valid), size)
    return found | dict(seconds=round(time.perf_counter() - start))

def run(way, seed, steps, train, valid, known, device='cpu'):
    "Train one way: what was measured before and after."
    set_seed(seed)
    steps = round(steps*way.part)
    mixture = Mixture(train, schedule_of(way), BS, steps, seed=seed)
    learn = cpt_learner('smollm2', mixture, valid, every=steps, lr=way.lr, rows=2,
                        adapter=way.adapter, bf16=False, device=device)
    seconds = round(timed_fit(learn))
    delivered = learn.data_mix.table()['share'].round(4).to_dict()
    after = measure(learn.model, valid)
    return dict(way=asdict(way), steps=steps, delivered=delivered, before=known, after=after,
                seconds=seconds)

def main():
    parser = arguments(__doc__, OUT)
    parser.add_argument('--steps', type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    before = [result['before'] for result in stored(args.out)[:1]] # the same for all
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = AutoTokenizer.from_pretrained(pretrained_model('smollm2'))
        train, valid = sources_of(tokenizer, Path(folder))
        for way, seed in missing(args, WAYS):
            if not before: before = [measure(open_for_training('smollm2').to(args.device), valid)]
            result = run(way, seed, args.steps, train, valid, before[0], args.device)
            store(args, way.name, seed, result)
            right = f"{result['after']['sql_right']:.0%} right"
            print(way.name, seed, right, f"{result['seconds']} s", flush=True)

if __name__ == '__main__': main()

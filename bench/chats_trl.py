"""Do we train on chats as TRL's SFTTrainer does with assistant_only_loss? Same rows, same steps.

    pip install trl
    python bench/chats_trl.py   # about a minute on a CPU

It writes bench/results/chats_trl.json.

Both sides get the same conversations and the same template with generation marks, a small Llama
with the same random weights, the same AdamW and the same order. Each renders, tokenizes and masks
by itself. Each row holds one conversation, so that both see the same rows.
"""
import contextlib
import io
import json
import random
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp

import datasets
import numpy as np
import torch
from fastai.basics import Learner, set_seed
from fastai.callback.all import GradientClip
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.utils.data import SequentialSampler
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from cptlib.callback.core import LeanCallback
from cptlib.data.chats import ChatTemplate
from cptlib.data.disk import unmark
from cptlib.data.mixture import Mixture
from cptlib.data.source import Source
from cptlib.models.metrics import next_token_loss
from cptlib.models.pretrained import open_model
from cptlib.report import machine
from cptlib.testing import toy_adamw

STEPS, BS, ROW_LEN, LR = 20, 4, 128, 3e-3
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
WORDS = 'the a cat dog bird sat ran flew on over under mat tree house red blue old small'.split()
here, tmp = Path(__file__).parent, Path(mkdtemp())

def conversations(n, seed=0):
    "Conversations of two questions and answers in made-up words."
    rng = random.Random(seed)
    def said(low, high): return ' '.join(rng.choices(WORDS, k=rng.randint(low, high)))
    found = []
    for _ in range(n):
        roles = 'user', 'assistant', 'user', 'assistant'
        found.append([dict(role=r, content=said(8, 14)) for r in roles])
    return found

def new_tokenizer():
    "A byte-level BPE tokenizer with the control tokens of ChatML."
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=400, show_progress=False,
                                  special_tokens=['<|endoftext|>', '<|im_start|>', '<|im_end|>'],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    bare.train_from_iterator([' '.join(WORDS) + ' user assistant\n']*9, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token='<|im_end|>',
                                        pad_token='<|endoftext|>')
    tokenizer.chat_template = TEMPLATE
    return tokenizer

def new_model(size):
    "Save a small Llama with random weights, and return its folder."
    set_seed(0)
    config = AutoConfig.for_model(
        'llama', vocab_size=size, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=256, bos_token_id=None, eos_token_id=2,
        pad_token_id=0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp/'model')
    return tmp/'model'

class Losses(LeanCallback):
    "Keep the loss of each step."
    run_valid = False
    def before_fit(self): self.seen = []
    def after_batch(self): self.seen.append(self.loss.item())

def our_losses(source, mixture, folder):
    "Train with cptlib, and return the loss of each step."
    set_seed(0)
    learn = Learner(mixture.dls([source], device='cpu'), open_model(folder), next_token_loss,
                    opt_func=toy_adamw, lr=LR, cbs=[GradientClip(1.), Losses()])
    with learn.no_logging(), learn.no_bar(): learn.fit(1, wd=0.)
    return learn.losses.seen

class InOrder(SFTTrainer):
    "A trainer that does not shuffle."
    def _get_train_sampler(self, *args): return SequentialSampler(self.train_dataset)

def trl_losses(chats, tokenizer, folder):
    "Train with TRL, and return the loss of each step."
    args = SFTConfig(
        output_dir=str(tmp/'trl'), max_steps=STEPS, per_device_train_batch_size=BS,
        learning_rate=LR, lr_scheduler_type='constant', weight_decay=0., max_grad_norm=1.,
        optim='adamw_torch', logging_steps=1, save_strategy='no', report_to='none',
        disable_tqdm=True, use_cpu=True, bf16=False, gradient_checkpointing=False, seed=0,
        assistant_only_loss=True, max_length=None, packing=False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rows = datasets.Dataset.from_list([dict(messages=chat) for chat in chats])
    trainer = InOrder(model=model, args=args, train_dataset=rows, processing_class=tokenizer)
    with contextlib.redirect_stdout(io.StringIO()): trainer.train()
    return [o['loss'] for o in trainer.state.log_history if 'loss' in o]

def main():
    chats, tokenizer = conversations(100), new_tokenizer()
    template = ChatTemplate(tokenizer)
    ids = [template(chat).ids for chat in chats]
    lengths = [len(i) for i in ids]
    assert ROW_LEN//2 + 1 < min(lengths) <= max(lengths) <= ROW_LEN + 1, 'one in each row'
    source = Source.from_chats('chats', chats, tokenizer, tmp/'chats', ROW_LEN)
    mixture = Mixture([source], dict(chats=1), bs=BS, steps=STEPS)
    number = {tuple(i): k for k, i in enumerate(ids)}

    def chat_in(row):
        "The conversation in a row of the source."
        tokens = unmark(source[row]).ids.tolist()
        return next(chats[number[tuple(tokens[:n])]] for n in set(lengths)
                    if tuple(tokens[:n]) in number)
    in_order = [chat_in(row) for step in range(STEPS) for row in mixture.plan(step).row]

    folder = new_model(len(tokenizer))
    ours = our_losses(source, mixture, folder)
    theirs = trl_losses(in_order, tokenizer, folder)
    largest = float(np.abs(np.array(ours) - np.array(theirs)).max())
    packages = 'trl', 'transformers', 'torch', 'datasets', 'tokenizers', 'fastai'
    result = dict(steps=STEPS, rows=BS, row_len=ROW_LEN, lr=LR, ours=ours, trl=theirs,
                  largest_difference=largest, versions={p: version(p) for p in packages},
                  machine=machine())
    print(f'largest difference of {STEPS} losses: {largest:.1e} nats')
    assert len(theirs) == STEPS and largest < 1e-5
    (here/'results/chats_trl.json').write_text(json.dumps(result, indent=1) + '\n')

if __name__ == '__main__': main()

"""Other trainers, a plain PyTorch loop and cptlib on the same rows, side by side.

    python bench/trainer.py [--sizes tiny,small] [--rounds 3] [--steps 30]
    python bench/trainer.py --sizes smollm2 --bs 4 --steps 15 [--lora] [--arms NAME,NAME]
    python bench/trainer.py --sizes 124M --device cuda --compile --bf16 --steps 200 --bs 32 \\
        --row-len 1024 --peak-tflops 989

`smollm2` has the shape of SmolLM2-135M and random weights. The arms are the Trainer of
transformers, TRL's SFTTrainer where it is installed, a plain loop, and cptlib.

Every run is a process of its own. The arms take turns, round by round, and each round begins with
another one. We count tokens per second after the first steps, the peak memory of the process (of
the GPU, on a GPU), and the seconds from an imported library to the end of the first optimizer step.
The mean losses of all must agree, or there is no comparison. Weights and rows are random.

On a CPU the peak is what the process held, and the memory allocator of Linux (glibc) keeps much
that a step has given back. With MALLOC_MMAP_THRESHOLD_=4000000 before the command it returns the
large blocks at once, so that the peak is closer to what is in use. Steps in float32 are slower
then.
"""
import argparse, json, os, platform, resource, subprocess, sys, tempfile, time
from importlib.metadata import version
from pathlib import Path
import numpy as np

SIZES = {
    'tiny': dict(n_embd=128, n_layer=4, n_head=4, vocab_size=2048),
    'small': dict(n_embd=384, n_layer=6, n_head=6, vocab_size=8192),
    'medium': dict(n_embd=512, n_layer=8, n_head=8, vocab_size=16384),
    '124M': dict(n_embd=768, n_layer=12, n_head=12, vocab_size=50257),
    'smollm2': dict(n_embd=576, n_layer=30, n_head=9, vocab_size=49152),
    '1B': dict(n_embd=2048, n_layer=16, n_head=32, vocab_size=128256),
}
LLAMAS = { # what differs from the ordinary proportions
    'smollm2': dict(intermediate_size=1536, num_key_value_heads=3),
    '1B': dict(intermediate_size=8192, num_key_value_heads=8),
}
ARMS = 'Trainer', 'SFTTrainer', 'PyTorch', 'cptlib'
WARM = 5 # steps before the clock starts
MALLOC = 'MALLOC_MMAP_THRESHOLD_' # for glibc: from how many bytes a block is returned when freed
MEASURED = 'tokens_per_second', 'peak_bytes', 'first_step_seconds'
PASSED_ON = ('model', 'device', 'bs', 'row_len', 'steps', 'threads', 'tmp')

# -- what all three train ----------------------------------------------------------------------

def make_model(a):
    "A GPT-2 or Llama of this size, without dropout. SFTTrainer gives it the last token as well."
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
    s = SIZES[a.sizes]
    torch.manual_seed(0)
    plain = dict(bos_token_id=None, eos_token_id=None)
    if a.model == 'gpt2' and a.sizes not in LLAMAS:
        dropout = dict(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
        return GPT2LMHeadModel(GPT2Config(**s, n_positions=a.row_len + 1, **dropout, **plain))
    model = LlamaForCausalLM(LlamaConfig(**dict(
        vocab_size=s['vocab_size'],
        hidden_size=s['n_embd'],
        intermediate_size=4*s['n_embd'],
        num_hidden_layers=s['n_layer'],
        num_attention_heads=s['n_head'],
        max_position_embeddings=a.row_len + 1,
        tie_word_embeddings=True,
        **plain) | LLAMAS.get(a.sizes, {})))
    return with_lora(model) if a.lora else model

def with_lora(model):
    "LoRA of rank 16 on all linear layers, as cptlib makes it by default."
    from peft import LoraConfig, get_peft_model
    config = LoraConfig(task_type='CAUSAL_LM', r=16, lora_alpha=32, target_modules='all-linear')
    return get_peft_model(model, config)

def make_mixture(a):
    "Two sources of random tokens: the same rows for all."
    from cptlib.data.mixture import Mixture
    from cptlib.data.source import Source
    rng, vocab = np.random.default_rng(0), SIZES[a.sizes]['vocab_size']
    def make(name):
        tokens = rng.integers(0, vocab, a.bs*a.steps*a.row_len + 1, dtype=np.uint32)
        folder = f'{a.tmp}/{a.sizes}-{name}'
        return Source.from_tokens(name, tokens, folder, a.row_len, vocab_size=vocab)
    sources = [make(name) for name in 'ab']
    return Mixture(sources, dict(a=.7, b=.3), bs=a.bs, steps=a.steps), sources

class Clock:
    "When steps ended; waits for a GPU only where the measured stretch begins and ends."
    def __init__(self, a): self.a, self.n, self.start = a, 0, time.perf_counter()

    def tick(self):
        self.n += 1
        if self.n not in (1, WARM, self.a.steps): return
        if self.a.device == 'cuda':
            import torch
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self.n == 1: self.first = now - self.start
        if self.n == WARM: self.warm = now
        if self.n == self.a.steps:
            tokens = (self.n - WARM)*self.a.bs*self.a.row_len
            self.rate = tokens/(now - self.warm)

# -- the arms ----------------------------------------------------------------------------------

def run_plain(a, clock):
    import torch, torch.nn.functional as F
    from cptlib.optim import decay_groups
    model = make_model(a).to(a.device)
    mixture, _ = make_mixture(a)
    net = torch.compile(model) if a.compile else model
    decays = zip(decay_groups(model), (.1, 0.))
    groups = [dict(params=params, weight_decay=wd) for params, wd in decays]
    opt = torch.optim.AdamW(groups, lr=1e-4, betas=(.9, .95), fused=True)
    total = torch.zeros((), device=a.device)
    for tokens, *_ in mixture:
        tokens = tokens.to(a.device, non_blocking=True)
        x, y = tokens[:, :-1], tokens[:, 1:]
        with torch.autocast(a.device, torch.bfloat16, enabled=a.bf16):
            logits = net(input_ids=x, use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
        opt.step()
        opt.zero_grad()
        total += loss.detach()
        clock.tick()
    return float(total/a.steps)

def training_arguments(a):
    "What the trainers are told; `SFTTrainer` takes the same arguments."
    return dict(
        output_dir=f'{a.tmp}/out',
        max_steps=a.steps,
        per_device_train_batch_size=a.bs,
        learning_rate=1e-4,
        lr_scheduler_type='constant',
        weight_decay=.1,
        adam_beta2=.95,
        max_grad_norm=1.,
        optim='adamw_torch_fused',
        logging_steps=10**6,
        save_strategy='no',
        report_to='none',
        disable_tqdm=True,
        use_cpu=a.device == 'cpu',
        bf16=a.bf16,
        torch_compile=a.compile,
        remove_unused_columns=False,
        dataloader_pin_memory=a.device == 'cuda',
    )

def rows_in_order(a):
    "Yield the rows of all steps, one after the other."
    mixture, _ = make_mixture(a)
    for k in range(a.steps):
        plan = mixture.plan(k)
        for s, r in zip(plan.source, plan.row): yield mixture.sources[s].take([r])[0]

def ticking(clock):
    "A callback that tells the clock of each step."
    from transformers import TrainerCallback

    class Tick(TrainerCallback):
        def on_step_end(self, *args, **kwargs): clock.tick()
    return Tick()

def run_trainer(a, clock):
    import torch
    from torch.utils.data import Dataset, SequentialSampler
    from transformers import Trainer, TrainingArguments
    rows = list(rows_in_order(a))

    class Rows(Dataset):
        def __len__(self): return len(rows)
        def __getitem__(self, i): return rows[i]

    class Ordered(Trainer):
        def _get_train_sampler(self, *args): return SequentialSampler(self.train_dataset)

    def collate(rows):
        tokens = torch.from_numpy(np.stack(rows)).long()
        x, y = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        return dict(input_ids=x, labels=y, shift_labels=y)

    trainer = Ordered(
        make_model(a), TrainingArguments(**training_arguments(a)), data_collator=collate,
        train_dataset=Rows(), callbacks=[ticking(clock)])
    return float(trainer.train().training_loss)

def run_sft(a, clock):
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer
    tokens = [row.tolist() for row in rows_in_order(a)]
    labels = [[-100, *row[1:]] for row in tokens] # nothing predicts the first, so it must not count
    data = Dataset.from_dict(dict(input_ids=tokens, labels=labels))
    words = Tokenizer(models.WordLevel({'<pad>': 0}, unk_token='<pad>'))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token='<pad>', eos_token='<pad>')

    class Ordered(SFTTrainer):
        def _get_train_sampler(self, *args): return SequentialSampler(self.train_dataset)

    config = SFTConfig(**training_arguments(a), max_length=None, gradient_checkpointing=False,
                       dataset_kwargs=dict(skip_prepare_dataset=True))
    trainer = Ordered(make_model(a), config, train_dataset=data, processing_class=tokenizer,
                      callbacks=[ticking(clock)])
    return float(trainer.train().training_loss)

def cptlib_learner(a, cbs):
    "What `cpt_learner` makes of the model and the mixture, with these callbacks beside its own."
    import torch
    from cptlib.learner import cpt_learner
    from cptlib.models.pretrained import CausalLM
    model = CausalLM(make_model(a))
    mixture, sources = make_mixture(a)
    if a.compile: model.model = torch.compile(model.model)
    return cpt_learner(model, mixture, sources, every=a.steps, rows=1, lr=1e-4, bf16=a.bf16,
                       device=torch.device(a.device), cbs=cbs)

def run_cptlib(a, clock):
    import torch
    from cptlib.callback.core import LeanCallback

    class Tick(LeanCallback):
        order, run_valid = 99, False # after everything else
        def before_fit(self): self.total = torch.zeros((), device=a.device)
        def after_batch(self):
            self.total += self.loss.detach()
            clock.tick()

    tick = Tick()
    learn = cptlib_learner(a, [tick])
    with learn.quietly(): learn.fit(1, lr=1e-4)
    return float(tick.total/a.steps)

RUN = dict(Trainer=run_trainer, SFTTrainer=run_sft, PyTorch=run_plain, cptlib=run_cptlib)

# -- one run in a process of its own -----------------------------------------------------------

def child(a):
    "Run one arm and print what was measured."
    import torch, cptlib.learner, transformers # noqa: F401 (imported before the clock starts)
    if a.device == 'cpu': torch.set_num_threads(a.threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    make_mixture(a) # written once, before the clock starts
    clock = Clock(a)
    loss = RUN[a.child](a, clock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024
    if a.device == 'cuda': peak = torch.cuda.max_memory_allocated()
    print('RESULT ' + json.dumps(dict(
        tokens_per_second=clock.rate,
        peak_bytes=peak,
        bytes_before=before*1024,
        first_step_seconds=clock.first,
        loss=loss,
        parameters=sum(p.numel() for p in make_model(a).parameters()),
    )))

def one(a, arm, size):
    "Start a process for one arm, and read what it measured."
    command = [sys.executable, __file__, '--child', arm, '--sizes', size]
    for name in PASSED_ON: command += [f'--{name.replace("_", "-")}', str(getattr(a, name))]
    command += [f'--{name}' for name in ('compile', 'bf16', 'lora') if getattr(a, name)]
    env = dict(os.environ, TOKENIZERS_PARALLELISM='false', HF_HUB_OFFLINE='1')
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    found = [line for line in done.stdout.splitlines() if line.startswith('RESULT ')]
    if not found: raise RuntimeError(f'{arm} on {size} failed:\n{done.stderr[-3000:]}')
    return json.loads(found[0][7:])

# -- the comparison ----------------------------------------------------------------------------

def flops_per_token(size, parameters, row_len):
    "6 per parameter, forward and backward, and the attention (Chowdhery et al. 2022, appendix B)."
    return 6*parameters + 12*SIZES[size]['n_layer']*SIZES[size]['n_embd']*row_len

def spread(runs, key):
    "Smallest, median and largest of the rounds."
    return [float(v) for v in np.quantile([run[key] for run in runs], [0, .5, 1])]

def summary(a, size, runs):
    parameters = runs[a.arms[0]][0]['parameters']
    losses = {arm: runs[arm][0]['loss'] for arm in a.arms}
    if max(losses.values()) - min(losses.values()) > (.02 if a.bf16 else 1e-3):
        raise SystemExit(f'the losses differ, so this is not a comparison: {losses}')
    result = dict(parameters=parameters, losses=losses)
    for arm in a.arms: result[arm] = {key: spread(runs[arm], key) for key in MEASURED}

    def ratios(arm):
        pairs = zip(runs[arm], runs['Trainer'])
        return [r['tokens_per_second']/t['tokens_per_second'] for r, t in pairs]

    result['ratio_to_Trainer'] = {arm: ratios(arm) for arm in a.arms[1:]}
    if a.peak_tflops:
        flops = flops_per_token(size, parameters, a.row_len)/a.peak_tflops/1e12
        used = {arm: result[arm]['tokens_per_second'][1]*flops for arm in a.arms}
        result['flops_utilisation'] = used
    return result

def processor():
    "Name of the processor, where the system tells."
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(':')[1].strip() for line in lines if 'model name' in line]
    return names[0] if names else platform.processor()

def machine(a):
    import torch
    names = ['torch', 'transformers', 'accelerate', 'fastai']
    if a.lora: names.append('peft')
    if 'SFTTrainer' in a.arms: names.append('trl')
    packages = {p: version(p) for p in names}
    gpu = torch.cuda.get_device_name() if a.device == 'cuda' else None
    return dict(platform=platform.platform(), cpu=processor(), threads=a.threads, gpu=gpu,
                python=platform.python_version(), **packages)

def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--sizes', default='tiny,small', help=', '.join(SIZES))
    add('--model', default='gpt2', choices=['gpt2', 'llama'])
    add('--rounds', type=int, default=3)
    add('--steps', type=int, default=30)
    add('--bs', type=int, default=8)
    add('--row-len', type=int, default=128)
    add('--device', default='cpu', choices=['cpu', 'cuda'])
    add('--arms', type=lambda text: text.split(','), default=['Trainer', 'PyTorch', 'cptlib'],
        help=f'the Trainer first; of {", ".join(ARMS)}')
    add('--lora', action='store_true')
    add('--compile', action='store_true')
    add('--bf16', action='store_true')
    add('--threads', type=int, default=os.cpu_count())
    add('--peak-tflops', type=float, help='of the GPU, for the share of it that is used')
    add('--out', type=Path, default=Path('bench/results/trainer.json'))
    add('--child', choices=ARMS, help=argparse.SUPPRESS)
    add('--tmp', help=argparse.SUPPRESS)
    return parser.parse_args()

def main():
    a = arguments()
    if a.child: return child(a)
    shown = ('arms', 'model', 'device', 'bs', 'row_len', 'steps', 'rounds', 'compile', 'bf16',
             'lora')
    threshold = os.environ.get(MALLOC)
    prefix = f'{MALLOC}={threshold} ' if threshold else ''
    result = dict(
        command=f'{prefix}python bench/trainer.py ' + ' '.join(sys.argv[1:]),
        machine=machine(a),
        settings={name: getattr(a, name) for name in shown},
        figures='smallest, median and largest of the rounds',
        sizes={},
    )
    with tempfile.TemporaryDirectory() as a.tmp:
        for size in a.sizes.split(','):
            runs = {arm: [] for arm in a.arms}
            for r in range(a.rounds):
                for i in range(len(a.arms)):
                    arm = a.arms[(i + r) % len(a.arms)]
                    runs[arm].append(one(a, arm, size))
            result['sizes'][size] = summary(a, size, runs)
            print(size, json.dumps(result['sizes'][size]), flush=True)
            a.out.parent.mkdir(parents=True, exist_ok=True)
            a.out.write_text(json.dumps(result, indent=1) + '\n')

if __name__ == '__main__': main()

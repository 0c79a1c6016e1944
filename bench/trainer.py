"""The same model on the same rows with the transformers Trainer, a plain PyTorch loop and cptlib, side by side:

    python bench/trainer.py [--sizes tiny,small] [--rounds 3] [--steps 30] [--out bench/results/trainer.json]
    python bench/trainer.py --sizes 124M --device cuda --compile --bf16 --steps 200 --bs 32 --row-len 1024 --peak-tflops 989

Every run is a process of its own; the three take turns, round by round, each round beginning with another one. Counted are tokens per
second after the first steps, the peak of the process's memory (of the GPU's on a GPU), and the seconds from an imported library to the
end of the first optimizer step. The mean losses of the three must agree, or there is no comparison. Weights are random, rows too.
"""
import argparse, json, os, platform, resource, subprocess, sys, tempfile, time
from importlib.metadata import version
from pathlib import Path
import numpy as np

SIZES = dict(tiny=dict(n_embd=128, n_layer=4, n_head=4, vocab_size=2048), small=dict(n_embd=384, n_layer=6, n_head=6, vocab_size=8192),
             medium=dict(n_embd=512, n_layer=8, n_head=8, vocab_size=16384), **{'124M': dict(n_embd=768, n_layer=12, n_head=12, vocab_size=50257)})
ARMS, COLORS, WARM = ('Trainer', 'PyTorch', 'cptlib'), ('#0072B2', '#E69F00', '#009E73'), 5

def make_model(a):
    "A GPT-2 or Llama of this size, without dropout, from its configuration."
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
    s = SIZES[a.sizes]; torch.manual_seed(0)
    if a.model == 'gpt2': return GPT2LMHeadModel(GPT2Config(**s, n_positions=a.row_len, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=None, eos_token_id=None))
    return LlamaForCausalLM(LlamaConfig(vocab_size=s['vocab_size'], hidden_size=s['n_embd'], intermediate_size=4*s['n_embd'], num_hidden_layers=s['n_layer'],
                                        num_attention_heads=s['n_head'], max_position_embeddings=a.row_len, tie_word_embeddings=True, bos_token_id=None, eos_token_id=None))

def make_mixture(a):
    "Two sources of random tokens: the same rows for all three."
    from cptlib.data.mixture import Mixture
    from cptlib.data.source import Source
    rng, n = np.random.default_rng(0), a.bs*a.steps
    sources = [Source.from_tokens(name, rng.integers(0, SIZES[a.sizes]['vocab_size'], n*a.row_len + 1, dtype=np.uint32), f'{a.tmp}/{a.sizes}-{name}', a.row_len,
                                  vocab_size=SIZES[a.sizes]['vocab_size']) for name in 'ab']
    return Mixture(sources, dict(a=.7, b=.3), bs=a.bs, steps=a.steps), sources

class Clock:
    "When steps ended; waits for a GPU only where the measured stretch begins and ends."
    def __init__(self, a): self.a, self.n, self.start = a, 0, time.perf_counter()
    def tick(self):
        self.n += 1
        if self.n not in (1, WARM, self.a.steps): return
        if self.a.device == 'cuda': import torch; torch.cuda.synchronize()
        now = time.perf_counter()
        if self.n == 1: self.first = now - self.start
        if self.n == WARM: self.warm = now
        if self.n == self.a.steps: self.rate = (self.n - WARM)*self.a.bs*self.a.row_len/(now - self.warm)

def run_plain(a, clock):
    import torch, torch.nn.functional as F
    from cptlib.learner import decay_groups
    model, (mix, _) = make_model(a).to(a.device), make_mixture(a)
    net = torch.compile(model) if a.compile else model
    opt = torch.optim.AdamW([dict(params=g, weight_decay=w) for g, w in zip(decay_groups(model), (.1, 0.))], lr=1e-4, betas=(.9, .95), fused=True)
    total = torch.zeros((), device=a.device)
    for tokens, *_ in mix:
        tokens = tokens.to(a.device, non_blocking=True); x, y = tokens[:, :-1], tokens[:, 1:]
        with torch.autocast(a.device, torch.bfloat16, enabled=a.bf16): logits = net(input_ids=x, use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten())
        loss.backward(); torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
        opt.step(); opt.zero_grad(); total += loss.detach(); clock.tick()
    return float(total/a.steps)

def run_trainer(a, clock):
    import torch
    from torch.utils.data import Dataset, SequentialSampler
    from transformers import Trainer, TrainerCallback, TrainingArguments
    mix, _ = make_mixture(a)
    plan = [mix.plan(k) for k in range(a.steps)]
    source, row = (np.concatenate([getattr(p, n) for p in plan]) for n in ('source', 'row'))
    class Rows(Dataset):
        def __len__(self): return len(row)
        def __getitem__(self, i): return mix.sources[source[i]].take(row[i:i+1])[0]
    def collate(rows): t = torch.from_numpy(np.stack(rows)).long(); x, y = t[:, :-1].contiguous(), t[:, 1:].contiguous(); return dict(input_ids=x, labels=y, shift_labels=y)
    class Tick(TrainerCallback):
        def on_step_end(self, *args, **kwargs): clock.tick()
    class Ordered(Trainer):
        def _get_train_sampler(self, *args): return SequentialSampler(self.train_dataset)
    args = TrainingArguments(output_dir=f'{a.tmp}/out', max_steps=a.steps, per_device_train_batch_size=a.bs, learning_rate=1e-4, lr_scheduler_type='constant', weight_decay=.1,
                             adam_beta2=.95, max_grad_norm=1., optim='adamw_torch_fused', logging_steps=10**6, save_strategy='no', report_to='none', disable_tqdm=True,
                             use_cpu=a.device == 'cpu', bf16=a.bf16, torch_compile=a.compile, remove_unused_columns=False, dataloader_pin_memory=a.device == 'cuda')
    trainer = Ordered(make_model(a), args, data_collator=collate, train_dataset=Rows(), callbacks=[Tick()])
    return float(trainer.train().training_loss)

def run_cptlib(a, clock):
    import torch
    from cptlib.callback.core import LeanCallback
    from cptlib.learner import cpt_learner
    class Logits(torch.nn.Module):
        def __init__(self, model): super().__init__(); self.model, self.vocab_size = model, model.config.vocab_size
        def forward(self, x): return self.model(input_ids=x, use_cache=False).logits
    class Tick(LeanCallback):
        order, run_valid = 99, False
        def before_fit(self): self.total = torch.zeros((), device=a.device)
        def after_batch(self): self.total += self.loss.detach(); clock.tick()
    model, (mix, sources) = Logits(make_model(a)), make_mixture(a)
    if a.compile: model.model = torch.compile(model.model)
    learn = cpt_learner(model, mix, sources, every=a.steps, rows=1, lr=1e-4, bf16=a.bf16, device=torch.device(a.device), cbs=[tick := Tick()])
    with learn.quietly(): learn.fit(1, lr=1e-4)
    return float(tick.total/a.steps)

def child(a):
    import torch, cptlib.learner, transformers
    if a.device == 'cpu': torch.set_num_threads(a.threads)
    before, clock = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, None
    make_mixture(a) # written once, before the clock starts
    clock = Clock(a); loss = dict(Trainer=run_trainer, PyTorch=run_plain, cptlib=run_cptlib)[a.child](a, clock)
    peak = torch.cuda.max_memory_allocated() if a.device == 'cuda' else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024
    print('RESULT ' + json.dumps(dict(tokens_per_second=clock.rate, peak_bytes=peak, bytes_before=before*1024, first_step_seconds=clock.first, loss=loss,
                                      parameters=sum(p.numel() for p in make_model(a).parameters()))))

def flops_per_token(size, parameters, row_len):
    "Forward and backward: 6 for each parameter, and the attention (Chowdhery et al. 2022, appendix B)."
    return 6*parameters + 12*SIZES[size]['n_layer']*SIZES[size]['n_embd']*row_len

def one(a, arm, size):
    run = [sys.executable, __file__, '--child', arm, '--sizes', size] + sum(([f'--{k.replace("_", "-")}', str(getattr(a, k))] for k in ('model', 'device', 'bs', 'row_len', 'steps', 'threads', 'tmp')), [])
    run += [f'--{k}' for k in ('compile', 'bf16') if getattr(a, k)]
    done = subprocess.run(run, capture_output=True, text=True, env=dict(os.environ, TOKENIZERS_PARALLELISM='false', HF_HUB_OFFLINE='1'))
    found = [l for l in done.stdout.splitlines() if l.startswith('RESULT ')]
    if not found: raise RuntimeError(f'{arm} on {size} failed:\n{done.stderr[-3000:]}')
    return json.loads(found[0][7:])

def summary(a, size, runs):
    q = lambda arm, k: [float(v) for v in np.quantile([r[k] for r in runs[arm]], [0, .5, 1])]
    n, losses = runs['PyTorch'][0]['parameters'], {arm: runs[arm][0]['loss'] for arm in ARMS}
    if max(losses.values()) - min(losses.values()) > (.02 if a.bf16 else 1e-3): raise SystemExit(f'the losses differ, so this is no comparison: {losses}')
    res = dict(parameters=n, losses=losses, **{arm: {k: q(arm, k) for k in ('tokens_per_second', 'peak_bytes', 'first_step_seconds')} for arm in ARMS})
    res['ratio_to_Trainer'] = {arm: [r['tokens_per_second']/t['tokens_per_second'] for r, t in zip(runs[arm], runs['Trainer'])] for arm in ARMS[1:]}
    if a.peak_tflops: res['flops_utilisation'] = {arm: res[arm]['tokens_per_second'][1]*flops_per_token(size, n, a.row_len)/a.peak_tflops/1e12 for arm in ARMS}
    return res

def picture(res, out):
    import matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt
    fig, axs = plt.subplots(1, 3, figsize=(9, 2.8), layout='constrained')
    for ax, (k, scale, label) in zip(axs, (('tokens_per_second', 1e3, 'thousand tokens per second'), ('peak_bytes', 2**30, 'peak memory (GiB)'), ('first_step_seconds', 1, 'seconds to the first step'))):
        for i, (arm, c) in enumerate(zip(ARMS, COLORS)):
            low, mid, high = np.array([r[arm][k] for r in res['sizes'].values()]).T/scale
            ax.bar(np.arange(len(mid)) + .27*(i - 1), mid, .25, yerr=[mid - low, high - mid], color=c, label=arm, capsize=2)
        ax.set(xticks=range(len(mid)), xticklabels=[f'{s}\n{r["parameters"]/1e6:.1f}M' for s, r in res['sizes'].items()], title=label)
    axs[0].legend(); fig.savefig(Path(out).with_suffix('.png'), dpi=110)

def machine(a):
    import torch
    cpu = next((l.split(':')[1].strip() for l in open('/proc/cpuinfo') if 'model name' in l), '') if Path('/proc/cpuinfo').exists() else platform.processor()
    return dict(platform=platform.platform(), cpu=cpu, threads=a.threads, gpu=torch.cuda.get_device_name() if a.device == 'cuda' else None, python=platform.python_version(),
                **{p: version(p) for p in ('torch', 'transformers', 'accelerate', 'fastai')})

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--sizes', default='tiny,small', help=', '.join(SIZES)); p.add_argument('--model', default='gpt2', choices=['gpt2', 'llama'])
    p.add_argument('--rounds', type=int, default=3); p.add_argument('--steps', type=int, default=30); p.add_argument('--bs', type=int, default=8); p.add_argument('--row-len', type=int, default=128)
    p.add_argument('--device', default='cpu', choices=['cpu', 'cuda']); p.add_argument('--compile', action='store_true'); p.add_argument('--bf16', action='store_true')
    p.add_argument('--threads', type=int, default=os.cpu_count()); p.add_argument('--peak-tflops', type=float, help="of the GPU, for the share of it that is used")
    p.add_argument('--out', default='bench/results/trainer.json'); p.add_argument('--child', choices=ARMS, help=argparse.SUPPRESS); p.add_argument('--tmp', help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.child: child(a); sys.exit()
    res = dict(command='python bench/trainer.py ' + ' '.join(sys.argv[1:]), machine=machine(a), settings={k: getattr(a, k) for k in ('model', 'device', 'bs', 'row_len', 'steps', 'rounds', 'compile', 'bf16')},
               figures='smallest, median and largest of the rounds', sizes={})
    with tempfile.TemporaryDirectory() as a.tmp:
        for size in a.sizes.split(','):
            runs = {arm: [] for arm in ARMS}
            for r in range(a.rounds):
                for i in range(3): arm = ARMS[(i + r) % 3]; runs[arm].append(one(a, arm, size))
            res['sizes'][size] = summary(a, size, runs)
            print(size, json.dumps(res['sizes'][size]), flush=True)
            Path(a.out).parent.mkdir(parents=True, exist_ok=True); Path(a.out).write_text(json.dumps(res, indent=1) + '\n')
    picture(res, a.out)

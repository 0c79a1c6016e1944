"""Continued pre-training on several processes, from one script:

    torchrun --nproc_per_node 2 examples/distributed.py --cpu --out runs/two                  # two processes on this machine's CPU
    accelerate launch --multi_gpu --num_processes 2 examples/distributed.py --cpu --out runs/two  # the same
    accelerate launch --num_processes 8 examples/distributed.py --out runs/eight              # eight GPUs
    torchrun --nproc_per_node 8 examples/distributed.py --out runs/eight                      # the same
    python examples/distributed.py --out runs/one                                             # one process: the same losses

(`accelerate launch --cpu --num_processes 2` starts one process, whatever the number, where there is no MPI.)
Run it again with the same --out and it goes on where it was, on as many processes as it is given then.
"""
import argparse, json
from pathlib import Path
from accelerate import Accelerator
from cptlib.callback.distributed import Parallel
from cptlib.models.gpt import GPT
from cptlib.callback.guard import SpikeGuard
from cptlib.learner import cpt_learner
from cptlib.data.mixture import Mixture
from cptlib.data.source import embedded_sources
from fastai.basics import set_seed

p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
p.add_argument('--out', default='runs/distributed'); p.add_argument('--steps', type=int, default=60); p.add_argument('--bs', type=int, default=32)
p.add_argument('--width', type=int, default=64); p.add_argument('--depth', type=int, default=2); p.add_argument('--sharded', action='store_true', help='FSDP2 instead of DDP')
p.add_argument('--cpu', action='store_true', help='on the CPU, even where there are GPUs')
a = p.parse_args()
parallel, out = Parallel(Accelerator(cpu=a.cpu), a.sharded), Path(a.out) # joins the processes that the launcher has started
with parallel.accelerator.main_process_first():                          # one prepares the text, the others open it
    train, valid = (embedded_sources(row_len=96, split=s) for s in ('train', 'valid'))
set_seed(0)
mixture = Mixture(train, dict(prose=.5, code=.4, qa=.1), bs=a.bs, steps=a.steps, rank=parallel.rank, world=parallel.world)
learn = cpt_learner(GPT(256, 96, a.width, a.depth), mixture, valid, rows=32, device=parallel.device, cbs=[parallel, SpikeGuard()])
with learn.quietly(): learn.fit_cpt(resume=out/'checkpoints')
if parallel.rank == 0:
    out.mkdir(parents=True, exist_ok=True)
    (out/'losses.json').write_text(json.dumps(dict(world=parallel.world, smooth=[float(l) for l in learn.recorder.losses], log=learn.data_mix.log.to_dict('list'))))
    print(learn.cpt_report())

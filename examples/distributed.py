"""Continued pre-training on several processes, from one script.

    # two processes on this machine's CPU
    torchrun --nproc_per_node 2 examples/distributed.py --cpu --out runs/two
    accelerate launch --multi_gpu --num_processes 2 examples/distributed.py --cpu --out runs/two

    # eight GPUs
    torchrun --nproc_per_node 8 examples/distributed.py --out runs/eight
    accelerate launch --num_processes 8 examples/distributed.py --out runs/eight

    # one process: the same losses
    python examples/distributed.py --out runs/one

(Without MPI, `accelerate launch --cpu --num_processes 2` starts one process, whatever the number.)
Run it again with the same --out and it resumes, on as many processes as it gets then.
"""
import argparse, json
from pathlib import Path

from accelerate import Accelerator
from fastai.basics import set_seed

from cptlib.callback.distributed import Parallel
from cptlib.callback.guard import SpikeGuard
from cptlib.data.mixture import Mixture
from cptlib.data.source import embedded_sources
from cptlib.learner import cpt_learner
from cptlib.models.gpt import GPT

def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--out', type=Path, default=Path('runs/distributed'), help='folder of results')
    p.add_argument('--steps', type=int, default=60, help='training steps')
    p.add_argument('--bs', type=int, default=32, help='rows in a batch, of all processes together')
    p.add_argument('--width', type=int, default=64, help='width of the model')
    p.add_argument('--depth', type=int, default=2, help='blocks of the model')
    p.add_argument('--sharded', action='store_true', help='FSDP2 instead of DDP')
    p.add_argument('--cpu', action='store_true', help='on the CPU, even if there are GPUs')
    return p.parse_args()

def texts(parallel):
    "Training and validation sources; the first process prepares them, the others open them."
    with parallel.accelerator.main_process_first():
        return [embedded_sources(row_len=96, split=split) for split in ('train', 'valid')]

def save_losses(learn, path, world):
    smooth = [float(loss) for loss in learn.recorder.losses]
    found = dict(world=world, smooth=smooth, log=learn.data_mix.log.to_dict('list'))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))

def main():
    args = arguments()
    parallel = Parallel(Accelerator(cpu=args.cpu), args.sharded) # joins the launcher's processes
    train, valid = texts(parallel)
    set_seed(0)
    weights = dict(prose=.5, code=.4, qa=.1)
    mixture = Mixture(train, weights, bs=args.bs, steps=args.steps,
                      rank=parallel.rank, world=parallel.world)
    model = GPT(256, 96, args.width, args.depth)
    learn = cpt_learner(model, mixture, valid, rows=32, device=parallel.device,
                        cbs=[parallel, SpikeGuard()])
    with learn.quietly(): learn.fit_cpt(resume=args.out/'checkpoints')
    if parallel.rank: return
    save_losses(learn, args.out/'losses.json', parallel.world)
    print(learn.cpt_report())

if __name__ == '__main__': main()

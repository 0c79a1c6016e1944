"""Two machines prepare shards with datatrove, one of them dies, and the result is that of one.

    pip install datatrove datasets
    python experiments/datatrove_shards.py

Each "machine" is a process with its own ranks. The second one gets a SIGKILL in the middle of its
second shard, and is started again. Then the shards are joined, and compared with the same shards
prepared one after the other in a single process. Needs no network. The result goes to
`experiments/results/datatrove_shards.json`.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cptlib.data import prepare
from cptlib.data.source import Source
from cptlib.data.text import ByteTokenizer
from cptlib.report import machine

SHARDS, DOCUMENTS = 6, 60_000
RESULT = Path(__file__).parent/'results'/'datatrove_shards.json'

def documents(rank, kill_at=None):
    "The texts of one shard; the process is killed before one of them."
    for n, i in enumerate(range(rank, DOCUMENTS, SHARDS)):
        if n == kill_at: os.kill(os.getpid(), signal.SIGKILL)
        yield f'Document {i}. ' + 'It was a dark and stormy night. '*(i % 9)

def prepare_shard(home, rank, kill_at=None):
    "Prepare one shard as a source of its own."
    prepare.SAVE_EVERY = 0 # save after each batch, for this small test
    folder = Path(home)/f'shard-{rank}'
    Source.from_texts(f'web-{rank}', documents(rank, kill_at), ByteTokenizer(), folder, row_len=128)

def run_machine(home, number, kill_at):
    "What one of two machines does: its ranks of the job, one after the other."
    from datatrove.executor.local import LocalPipelineExecutor
    last = (number + 1)*SHARDS//2 - 2 # the rank before its last one

    def step(data, rank=0, world_size=1):
        prepare_shard(home, rank, kill_at if rank == last else None)

    LocalPipelineExecutor(
        [step], tasks=SHARDS, workers=1, logging_dir=str(Path(home)/'logs'),
        local_tasks=SHARDS//2, local_rank_offset=number*SHARDS//2).run()

def start(home, number, kill_at=None):
    command = [sys.executable, __file__, 'machine', str(home), str(number), str(kill_at)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

def contents(home):
    "The files of each shard, with their hashes."
    joined = Source.join('web', [home/f'shard-{i}' for i in range(SHARDS)], home/'all').verify()
    return joined.content, len(joined), [s.meta['files'] for s in joined.shards]

def main():
    begin, home = time.time(), Path(tempfile.mkdtemp())
    two, one = home/'two', home/'one'
    machines = [start(two, 0), start(two, 1, kill_at=5000)]
    codes = [m.wait() for m in machines]
    left = sorted(p.name for p in two.iterdir() if 'shard' in p.name)
    state = json.loads((two/'.shard-4.unfinished'/'unfinished.json').read_text())
    again = start(two, 1).wait()
    for rank in range(SHARDS): prepare_shard(one, rank)
    found, expected = contents(two), contents(one)
    result = dict(
        command='python experiments/datatrove_shards.py', shards=SHARDS, documents=DOCUMENTS,
        exit_codes=codes, after_the_kill=left, documents_saved=state['walked'], restarted=again,
        rows=found[1], content=found[0], content_of_one=expected[0],
        equal=found == expected, seconds=round(time.time() - begin), machine=machine())
    RESULT.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))
    if not result['equal']: sys.exit('the shards differ')

if __name__ == '__main__':
    if sys.argv[1:2] == ['machine']:
        kill_at = None if sys.argv[4] == 'None' else int(sys.argv[4])
        run_machine(Path(sys.argv[2]), int(sys.argv[3]), kill_at)
    else: main()

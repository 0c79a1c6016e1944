"""How fast `Mixture` serves rows, beside other ways to mix data, and how its cost grows.

Usage: `python bench/mixture.py [--only warm cold ...] [--quick]`

Three sources hold 200, 100 and 20 million random token ids (16 bits) in rows of 1024 + 1 tokens.
Weights are 0.5, 0.3 and 0.2, and a batch is 32 rows as an int64 tensor on the host. The data, and
the formats that other libraries need, are made once in `--data`, on a real disk, and used again.
A token counts once, as a target.

- `warm`: page cache warm, one process and one thread for each contender. Each contender lives in
  a process of its own, and they take turns of `--seconds` for `--rounds` rounds. Figures are the
  median and range over rounds, and ratios are taken within a round. `Mixture` gives row ids along
  with the tokens, the others need not. The random-row limit is numpy's `view[rows]` for the rows
  that `Mixture` serves, source by source and in the stored type: no planning, no widening, no
  batch. If a library can be used in several ways, we take the fastest that its documentation
  shows, or give each a line.
- `workers`: (x, y) from `MixtureLoader` with 0 and 2 worker processes, and torch's `DataLoader`
  with as many.
- `cold`: we drop the files from the page cache and read the first 200 batches in a fresh process.
  Reported are the speed, and how many bytes the disk gave for each byte asked for.
- `growth`: time to the first batch (with opening the sources) and anonymous memory, by size of
  the corpus (sparse files) and by the step of a loaded state. Time of a batch by number of
  sources (weights 1, 1/2, 1/3, ...), by length of rows (32768 tokens a batch), and by number of
  ranks that share a batch of 256 rows.
- `wait`: share of a fit that the demonstration model spends waiting for data, as
  `learn.data_mix.data_wait` says.

Libraries that are not installed are left out and reported. To have them all:
`pip install datasets torchdata grain litdata mosaicml-streaming`.
"""
import argparse
import ctypes
import datetime
import gc
import importlib.metadata
import json
import mmap
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path
os.environ.update(HF_HUB_OFFLINE='1', HF_DATASETS_DISABLE_PROGRESS_BARS='1',
                  TOKENIZERS_PARALLELISM='false', DO_NOT_TRACK='1')
warnings.simplefilter('ignore')
import numpy as np
import torch
import cptlib
# Child processes import what this one does.
os.environ.update(PYTHONSAFEPATH='1', PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
if os.environ.setdefault('BENCH_CPTLIB', cptlib.__file__) != cptlib.__file__:
    raise RuntimeError(f"a child process imported {cptlib.__file__}, "
                       f"not {os.environ['BENCH_CPTLIB']}")
from cptlib.data.disk import seal_folder
from cptlib.data.loader import MixtureLoader
from cptlib.data.mixture import Mixture
from cptlib.data.schedule import COLORS, constant
from cptlib.data.source import Source

VOCAB, ROW, BS = 50257, 1024, 32
WEIGHTS = dict(prose=.5, code=.3, qa=.2)
SIZES = dict(prose=200_000_000, code=100_000_000, qa=20_000_000)
PACKAGES = 'numpy torch fastai datasets pyarrow torchdata grain litdata mosaicml-streaming'.split()

# --- data ---

def once(path, make):
    "Call `make(path)` once. Interrupted work starts over."
    if (path/'done').exists(): return path
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    make(path)
    (path/'done').touch()
    return path

def make_sources(path, scale):
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        tokens = rng.integers(0, VOCAB, int(size*scale) + 1, dtype=np.uint16)
        Source.from_tokens(name, tokens, path/name, ROW, vocab_size=VOCAB)

def open_sources(data): return [Source.open(data/'sources'/n) for n in SIZES]

def views(data): return [s.view for s in open_sources(data)]

def make_arrow(path, data):
    import datasets
    import pyarrow as pa
    for s in open_sources(data):
        flat = np.ascontiguousarray(s.view).reshape(-1)
        rows = pa.FixedSizeListArray.from_arrays(pa.array(flat), ROW + 1)
        datasets.Dataset(pa.table(dict(tokens=rows))).save_to_disk(path/s.name)

def _pieces(part):
    "A piece of one source, for litdata."
    name, lo, hi, folder = part
    file = Path(folder)/name/'tokens.bin'
    yield torch.from_numpy(np.fromfile(file, np.uint16, hi - lo, offset=2*lo))

def make_litdata(path, data):
    import litdata
    piece, folder = 1000*(ROW + 1), str(data/'sources')
    for s in open_sources(data):
        n, parts = s.view.shape[0]*ROW, []
        for lo in range(0, n, piece):
            parts.append((s.name, lo, min(lo + piece, n), folder))
        litdata.optimize(_pieces, parts, str(path/s.name), chunk_size=8*piece, num_workers=1,
                         item_loader=litdata.TokensLoader(), start_method='spawn')

def make_mds(path, data):
    from streaming import MDSWriter
    columns = dict(tokens=f'ndarray:uint16:{ROW + 1}')
    for s in open_sources(data):
        with MDSWriter(out=str(path/s.name), columns=columns) as w:
            for row in s.view: w.write(dict(tokens=np.ascontiguousarray(row)))

def sparse_source(path, name, tokens, row_len=ROW):
    "A source of zeros that takes no room on the disk."
    folder = path/name
    if (folder/'source.json').exists(): return folder
    folder.mkdir(parents=True, exist_ok=True)
    rows = (tokens - 1)//row_len
    with open(folder/'tokens.bin', 'wb') as f: f.truncate(2*(rows*row_len + 1))
    sizes = dict(rows=rows, row_len=row_len, stride=row_len)
    rest = dict(dtype='<u2', vocab_size=VOCAB, left_out=0, content='zeros')
    seal_folder(folder, dict(name=name, **sizes, **rest))
    return folder

# --- contenders: each gives an endless iterator of int64 tensors [32, 1025] ---

def our_mixture(data, **kwargs):
    mixture = Mixture(open_sources(data), WEIGHTS, BS, 10**9, **kwargs)
    return (tokens for tokens, source, row in mixture)

def _rows_by_source(ids):
    "The rows of a batch as (source, rows) for each source."
    sources = np.unique(ids.source).tolist()
    return [(i, ids.row[ids.source == i]) for i in sources]

def _same_rows(data, steps=2**14):
    "A mixture, and the rows that it serves, step by step."
    m = Mixture(open_sources(data), WEIGHTS, BS, 10**9)
    return m, [_rows_by_source(m.plan(k)) for k in range(steps)]

def limit_random(data):
    m, rows = _same_rows(data)
    v = [s.view for s in m.sources]
    while True:
        for step in rows: yield [v[i][r] for i, r in step]

def limit_sequential(data):
    v = views(data)[0]
    while True:
        for i in range(0, len(v) - BS, BS): yield v[i:i + BS].copy()

class Rows(torch.utils.data.Dataset):
    "Rows of all sources under one numbering. A batch is fetched source by source."
    def __init__(self, data):
        self.views = views(data)
        sizes = [len(v) for v in self.views]
        self.ends = np.cumsum(sizes)
        self.starts = self.ends - sizes

    def __len__(self): return int(self.ends[-1])

    def __getitem__(self, i): return self.__getitems__([i])[0]

    def __getitems__(self, ids):
        ids = np.sort(np.asarray(ids)) # rows of one source together, as in Mixture
        cuts = np.searchsorted(ids, self.ends)
        parts = []
        for v, start, lo, hi in zip(self.views, self.starts, [0, *cuts], cuts):
            parts.append(v[ids[lo:hi] - start])
        return torch.from_numpy(np.concatenate(parts).astype(np.int64))

def _same(batch): return batch

def torch_sampler(data, loader=torch.utils.data.DataLoader, **kwargs):
    rows = Rows(data)
    weights = []
    for v, w in zip(rows.views, WEIGHTS.values()):
        weights.append(np.full(len(v), w/len(v)))
    weights = torch.from_numpy(np.concatenate(weights))
    sampler = torch.utils.data.WeightedRandomSampler(weights, len(rows))
    dl = loader(rows, BS, sampler=sampler, collate_fn=_same, drop_last=True, **kwargs)
    while True: yield from dl

def stateful_loader(data):
    from torchdata.stateful_dataloader import StatefulDataLoader
    return torch_sampler(data, StatefulDataLoader)

def _gather_rows(v, rows):
    "The rows named by (source, row) pairs, from the views `v`."
    source, row = np.array(rows).T
    parts = [view[row[source == i]] for i, view in enumerate(v)]
    return torch.from_numpy(np.concatenate(parts).astype(np.int64))

def nodes_mixed(data):
    import torchdata.nodes as tn
    v = views(data)
    def source(i):
        sampler = torch.utils.data.RandomSampler(range(len(v[i])))
        return tn.Mapper(tn.SamplerWrapper(sampler), lambda row: (i, row))
    def gather(rows): return _gather_rows(v, rows)
    sources = {n: source(i) for i, n in enumerate(WEIGHTS)}
    mixed = tn.MultiNodeWeightedSampler(sources, WEIGHTS, tn.StopCriteria.CYCLE_FOREVER)
    return iter(tn.Loader(tn.Mapper(tn.Batcher(mixed, BS), gather)))

def nodes_one_source(data):
    import torchdata.nodes as tn
    def source(v):
        shuffled = torch.utils.data.RandomSampler(range(len(v)))
        batches = torch.utils.data.BatchSampler(shuffled, BS, True)
        def gather(rows): return torch.from_numpy(v[rows].astype(np.int64))
        return tn.Mapper(tn.SamplerWrapper(batches), gather)
    sources = dict(zip(WEIGHTS, map(source, views(data))))
    mixed = tn.MultiNodeWeightedSampler(sources, WEIGHTS, tn.StopCriteria.CYCLE_FOREVER)
    return iter(tn.Loader(mixed))

def nano_crops(data):
    flat = [np.memmap(data/'sources'/n/'tokens.bin', np.uint16, 'r') for n in SIZES]
    w = torch.tensor(list(WEIGHTS.values()))
    while True:
        which = torch.multinomial(w, BS, replacement=True).tolist()
        places = torch.rand(BS, dtype=torch.float64).tolist()
        crops = []
        for s, u in zip(which, places):
            i = int(u*(len(flat[s]) - ROW))
            crops.append(torch.from_numpy(flat[s][i:i + ROW + 1].astype(np.int64)))
        yield torch.stack(crops)

def _one_thread_arrow():
    import pyarrow as pa
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)

def _as_torch(batch): return torch.from_numpy(np.asarray(batch).astype(np.int64))

def _interleaved(parts):
    "Endless batches of Hugging Face datasets, interleaved."
    import datasets
    ds = datasets.interleave_datasets(parts, list(WEIGHTS.values()), seed=0).with_format('numpy')
    while True:
        for batch in ds.iter(BS, drop_last_batch=True): yield _as_torch(batch['tokens'])

def hf_map(data):
    import datasets
    _one_thread_arrow()
    parts = [datasets.load_from_disk(str(data/'arrow'/n)) for n in SIZES]
    yield from _interleaved([p.shuffle(seed=i) for i, p in enumerate(parts)])

def hf_iterable(data):
    import datasets
    _one_thread_arrow()
    parts = [datasets.load_from_disk(str(data/'arrow'/n)).to_iterable_dataset(64) for n in SIZES]
    yield from _interleaved([p.shuffle(seed=i, buffer_size=1000) for i, p in enumerate(parts)])

def litdata_combined(data):
    import litdata
    def source(name):
        loader = litdata.TokensLoader(ROW + 1)
        folder = str(data/'litdata'/name)
        return litdata.StreamingDataset(folder, item_loader=loader, shuffle=True, drop_last=True)
    parts, weights = [source(n) for n in SIZES], list(WEIGHTS.values())
    mixed = litdata.CombinedStreamingDataset(parts, 0, weights, iterate_over_all=False)
    dl = litdata.StreamingDataLoader(mixed, batch_size=BS, num_workers=0, drop_last=True)
    while True:
        for batch in dl: yield batch.long()

def _grain_batches(mixed):
    import grain
    return iter(mixed.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)))

def grain_rows(data):
    import grain
    sources = [grain.MapDataset.source(v) for v in views(data)]
    parts = [s.shuffle(i).repeat() for i, s in enumerate(sources)]
    mixed = grain.MapDataset.mix(parts, list(WEIGHTS.values()))
    return _grain_batches(mixed.batch(BS).map(_as_torch))

def grain_ids(data):
    import grain
    v = views(data)
    def source(i):
        rows = grain.MapDataset.range(len(v[i])).shuffle(i).repeat()
        return rows.map(lambda row: (i, row))
    def gather(ids): return _gather_rows(v, ids)
    parts = [source(i) for i in range(len(v))]
    mixed = grain.MapDataset.mix(parts, list(WEIGHTS.values()))
    return _grain_batches(mixed.batch(BS, batch_fn=gather))

def mosaic(data):
    from streaming import Stream, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory
    clean_stale_shared_memory()
    streams = []
    for name, w in WEIGHTS.items():
        streams.append(Stream(local=str(data/'mds'/name), proportion=w))
    ds = StreamingDataset(streams=streams, shuffle=True, batch_size=BS)
    while True:
        dl = torch.utils.data.DataLoader(ds, BS, drop_last=True)
        for batch in dl: yield batch['tokens'].long()

OURS, LIMIT = 'cptlib Mixture', 'numpy, the same rows (limit)'
WARM = {
    OURS: our_mixture,
    LIMIT: limit_random,
    'numpy, rows in sequence (limit)': limit_sequential,
    'torch WeightedRandomSampler': torch_sampler,
    'torchdata StatefulDataLoader': stateful_loader,
    'torchdata nodes, mixed batches': nodes_mixed,
    'torchdata nodes, one source a batch': nodes_one_source,
    'random crops, as in nanoGPT': nano_crops,
    'HF datasets interleave, map-style': hf_map,
    'HF datasets interleave, iterable': hf_iterable,
    'litdata Combined': litdata_combined,
    'grain mix, rows': grain_rows,
    'grain mix, row numbers': grain_ids,
    'MosaicML Streaming': mosaic,
}

# --- a race: every contender in a process of its own, in turn ---

def _check_batch(batch):
    "Raises ValueError unless `batch` holds token ids as it should."
    rows = batch[0] if isinstance(batch, (list, tuple)) else batch
    if not torch.is_tensor(rows): return
    if rows.dtype != torch.int64 or int(rows.max()) >= VOCAB:
        raise ValueError(f'a tensor of {rows.dtype}, largest token {int(rows.max())}')

def _contend(pipe, make, args, kwargs, warm, threads):
    "Warm up, then serve for as many seconds as `pipe` says, again and again."
    os.setsid()
    torch.set_num_threads(threads)
    try:
        it = iter(make(*args, **kwargs))
        first = next(it)
        start = time.perf_counter()
        _check_batch(first)
        while time.perf_counter() - start < warm: next(it)
    except ImportError as e: return pipe.send(f'not installed: {e.name}')
    except Exception as e: return pipe.send(f'failed: {type(e).__name__}: {str(e)[:200]}')
    pipe.send(None)
    while seconds := pipe.recv():
        n, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < seconds:
            next(it)
            n += 1
        pipe.send((now - start)/n)

def _hear(pipe, seconds=60):
    try: return pipe.recv() if pipe.poll(seconds) else f'failed: nothing heard for {seconds} s'
    except EOFError: return 'failed: its process ended'

def _end(p):
    "End a contender and all processes that it started."
    try: os.killpg(p.pid, signal.SIGKILL)
    except ProcessLookupError: pass
    p.join()

def _start(target, *args):
    "A process that runs `target(pipe, *args)`, and our end of the pipe."
    ours, theirs = CTX.Pipe()
    p = CTX.Process(target=target, args=(theirs, *args))
    p.start()
    theirs.close()
    return p, ours

def race(contenders, rounds, seconds, warm, threads=1):
    """Let contenders {name: (function, args, kwargs)} run in turn. Returns the seconds a batch of
    each, {name: [one for each round]}, and {name: why} for those that cannot run."""
    procs, out, why = {}, {}, {}
    try:
        for name, (make, args, kwargs) in contenders.items():
            procs[name] = _start(_contend, make, args, kwargs, warm, threads)
            if problem := _hear(procs[name][1]):
                why[name] = problem
                _end(procs.pop(name)[0])
                print(f'{name}: {problem}', flush=True)
        for _ in range(rounds):
            for name, (_, pipe) in procs.items():
                pipe.send(seconds)
                out.setdefault(name, []).append(_hear(pipe))
    finally:
        for p, _ in procs.values(): _end(p)
    return out, why

# Forks of a process that has only imported, where the system can.
FORKSERVER = 'forkserver' in multiprocessing.get_all_start_methods()
CTX = multiprocessing.get_context('forkserver' if FORKSERVER else 'spawn')
if FORKSERVER: CTX.set_forkserver_preload(['torch', 'cptlib.data.loader', 'cptlib.data.schedule'])

def _call(pipe, f, args):
    os.setsid()
    gc.collect() # otherwise the first collection copies all imports, in the middle of a measurement
    pipe.send(f(*args))

def fresh(f, *args):
    "What `f(*args)` returns in a process of its own."
    p, pipe = _start(_call, f, args)
    try: return pipe.recv()
    finally: _end(p)

def spread(x):
    low, median, high = np.min(x), np.median(x), np.max(x)
    return dict(median=float(median), low=float(low), high=float(high))

def bar(what, value, limit, at_least=True):
    passed = value >= limit if at_least else value <= limit
    return dict(what=what, value=value, limit=limit, passed=bool(passed))

# --- the sections ---

class Make:
    "A function of a path that can travel to another process: `f(path, *args)`."
    def __init__(self, f, *args): self.f, self.args = f, args

    def __call__(self, path): self.f(path, *self.args)

def _try_once(path, make):
    try: once(path, make)
    except Exception as e: return f'failed: {type(e).__name__}: {e}'

def prepare(data, scale):
    fresh(once, data/'sources', Make(make_sources, scale))
    for name, f in dict(arrow=make_arrow, litdata=make_litdata, mds=make_mds).items():
        problem = fresh(_try_once, data/name, Make(f, data))
        print(name, problem or 'is there', flush=True)

def speed(seconds, tokens=BS*ROW):
    "Millions of tokens a second."
    return tokens/np.array(seconds)/1e6

def warm(a):
    for f in (a.data/'sources').glob('*/tokens.bin'): f.read_bytes()
    contenders = {n: (f, (a.data,), {}) for n, f in WARM.items()}
    seconds, why = race(contenders, a.rounds, a.seconds, a.warm_up)
    speeds = {n: speed(t) for n, t in seconds.items()}
    peers = {n: v for n, v in speeds.items() if n != OURS and '(limit)' not in n}
    mixing = {n: v for n, v in peers.items() if 'one source a batch' not in n}
    fastest = np.max(list(peers.values()), axis=0)
    by_peer = speeds[OURS]/fastest
    by_mixing = speeds[OURS]/np.max(list(mixing.values()), axis=0)
    by_limit = speeds[OURS]/speeds[LIMIT]
    by_speed = sorted(speeds.items(), key=lambda o: -np.median(o[1]))
    bars = [
        bar('speed of Mixture to that of the fastest peer', float(np.median(by_peer)), 2),
        bar('speed of Mixture to that of the fastest peer that mixes sources within a batch, '
            'as Mixture does', float(np.median(by_mixing)), 2),
        bar('speed of Mixture to the random-row limit', float(np.median(by_limit)), .45),
    ]
    return dict(million_tokens_a_second={n: spread(v) for n, v in by_speed},
                left_out=why,
                fastest_peer=max(peers, key=lambda n: np.median(peers[n])),
                to_fastest_peer=spread(by_peer),
                to_fastest_peer_that_mixes_in_a_batch=spread(by_mixing),
                to_random_rows=spread(by_limit),
                fastest_peer_to_random_rows=spread(fastest/speeds[LIMIT]),
                rounds=a.rounds, seconds=a.seconds, bars=bars)

def _loader(data, workers, passes=10**6):
    mixture = Mixture(open_sources(data), WEIGHTS, BS, 10**9)
    yield from MixtureLoader(mixture, passes, workers=workers)

def workers(a):
    both = {}
    for w in (0, 2):
        both[f'MixtureLoader, {w} workers'] = (_loader, (a.data,), dict(workers=w))
        both[f'torch DataLoader, {w} workers'] = (torch_sampler, (a.data,), dict(num_workers=w))
    seconds, why = race(both, a.rounds, a.seconds, a.warm_up)
    speeds = {n: spread(speed(t)) for n, t in seconds.items()}
    return dict(million_tokens_a_second=speeds, left_out=why, bars=[])

def _evict(data):
    "Drop the sources from the page cache. Returns the share of their pages that is still there."
    there, pages, libc = 0, 0, ctypes.CDLL(None, use_errno=True)
    for f in (data/'sources').glob('*/tokens.bin'):
        with open(f, 'rb') as o:
            os.fsync(o.fileno())
            os.posix_fadvise(o.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        m = np.memmap(f, np.uint8, 'r')
        state = np.zeros(-(-len(m)//mmap.PAGESIZE), np.uint8)
        start, size = ctypes.c_void_p(m.ctypes.data), ctypes.c_size_t(len(m))
        failed = libc.mincore(start, size, ctypes.c_void_p(state.ctypes.data))
        if failed: raise OSError(ctypes.get_errno(), 'mincore')
        there += int((state & 1).sum())
        pages += len(state)
    return there/pages

def _proc_number(file, field):
    "The number beside `field` in a file of /proc/self."
    with open(f'/proc/self/{file}') as lines:
        line = next(l for l in lines if l.startswith(field))
    return int(line.split()[1])

def _read_bytes(): return _proc_number('io', 'read_bytes')

def _cold_rows(data, steps, advise=None, ahead=0):
    """The same rows by memory maps of our own, with some advice for the kernel, or with requests
    `ahead` batches before."""
    _, rows = _same_rows(data, steps)
    flat = [np.memmap(data/'sources'/n/'tokens.bin', np.uint16, 'r') for n in SIZES]
    def as_rows(f, n):
        return np.lib.stride_tricks.as_strided(f, (n, ROW + 1), (2*ROW, 2))
    v = [as_rows(f, len(s)) for f, s in zip(flat, open_sources(data))]
    if advise is not None:
        for f in flat: f._mmap.madvise(advise)
    def ask(step):
        for i, r in step:
            for o in r.tolist():
                at = 2*ROW*o//mmap.PAGESIZE*mmap.PAGESIZE
                flat[i]._mmap.madvise(mmap.MADV_WILLNEED, at, 2*ROW*o + 2*ROW + 2 - at)
    yield
    for k, step in enumerate(rows):
        if ahead and k % ahead == 0:
            for o in rows[k:k + ahead]: ask(o)
        parts = [v[i][r] for i, r in step]
        yield torch.from_numpy(np.concatenate(parts).astype(np.int64))

def _cold_iterated(data, steps):
    m = Mixture(open_sources(data), WEIGHTS, BS, steps)
    yield
    for tokens, _, _ in m: yield tokens

def _cold_one(data, steps, make, args):
    torch.set_num_threads(1)
    it = make(data, steps, *args)
    next(it) # all is ready, and no token was read
    cached = _evict(data)
    bytes, start, first = _read_bytes(), time.perf_counter(), None
    for _ in range(steps):
        next(it)
        first = first or time.perf_counter() - start
    seconds = time.perf_counter() - start
    useful = steps*BS*(ROW + 1)*2
    return dict(speed=float(speed(seconds/steps)), amplification=(_read_bytes() - bytes)/useful,
                first_ms=first*1e3, cached_before=cached)

def cold(a):
    default = 'numpy, read-ahead of the kernel'
    arms = {
        OURS: (_cold_iterated, ()),
        default: (_cold_rows, ()),
        'numpy, MADV_RANDOM': (_cold_rows, (mmap.MADV_RANDOM,)),
        'numpy, MADV_RANDOM, 16 batches asked for ahead': (_cold_rows, (mmap.MADV_RANDOM, 16)),
    }
    got = {n: [] for n in arms}
    for _ in range(a.cold_rounds):
        for n, (f, args) in arms.items():
            got[n].append(fresh(_cold_one, a.data, a.cold_steps, f, args))
    def values(n, field): return [o[field] for o in got[n]]
    ratio = np.array(values(OURS, 'speed'))/values(default, 'speed')
    fields = dict(million_tokens_a_second='speed', disk_bytes_a_useful_byte='amplification',
                  first_batch_ms='first_ms', cached_before='cached_before')
    res = {}
    for k, field in fields.items():
        res[k] = {n: spread(values(n, field)) for n in got}
    what = 'speed from a cold page cache to that with the read-ahead of the kernel'
    return res | dict(steps=a.cold_steps, rounds=a.cold_rounds, to_default=spread(ratio),
                      bars=[bar(what, float(np.median(ratio)), 4)])

def _anon():
    "MB of anonymous memory."
    return _proc_number('status', 'RssAnon')/1024

def _first_batch(paths, weights, step=0, batches=64):
    torch.set_num_threads(1)
    def mixture():
        sources = [Source.open(p) for p in paths]
        return Mixture(sources, weights, BS, 2*10**9)
    last = Source.open(paths[-1])
    Mixture([last], {last.name: 1}, BS, 2048).batch(0) # imports and the allocator are warm
    before, start, load = _anon(), time.perf_counter(), 0.
    m = mixture()
    if step:
        served = m.served_at(step).tolist()
        state = m.state_dict() | dict(step=step, served=served)
        start = time.perf_counter()
        m.load_state_dict(json.loads(json.dumps(state)))
        load = time.perf_counter() - start
    first = next(iter(m))
    seconds = time.perf_counter() - start
    same = not step or torch.equal(first[0], mixture().batch(step)[0])
    for _ in zip(range(batches), m): pass
    return dict(first_ms=seconds*1e3, load_ms=load*1e3, anonymous_MB=_anon() - before, same=same)

def _endless(sources, weights, bs):
    for tokens, _, _ in Mixture(sources, weights, bs, 10**9): yield tokens

def _many(paths, bs):
    sources = [Source.open(p) for p in paths]
    weights = {s.name: 1/(i + 1) for i, s in enumerate(sources)}
    return _endless(sources, constant(weights, floor=0), bs)

def _rank(data, world):
    m = Mixture(open_sources(data), WEIGHTS, 256, 10**9, rank=world - 1, world=world)
    return (b[0] for b in m)

def _long(data, row_len):
    def cut(s):
        rows = (len(s)*ROW)//row_len
        return Source(s.path, s.meta | dict(row_len=row_len, stride=row_len, rows=rows))
    return _endless([cut(s) for s in open_sources(data)], WEIGHTS, 32768//row_len)

def _medians(runs, keys):
    out = {}
    for k in keys: out[k] = float(np.median([r[k] for r in runs]))
    return out

def _by_corpus(a):
    "First batch and memory, for each size of the corpus in tokens."
    all_tokens, out = sum(SIZES.values()), {}
    for t in a.corpora:
        folder, paths = a.data/'sparse'/f'{t}', []
        for name, size in SIZES.items():
            paths.append(sparse_source(folder, name, int(t*size/all_tokens)))
        runs = [fresh(_first_batch, paths, WEIGHTS) for _ in range(a.repeat)]
        out[t] = _medians(runs, ('first_ms', 'anonymous_MB'))
    return out

def _by_step(a):
    "First batch, loading and memory, for each step of a loaded state."
    paths, out = [a.data/'sources'/n for n in SIZES], {}
    for s in (0, 10**3, 10**6, 10**9):
        runs = [fresh(_first_batch, paths, WEIGHTS, s) for _ in range(a.repeat)]
        out[s] = _medians(runs, ('first_ms', 'load_ms', 'anonymous_MB'))
        out[s]['same'] = all(r['same'] for r in runs)
    return out

def _sparse_sources(a, n):
    return [sparse_source(a.data/'sparse'/f'of{n}', f's{i}', a.many_tokens//n) for i in range(n)]

def growth(a):
    corpus, steps = _by_corpus(a), _by_step(a)
    def turns(make, arguments):
        contenders = {n: (make, args, {}) for n, args in arguments.items()}
        return race(contenders, a.rounds, a.seconds/2, a.warm_up)
    def micro(seconds):
        return {n: spread(np.array(v)*1e6) for n, v in seconds.items()}
    many, why = turns(_many, {n: (_sparse_sources(a, n), BS) for n in a.sources})
    long, _ = turns(_long, {n: (a.data, n) for n in a.rows})
    worlds = (1, 2, 4, 8)
    ranks, _ = turns(_rank, {n: (a.data, n) for n in worlds})
    smallest, largest = a.corpora[0], a.corpora[-1]
    more = corpus[largest]['anonymous_MB'] - corpus[smallest]['anonymous_MB']
    ratio = np.median(np.array(many[50])/many[3])
    same = all(s['same'] for s in steps.values())
    bars = [
        bar(f'MB of anonymous memory more with {largest/smallest:,.0f} times the tokens', more, 10,
            at_least=False),
        bar('time of a batch of 50 sources to that of 3', float(ratio), 5, at_least=False),
        bar('ms for a state at step 1,000,000,000', steps[10**9]['load_ms'], 5,
            at_least=False),
        bar('batches after a state equal those of an uninterrupted run', float(same), 1),
    ]
    return dict(by_corpus=corpus, by_step=steps, microseconds_by_sources=micro(many),
                microseconds_by_row=micro(long), microseconds_by_ranks=micro(ranks),
                left_out=why, bars=bars)

def _fit(steps, threads, workers):
    from cptlib.demo import demo_sources
    from cptlib.learner import cpt_learner
    from cptlib.models.gpt import GPT
    torch.set_num_threads(threads)
    train, valid = demo_sources()
    mix = Mixture(train, dict(prose=.5, code=.35, qa=.15), 16, steps)
    model = GPT(256, 96, 128, 2)
    learn = cpt_learner(model, mix, valid, every=steps, rows=16, device='cpu', workers=workers)
    with learn.quietly():
        start = time.perf_counter()
        learn.fit_cpt()
    ms = (time.perf_counter() - start)/steps*1e3
    wait_us = learn.dls.train.wait/steps*1e6
    return dict(data_wait=learn.data_mix.data_wait, ms_a_step=ms, wait_us_a_step=wait_us)

def wait(a):
    threads = sorted({1, os.cpu_count()})
    runs = {f'{t} threads': fresh(_fit, a.fit_steps, t, 0) for t in threads}
    longest = max(r['data_wait'] for r in runs.values())
    what = 'share of a fit of the demonstration model that is spent on waiting for data'
    return dict(fits=runs, steps=a.fit_steps, bars=[bar(what, longest, .01, at_least=False)])

# --- what comes out ---

def _cpu():
    info = Path('/proc/cpuinfo')
    if not info.exists(): return platform.processor()
    for line in info.read_text().splitlines():
        if 'model name' in line: return line.split(':')[1].strip()
    return ''

def _version(package):
    try: return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError: return None

def machine():
    return dict(cpu=_cpu(), cores=os.cpu_count(), system=platform.platform(),
                python=platform.python_version(), versions={p: _version(p) for p in PACKAGES})

def _is_spread(o): return isinstance(o, dict) and set(o) == {'median', 'low', 'high'}

def _short(o):
    if _is_spread(o): return f"{o['median']:10.4g}   ({o['low']:.4g} to {o['high']:.4g})"
    if isinstance(o, dict): return ', '.join(f'{k} {_short(v)}' for k, v in o.items())
    return f'{o:.4g}' if isinstance(o, float) else str(o)

def _print_section(name, r):
    print(f'\n{name}')
    for k, v in r.items():
        if k in ('bars', 'machine'): continue
        if not isinstance(v, dict) or not v or _is_spread(v):
            print(f'  {k}: {_short(v)}')
            continue
        print(f'  {k}')
        for n, o in v.items(): print(f'    {str(n):48} {_short(o)}')
    for b in r['bars']:
        verdict = 'PASSED' if b['passed'] else 'FAILED'
        print(f"  {verdict}: {b['what']}: {b['value']:.4g} (bar: {b['limit']})")

def table(res):
    for name, r in res.items(): _print_section(name, r)

def _bar_color(name):
    if name.startswith(('cptlib', 'MixtureLoader')): return COLORS[1]
    return '#999999' if '(limit)' in name else COLORS[0]

def _bars(ax, d, title, unit):
    names = list(d)[::-1]
    mid = [d[n]['median'] for n in names]
    below = [d[n]['median'] - d[n]['low'] for n in names]
    above = [d[n]['high'] - d[n]['median'] for n in names]
    colors = [_bar_color(n) for n in names]
    ax.barh(names, mid, color=colors, xerr=[below, above], ecolor='black')
    for i, (n, m) in enumerate(zip(names, mid)):
        text = f' {m:,.3g}' if m < 1000 else f' {m:,.0f}'
        ax.text(d[n]['high'], i, text, va='center', fontsize=8)
    ax.set(title=title, xlabel=unit)
    ax.margins(x=.15)
    ax.tick_params(labelsize=8)

def _tick(v):
    if v < 1e6: return f'{v:,.0f}'
    return f'{v:.2g}'.replace('e+0', 'e').replace('e+', 'e')

def _curve(ax, d, title, xlabel, ylabel, key=None, color=0, label=None):
    x = [float(k) for k in d]
    y = [v[key] if key else v['median'] for v in d.values()]
    ax.plot(x, y, 'o-', color=COLORS[color], label=label)
    if not key:
        low, high = ([v[k] for v in d.values()] for k in ('low', 'high'))
        ax.fill_between(x, low, high, color=COLORS[color], alpha=.2)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, xscale='symlog' if 0 in x else 'log')
    ax.set_ylim(0)
    ax.set_xticks(x, [_tick(v) for v in x])
    ax.minorticks_off()

def _draw_wait(ax, fits):
    def percent(f): return dict.fromkeys(('median', 'low', 'high'), 100*f['data_wait'])
    _bars(ax, {n: percent(f) for n, f in fits.items()}, 'Waiting for data in a fit', '% of the fit')
    ax.axvline(1, color='black', ls='--', lw=1)

def _time_and_memory(ax, d, title, xlabel, what):
    _curve(ax, d, title, xlabel, 'ms | MB', 'first_ms', 0, what)
    _curve(ax, d, title, xlabel, 'ms | MB', 'anonymous_MB', 1, 'MB of anonymous memory')
    ax.legend()

def _draw_growth(axes, r):
    _time_and_memory(axes[0], r['by_corpus'], 'A larger corpus', 'tokens', 'ms to the first batch')
    _time_and_memory(axes[1], r['by_step'], 'A later step', 'step', 'ms from a state to its batch')
    _curve(axes[2], r['microseconds_by_sources'], 'More sources', 'sources', 'microseconds a batch')
    _curve(axes[3], r['microseconds_by_row'], 'Longer rows, as many tokens', 'tokens in a row',
           'microseconds a batch')
    if 'microseconds_by_ranks' not in r: return
    _curve(axes[4], r['microseconds_by_ranks'], 'More ranks, 256 rows in all', 'ranks',
           'microseconds a batch and rank')

def draw(res, path):
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    plt.rcParams['svg.hashsalt'] = 'cptlib'
    fig, axes = plt.subplots(5, 2, figsize=(11, 17), layout='constrained',
                             height_ratios=[1.7, 1, 1, 1, 1])
    axes, unit = axes.ravel(), 'million tokens a second'
    titles = dict(warm='Warm page cache, one thread', cold='Cold page cache',
                  workers='Worker processes')
    for ax, (name, title) in zip(axes, titles.items()):
        if name in res: _bars(ax, res[name]['million_tokens_a_second'], title, unit)
    if 'wait' in res: _draw_wait(axes[3], res['wait']['fits'])
    if 'growth' in res: _draw_growth(axes[4:], res['growth'])
    axes[9].set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, metadata=dict(Date=None) if path.suffix == '.svg' else None)
    plt.close(fig)

SECTIONS = dict(warm=warm, workers=workers, cold=cold, growth=growth, wait=wait)

# Settings that have no option of their own.
FULL = dict(cold_steps=200, cold_rounds=3, fit_steps=100, warm_up=1., repeat=3,
            sources=(2, 3, 10, 50, 200, 1000),
            rows=(64, 256, 1024, 4096, 32768),
            corpora=(64_000_000, 640_000_000, 6_400_000_000, 64_000_000_000),
            many_tokens=320_000_000)
QUICK = dict(cold_steps=50, cold_rounds=1, fit_steps=10, warm_up=.1, repeat=1,
             sources=(3, 50),
             rows=(64, 4096),
             corpora=(6_400_000, 64_000_000),
             many_tokens=32_000_000)

def settings():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--only', nargs='+', choices=SECTIONS, default=list(SECTIONS),
                   help='sections to run; the others keep what the results file has')
    p.add_argument('--quick', action='store_true',
                   help='small data, short turns: a smoke test, not a measurement')
    p.add_argument('--prepare', action='store_true', help='only make the data')
    p.add_argument('--data', type=Path, default=Path.home()/'.cache'/'cptlib-bench',
                   help='folder for the data, about 3 GB, on a real disk')
    p.add_argument('--rounds', type=int, default=7)
    p.add_argument('--seconds', type=float, default=.5, help='of each turn')
    p.add_argument('--out', type=Path, default=Path('bench/results/mixture.json'),
                   help='the picture goes beside it')
    a = p.parse_args()
    vars(a).update(QUICK if a.quick else FULL)
    if a.quick:
        a.rounds, a.seconds, a.data = 2, .15, a.data/'quick'
        a.out = a.data/'mixture.json'
    return a

def run_section(name, a):
    command = f'python bench/mixture.py --only {name} --rounds {a.rounds} --seconds {a.seconds:g}'
    today = f'{datetime.date.today()}'
    res = SECTIONS[name](a) | dict(command=command, date=today, machine=machine())
    return json.loads(json.dumps(res))

def main():
    a = settings()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('stopped'))
    start = time.perf_counter()
    prepare(a.data, .01 if a.quick else 1)
    if a.prepare: return
    res = json.loads(a.out.read_text()) if a.out.exists() else {}
    for name in a.only:
        begun = time.perf_counter()
        res[name] = run_section(name, a)
        a.out.parent.mkdir(parents=True, exist_ok=True)
        a.out.write_text(json.dumps(res, indent=1) + '\n') # each section as soon as it is there
        print(f'{name}: {time.perf_counter() - begun:.0f} s', flush=True)
    table({name: res[name] for name in a.only})
    draw(res, a.out.with_suffix('.svg'))
    print(f'\n{time.perf_counter() - start:.0f} s')

if __name__ == '__main__': main()

"""How fast `Mixture` serves rows, beside other ways to mix data, and how its cost grows: `python bench/mixture.py [--only warm cold ...] [--quick]`.

Three sources of 200, 100 and 20 million random token ids (16 bits), rows of 1024 + 1 tokens, weights 0.5, 0.3 and 0.2, batches of 32 rows as
int64 tensors on the host. Data and the peers' own formats are made once in `--data`, on a real disk, and used again. A token counts once, as a target.

- `warm`: page cache warm, one process and one thread a contender. Contenders live in processes of their own and take turns of `--seconds`, for
  `--rounds` rounds; figures are the median and range over rounds, ratios are taken within a round. `Mixture` gives row ids along with the tokens, the
  others need not. The random-row limit is numpy's `view[rows]` for the rows that `Mixture` serves, source by source, in the stored type: no planning,
  no widening, no batch. Where a peer can be used in several ways, the fastest that we found in its documentation is taken, or each has its line.
- `workers`: (x, y) from `MixtureLoader` with 0 and 2 worker processes, and torch's `DataLoader` with as many.
- `cold`: the files are dropped from the page cache, and read in a fresh process: the first `--cold-steps` batches, and the bytes that the disk gave for
  each byte that was asked for.
- `growth`: time to the first batch (opening the sources included) and anonymous memory against the size of the corpus (sparse files) and against the
  step that a state is loaded at; time of a batch against the number of sources (weights 1, 1/2, 1/3, ...), the length of rows (32768 tokens a batch), and the number of ranks that share a batch of 256 rows.
- `wait`: share of a fit that the demonstration model spends on waiting for data, as `learn.data_mix.data_wait` says.

Peers that are not installed are left out and reported: `pip install datasets torchdata grain litdata mosaicml-streaming`.
"""
import argparse, ctypes, datetime, gc, importlib.metadata, json, mmap, multiprocessing, os, platform, shutil, signal, sys, time, warnings
from pathlib import Path
os.environ.update(HF_HUB_OFFLINE='1', HF_DATASETS_DISABLE_PROGRESS_BARS='1', TOKENIZERS_PARALLELISM='false', DO_NOT_TRACK='1')
warnings.simplefilter('ignore')
import numpy as np, torch, cptlib
os.environ.update(PYTHONSAFEPATH='1', PYTHONPATH=os.pathsep.join(p for p in sys.path if p)) # child processes import what this one does
if os.environ.setdefault('BENCH_CPTLIB', cptlib.__file__) != cptlib.__file__: raise RuntimeError(f"a child process imported {cptlib.__file__}, not {os.environ['BENCH_CPTLIB']}")
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
    "Have `make(path)` done, once; interrupted work is begun anew."
    if (path/'done').exists(): return path
    shutil.rmtree(path, ignore_errors=True); path.mkdir(parents=True); make(path); (path/'done').touch()
    return path

def make_sources(path, scale):
    rng = np.random.default_rng(0)
    for n, size in SIZES.items(): Source.from_tokens(n, rng.integers(0, VOCAB, int(size*scale) + 1, dtype=np.uint16), path/n, ROW, vocab_size=VOCAB)

def open_sources(data): return [Source.open(data/'sources'/n) for n in SIZES]
def views(data): return [s.view for s in open_sources(data)]

def make_arrow(path, data):
    import datasets, pyarrow as pa
    for s in open_sources(data):
        flat = np.ascontiguousarray(s.view).reshape(-1)
        table = pa.table(dict(tokens=pa.FixedSizeListArray.from_arrays(pa.array(flat), ROW + 1)))
        datasets.Dataset(table).save_to_disk(path/s.name)

def _pieces(part): # of one source, for litdata
    name, lo, hi, folder = part
    yield torch.from_numpy(np.fromfile(Path(folder)/name/'tokens.bin', np.uint16, hi - lo, offset=2*lo))

def make_litdata(path, data):
    import litdata
    for s in open_sources(data):
        n, piece = s.view.shape[0]*ROW, 1000*(ROW + 1)
        parts = [(s.name, lo, min(lo + piece, n), str(data/'sources')) for lo in range(0, n, piece)]
        litdata.optimize(_pieces, parts, str(path/s.name), chunk_size=8*piece, num_workers=1, item_loader=litdata.TokensLoader(), start_method='spawn')

def make_mds(path, data):
    from streaming import MDSWriter
    for s in open_sources(data):
        with MDSWriter(out=str(path/s.name), columns=dict(tokens=f'ndarray:uint16:{ROW + 1}')) as w:
            for row in s.view: w.write(dict(tokens=np.ascontiguousarray(row)))

def sparse_source(path, name, tokens, row_len=ROW):
    "A source of zeros that takes no room on the disk."
    if (path/name/'source.json').exists(): return path/name
    (path/name).mkdir(parents=True, exist_ok=True)
    rows = (tokens - 1)//row_len
    with open(path/name/'tokens.bin', 'wb') as f: f.truncate(2*(rows*row_len + 1))
    seal_folder(path/name, dict(name=name, rows=rows, row_len=row_len, stride=row_len, dtype='<u2', vocab_size=VOCAB, left_out=0, content='zeros'))
    return path/name

# --- contenders: each gives an endless iterator of int64 tensors [32, 1025] ---

def our_mixture(data, **kwargs): return (tokens for tokens, source, row in Mixture(open_sources(data), WEIGHTS, BS, 10**9, **kwargs))

def _same_rows(data, steps=2**14):
    "The rows that `Mixture` serves, step by step, as (view, rows) for each source."
    m = Mixture(open_sources(data), WEIGHTS, BS, 10**9)
    return m, [[(i, p.row[p.source == i]) for i in np.unique(p.source).tolist()] for p in map(m.plan, range(steps))]

def limit_random(data):
    m, rows = _same_rows(data); v = [s.view for s in m.sources]
    while True:
        for step in rows: yield [v[i][r] for i, r in step]

def limit_sequential(data):
    v = views(data)[0]
    while True:
        for i in range(0, len(v) - BS, BS): yield v[i:i + BS].copy()

class Rows(torch.utils.data.Dataset):
    "Rows of all sources, numbered through; a batch is fetched source by source."
    def __init__(self, data): self.views = views(data); self.ends = np.cumsum([len(v) for v in self.views]); self.starts = self.ends - [len(v) for v in self.views]
    def __len__(self): return int(self.ends[-1])
    def __getitem__(self, i): return self.__getitems__([i])[0]
    def __getitems__(self, ids):
        ids = np.sort(np.asarray(ids)); cuts = np.searchsorted(ids, self.ends) # rows of one source together, as in Mixture
        parts = [v[ids[lo:hi] - start] for v, start, lo, hi in zip(self.views, self.starts, [0, *cuts], cuts)]
        return torch.from_numpy(np.concatenate(parts).astype(np.int64))

def _same(batch): return batch

def torch_sampler(data, loader=torch.utils.data.DataLoader, **kwargs):
    rows = Rows(data)
    weights = np.concatenate([np.full(len(v), w/len(v)) for v, w in zip(rows.views, WEIGHTS.values())])
    dl = loader(rows, BS, sampler=torch.utils.data.WeightedRandomSampler(torch.from_numpy(weights), len(rows)), collate_fn=_same, drop_last=True, **kwargs)
    while True: yield from dl

def stateful_loader(data):
    from torchdata.stateful_dataloader import StatefulDataLoader
    return torch_sampler(data, StatefulDataLoader)

def nodes_mixed(data):
    import torchdata.nodes as tn
    v = views(data); names = list(WEIGHTS)
    def source(i): return tn.Mapper(tn.SamplerWrapper(torch.utils.data.RandomSampler(range(len(v[i])))), lambda row: (i, row))
    def gather(rows):
        rows = np.array(rows)
        return torch.from_numpy(np.concatenate([v[i][rows[rows[:, 0] == i, 1]] for i in range(len(v))]).astype(np.int64))
    mixed = tn.MultiNodeWeightedSampler({n: source(i) for i, n in enumerate(names)}, WEIGHTS, tn.StopCriteria.CYCLE_FOREVER)
    return iter(tn.Loader(tn.Mapper(tn.Batcher(mixed, BS), gather)))

def nodes_one_source(data):
    import torchdata.nodes as tn
    def source(v):
        batches = torch.utils.data.BatchSampler(torch.utils.data.RandomSampler(range(len(v))), BS, True)
        return tn.Mapper(tn.SamplerWrapper(batches), lambda rows: torch.from_numpy(v[rows].astype(np.int64)))
    return iter(tn.Loader(tn.MultiNodeWeightedSampler(dict(zip(WEIGHTS, map(source, views(data)))), WEIGHTS, tn.StopCriteria.CYCLE_FOREVER)))

def nano_crops(data):
    flat, w = [np.memmap(data/'sources'/n/'tokens.bin', np.uint16, 'r') for n in SIZES], torch.tensor(list(WEIGHTS.values()))
    while True:
        which = torch.multinomial(w, BS, replacement=True).tolist()
        at = [int(u*(len(flat[s]) - ROW)) for s, u in zip(which, torch.rand(BS, dtype=torch.float64).tolist())]
        yield torch.stack([torch.from_numpy(flat[s][i:i + ROW + 1].astype(np.int64)) for s, i in zip(which, at)])

def _one_thread_arrow(): import pyarrow as pa; pa.set_cpu_count(1); pa.set_io_thread_count(1)

def _as_torch(batch): return torch.from_numpy(np.asarray(batch).astype(np.int64))

def hf_map(data):
    import datasets; _one_thread_arrow()
    parts = [datasets.load_from_disk(str(data/'arrow'/n)).shuffle(seed=i) for i, n in enumerate(SIZES)]
    ds = datasets.interleave_datasets(parts, list(WEIGHTS.values()), seed=0).with_format('numpy')
    while True: yield from (_as_torch(b['tokens']) for b in ds.iter(BS, drop_last_batch=True))

def hf_iterable(data):
    import datasets; _one_thread_arrow()
    parts = [datasets.load_from_disk(str(data/'arrow'/n)).to_iterable_dataset(64).shuffle(seed=i, buffer_size=1000) for i, n in enumerate(SIZES)]
    ds = datasets.interleave_datasets(parts, list(WEIGHTS.values()), seed=0).with_format('numpy')
    while True: yield from (_as_torch(b['tokens']) for b in ds.iter(BS, drop_last_batch=True))

def litdata_combined(data):
    import litdata
    parts = [litdata.StreamingDataset(str(data/'litdata'/n), item_loader=litdata.TokensLoader(ROW + 1), shuffle=True, drop_last=True) for n in SIZES]
    dl = litdata.StreamingDataLoader(litdata.CombinedStreamingDataset(parts, 0, list(WEIGHTS.values()), iterate_over_all=False), batch_size=BS, num_workers=0, drop_last=True)
    while True: yield from (b.long() for b in dl)

def grain_rows(data):
    import grain
    v = views(data)
    parts = [grain.MapDataset.source(o).shuffle(i).repeat() for i, o in enumerate(v)]
    ds = grain.MapDataset.mix(parts, list(WEIGHTS.values())).batch(BS).map(_as_torch)
    return iter(ds.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)))

def grain_ids(data):
    import grain
    v = views(data)
    def gather(ids):
        ids = np.array(ids)
        return torch.from_numpy(np.concatenate([v[i][ids[ids[:, 0] == i, 1]] for i in range(len(v))]).astype(np.int64))
    parts = [grain.MapDataset.range(len(o)).shuffle(i).repeat().map(lambda row, i=i: (i, row)) for i, o in enumerate(v)]
    ds = grain.MapDataset.mix(parts, list(WEIGHTS.values())).batch(BS, batch_fn=gather)
    return iter(ds.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)))

def mosaic(data):
    from streaming import Stream, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory
    clean_stale_shared_memory()
    ds = StreamingDataset(streams=[Stream(local=str(data/'mds'/n), proportion=w) for n, w in WEIGHTS.items()], shuffle=True, batch_size=BS)
    while True: yield from (b['tokens'].long() for b in torch.utils.data.DataLoader(ds, BS, drop_last=True))

OURS, LIMIT = 'cptlib Mixture', 'numpy, the same rows (limit)'
WARM = {OURS: our_mixture, LIMIT: limit_random, 'numpy, rows in sequence (limit)': limit_sequential,
        'torch WeightedRandomSampler': torch_sampler, 'torchdata StatefulDataLoader': stateful_loader,
        'torchdata nodes, mixed batches': nodes_mixed, 'torchdata nodes, one source a batch': nodes_one_source,
        'random crops, as in nanoGPT': nano_crops, 'HF datasets interleave, map-style': hf_map, 'HF datasets interleave, iterable': hf_iterable,
        'litdata Combined': litdata_combined, 'grain mix, rows': grain_rows, 'grain mix, row numbers': grain_ids, 'MosaicML Streaming': mosaic}

# --- a race: every contender in a process of its own, in turn ---

def _contend(pipe, make, args, kwargs, warm, threads):
    os.setsid(); torch.set_num_threads(threads)
    try:
        it = iter(make(*args, **kwargs)); first = next(it); start = time.perf_counter()
        rows = first[0] if isinstance(first, (list, tuple)) else first
        if torch.is_tensor(rows) and (rows.dtype != torch.int64 or int(rows.max()) >= VOCAB): raise ValueError(f'a tensor of {rows.dtype}, largest token {int(rows.max())}')
        while time.perf_counter() - start < warm: next(it)
    except ImportError as e: return pipe.send(f'not installed: {e.name}')
    except Exception as e: return pipe.send(f'failed: {type(e).__name__}: {str(e)[:200]}')
    pipe.send(None)
    while seconds := pipe.recv():
        n, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < seconds: next(it); n += 1
        pipe.send((now - start)/n)

def _hear(pipe, seconds=60):
    try: return pipe.recv() if pipe.poll(seconds) else f'failed: nothing heard for {seconds} s'
    except EOFError: return 'failed: its process ended'

def _end(p):
    "End a contender and all processes that it began."
    try: os.killpg(p.pid, signal.SIGKILL)
    except ProcessLookupError: pass
    p.join()

def race(contenders, rounds, seconds, warm, threads=1):
    "{name: (function, args, kwargs)} -> {name: [seconds a batch, one for each round]}, {name: why not}."
    procs, out, why = {}, {}, {}
    try:
        for n, (make, args, kwargs) in contenders.items():
            ours, theirs = CTX.Pipe()
            p = CTX.Process(target=_contend, args=(theirs, make, args, kwargs, warm, threads)); p.start(); theirs.close()
            procs[n] = p, ours
            if problem := _hear(ours): why[n] = problem; _end(procs.pop(n)[0]); print(f'{n}: {problem}', flush=True)
        for r in range(rounds):
            for n, (p, pipe) in procs.items(): pipe.send(seconds); out.setdefault(n, []).append(_hear(pipe))
    finally: [_end(p) for p, _ in procs.values()]
    return out, why

CTX = multiprocessing.get_context('forkserver' if 'forkserver' in multiprocessing.get_all_start_methods() else 'spawn') # forks of a process that has only imported
if CTX.get_start_method() == 'forkserver': CTX.set_forkserver_preload(['torch', 'cptlib.data.loader', 'cptlib.data.schedule'])

def _call(pipe, f, args): os.setsid(); gc.collect(); pipe.send(f(*args)) # else the first collection after the fork copies what was imported, in the middle of a measurement

def fresh(f, *args):
    "What `f(*args)` returns in a process of its own."
    ours, theirs = CTX.Pipe(); p = CTX.Process(target=_call, args=(theirs, f, args)); p.start(); theirs.close()
    try: return ours.recv()
    finally: _end(p)

def spread(x): x = np.asarray(x); return dict(median=float(np.median(x)), low=float(x.min()), high=float(x.max()))
def bar(what, value, limit, at_least=True): return dict(what=what, value=value, limit=limit, passed=bool(value >= limit if at_least else value <= limit))

# --- the sections ---

def prepare(data, scale):
    fresh(once, data/'sources', Make(make_sources, scale))
    for name, f in dict(arrow=make_arrow, litdata=make_litdata, mds=make_mds).items(): print(name, fresh(_try_once, data/name, Make(f, data)) or 'is there', flush=True)

class Make:
    def __init__(self, f, *args): self.f, self.args = f, args
    def __call__(self, path): self.f(path, *self.args)

def _try_once(path, make):
    try: once(path, make)
    except Exception as e: return f'failed: {type(e).__name__}: {e}'

def speed(seconds, tokens=BS*ROW): return tokens/np.array(seconds)/1e6

def warm(a):
    for f in (a.data/'sources').glob('*/tokens.bin'): f.read_bytes()
    s, why = race({n: (f, (a.data,), {}) for n, f in WARM.items()}, a.rounds, a.seconds, a.warm_up)
    speeds = {n: speed(t) for n, t in s.items()}
    peers = {n: v for n, v in speeds.items() if n != OURS and '(limit)' not in n}
    mixing = {n: v for n, v in peers.items() if 'one source a batch' not in n}
    fastest = np.max(list(peers.values()), axis=0)
    by_peer, by_mixing, by_limit = speeds[OURS]/fastest, speeds[OURS]/np.max(list(mixing.values()), axis=0), speeds[OURS]/speeds[LIMIT]
    return dict(million_tokens_a_second={n: spread(v) for n, v in sorted(speeds.items(), key=lambda o: -np.median(o[1]))}, left_out=why,
                fastest_peer=max(peers, key=lambda n: np.median(peers[n])), to_fastest_peer=spread(by_peer), to_fastest_peer_that_mixes_in_a_batch=spread(by_mixing), to_random_rows=spread(by_limit),
                fastest_peer_to_random_rows=spread(fastest/speeds[LIMIT]), rounds=a.rounds, seconds=a.seconds,
                bars=[bar('speed of Mixture to that of the fastest peer', float(np.median(by_peer)), 2),
                      bar('speed of Mixture to that of the fastest peer that mixes sources within a batch, as Mixture does', float(np.median(by_mixing)), 2), bar('speed of Mixture to the random-row limit', float(np.median(by_limit)), .45)])

def _loader(data, workers, passes=10**6): yield from MixtureLoader(Mixture(open_sources(data), WEIGHTS, BS, 10**9), passes, workers=workers)

def workers(a):
    both = {f'{n}, {w} workers': (f, (a.data,), {k: w}) for w in (0, 2) for n, f, k in (('MixtureLoader', _loader, 'workers'), ('torch DataLoader', torch_sampler, 'num_workers'))}
    s, why = race(both, a.rounds, a.seconds, a.warm_up)
    return dict(million_tokens_a_second={n: spread(speed(t)) for n, t in s.items()}, left_out=why, bars=[])

def _evict(data):
    "Drop the sources from the page cache; the share of their pages that is still there."
    there, pages, libc = 0, 0, ctypes.CDLL(None, use_errno=True)
    for f in (data/'sources').glob('*/tokens.bin'):
        with open(f, 'rb') as o: os.fsync(o.fileno()); os.posix_fadvise(o.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        m = np.memmap(f, np.uint8, 'r'); state = np.zeros(-(-len(m)//mmap.PAGESIZE), np.uint8)
        if libc.mincore(ctypes.c_void_p(m.ctypes.data), ctypes.c_size_t(len(m)), ctypes.c_void_p(state.ctypes.data)): raise OSError(ctypes.get_errno(), 'mincore')
        there, pages = there + int((state & 1).sum()), pages + len(state)
    return there/pages

def _read_bytes(): return int(next(l for l in open('/proc/self/io') if l.startswith('read_bytes')).split()[1])

def _cold_rows(data, steps, advise=None, ahead=0):
    "The same rows by memory maps of our own: with the kernel's read-ahead, without, or asked for `ahead` batches before."
    _, rows = _same_rows(data, steps)
    flat = [np.memmap(data/'sources'/n/'tokens.bin', np.uint16, 'r') for n in SIZES]
    v = [np.lib.stride_tricks.as_strided(f, (len(s), ROW + 1), (2*ROW, 2)) for f, s in zip(flat, open_sources(data))]
    if advise is not None: [f._mmap.madvise(advise) for f in flat]
    def ask(step):
        for i, r in step:
            for o in r.tolist(): at = 2*ROW*o//mmap.PAGESIZE*mmap.PAGESIZE; flat[i]._mmap.madvise(mmap.MADV_WILLNEED, at, 2*ROW*o + 2*ROW + 2 - at)
    yield
    for k, step in enumerate(rows):
        if ahead and k % ahead == 0: [ask(o) for o in rows[k:k + ahead]]
        yield torch.from_numpy(np.concatenate([v[i][r] for i, r in step]).astype(np.int64))

def _cold_mixture(data, steps, **kwargs):
    m = Mixture(open_sources(data), WEIGHTS, BS, 10**9, **kwargs)
    yield
    for _ in range(steps): yield m.batch(m.step)[0]; m.step += 1

def _cold_iterated(data, steps):
    m = Mixture(open_sources(data), WEIGHTS, BS, steps)
    yield
    yield from (b[0] for b in m)

def _cold_one(data, steps, make, args):
    torch.set_num_threads(1)
    it = make(data, steps, *args); next(it) # all is ready, no token was read
    cached, bytes, start, first = _evict(data), _read_bytes(), time.perf_counter(), None
    for _ in range(steps): next(it); first = first or time.perf_counter() - start
    seconds = time.perf_counter() - start
    return dict(speed=float(speed(seconds/steps)), amplification=(_read_bytes() - bytes)/(steps*BS*(ROW + 1)*2), first_ms=first*1e3, cached_before=cached)

def cold(a):
    arms = {'cptlib Mixture': (_cold_iterated, ()), 'numpy, read-ahead of the kernel': (_cold_rows, ()), 'numpy, MADV_RANDOM': (_cold_rows, (mmap.MADV_RANDOM,)),
            'numpy, MADV_RANDOM, 16 batches asked for ahead': (_cold_rows, (mmap.MADV_RANDOM, 16))}
    got = {n: [] for n in arms}
    for _ in range(a.cold_rounds):
        for n, (f, args) in arms.items(): got[n].append(fresh(_cold_one, a.data, a.cold_steps, f, args))
    ratio = np.array([o['speed'] for o in got['cptlib Mixture']])/[o['speed'] for o in got['numpy, read-ahead of the kernel']]
    fields = dict(million_tokens_a_second='speed', disk_bytes_a_useful_byte='amplification', first_batch_ms='first_ms', cached_before='cached_before')
    return {k: {n: spread([o[f] for o in v]) for n, v in got.items()} for k, f in fields.items()} | dict(
        steps=a.cold_steps, rounds=a.cold_rounds, to_default=spread(ratio), bars=[bar('speed from a cold page cache to that with the read-ahead of the kernel', float(np.median(ratio)), 4)])

def _anon(): return int(next(l for l in open('/proc/self/status') if l.startswith('RssAnon')).split()[1])/1024

def _first_batch(paths, weights, step=0, batches=64):
    torch.set_num_threads(1); Mixture([Source.open(paths[-1])], {paths[-1].name: 1}, BS, 2048).batch(0) # imports and the allocator are warm
    before, start = _anon(), time.perf_counter()
    m = Mixture([Source.open(p) for p in paths], weights, BS, 2*10**9); load = 0.
    if step: state = m.state_dict() | dict(step=step, served=m.served_at(step).tolist()); at = time.perf_counter(); m.load_state_dict(json.loads(json.dumps(state))); load = time.perf_counter() - at
    start = at if step else start
    first = next(iter(m)); seconds = time.perf_counter() - start
    same = bool((first[0] == Mixture([Source.open(p) for p in paths], weights, BS, 2*10**9).batch(step)[0]).all()) if step else True
    for _, b in zip(range(batches), m): pass
    return dict(first_ms=seconds*1e3, load_ms=load*1e3, anonymous_MB=_anon() - before, same=same)

def _endless(sources, weights, bs): return (b[0] for b in Mixture(sources, weights, bs, 10**9))
def _many(paths, bs): s = [Source.open(p) for p in paths]; return _endless(s, constant({o.name: 1/(i + 1) for i, o in enumerate(s)}, floor=0), bs)
def _rank(data, world): return (b[0] for b in Mixture(open_sources(data), WEIGHTS, 256, 10**9, rank=world - 1, world=world))
def _long(data, row_len):
    def cut(s): rows = (len(s)*ROW)//row_len; return Source(s.path, s.meta | dict(row_len=row_len, stride=row_len, rows=rows))
    return _endless([cut(s) for s in open_sources(data)], WEIGHTS, 32768//row_len)

def growth(a):
    sparse, corpus = a.data/'sparse', {}
    for t in a.corpora:
        paths = [sparse_source(sparse/f'{t}', n, int(t*SIZES[n]/320_000_000)) for n in SIZES]
        runs = [fresh(_first_batch, paths, WEIGHTS) for _ in range(a.repeat)]
        corpus[t] = {k: float(np.median([r[k] for r in runs])) for k in ('first_ms', 'anonymous_MB')}
    paths, steps = [a.data/'sources'/n for n in SIZES], {}
    for s in (0, 10**3, 10**6, 10**9):
        runs = [fresh(_first_batch, paths, WEIGHTS, s) for _ in range(a.repeat)]
        steps[s] = {k: float(np.median([r[k] for r in runs])) for k in ('first_ms', 'load_ms', 'anonymous_MB')} | dict(same=all(r['same'] for r in runs))
    def micro(t): return {n: spread(np.array(v)*1e6) for n, v in t.items()}
    kinds = {n: (_many, ([sparse_source(sparse/f'of{n}', f's{i}', a.many_tokens//n) for i in range(n)], BS), {}) for n in a.sources}
    many, why = race(kinds, a.rounds, a.seconds/2, a.warm_up)
    long, _ = race({n: (_long, (a.data, n), {}) for n in a.rows}, a.rounds, a.seconds/2, a.warm_up)
    ranks, _ = race({n: (_rank, (a.data, n), {}) for n in (1, 2, 4, 8)}, a.rounds, a.seconds/2, a.warm_up)
    more, ratio = corpus[a.corpora[-1]]['anonymous_MB'] - corpus[a.corpora[0]]['anonymous_MB'], np.array(many[50])/many[3]
    return dict(by_corpus=corpus, by_step=steps, microseconds_by_sources=micro(many), microseconds_by_row=micro(long), microseconds_by_ranks=micro(ranks), left_out=why, bars=[
        bar(f'MB of anonymous memory more with {a.corpora[-1]/a.corpora[0]:,.0f} times the tokens', more, 10, False), bar('time of a batch of 50 sources to that of 3', float(np.median(ratio)), 5, False),
        bar('ms for a state at step 1,000,000,000', steps[10**9]['load_ms'], 5, False), bar('batches after a state equal those of an uninterrupted run', float(all(s['same'] for s in steps.values())), 1)])

def _fit(steps, threads, workers):
    from cptlib.demo import demo_sources
    from cptlib.models.gpt import GPT
    from cptlib.learner import cpt_learner
    torch.set_num_threads(threads); train, valid = demo_sources()
    mix = Mixture(train, dict(prose=.5, code=.35, qa=.15), 16, steps)
    learn = cpt_learner(GPT(256, 96, 128, 2), mix, valid, every=steps, rows=16, device='cpu', workers=workers)
    with learn.quietly(): start = time.perf_counter(); learn.fit_cpt()
    return dict(data_wait=learn.data_mix.data_wait, ms_a_step=(time.perf_counter() - start)/steps*1e3, wait_us_a_step=learn.dls.train.wait/steps*1e6)

def wait(a):
    runs = {f'{t} threads': fresh(_fit, a.fit_steps, t, 0) for t in sorted({1, os.cpu_count()})}
    return dict(fits=runs, steps=a.fit_steps, bars=[bar('share of a fit of the demonstration model that is spent on waiting for data', max(r['data_wait'] for r in runs.values()), .01, False)])

# --- what comes out ---

def machine():
    cpu = next((l.split(':')[1].strip() for l in open('/proc/cpuinfo') if 'model name' in l), '') if Path('/proc/cpuinfo').exists() else platform.processor()
    def version(p):
        try: return importlib.metadata.version(p)
        except importlib.metadata.PackageNotFoundError: return None
    return dict(cpu=cpu, cores=os.cpu_count(), system=platform.platform(), python=platform.python_version(), versions={p: version(p) for p in PACKAGES})

def table(res):
    for name, r in res.items():
        print(f'\n{name}')
        for k, v in r.items():
            if k in ('bars', 'machine'): continue
            if not isinstance(v, dict) or not v or set(v) == {'median', 'low', 'high'}: print(f'  {k}: {_short(v)}'); continue
            print(f'  {k}')
            for n, o in v.items(): print(f'    {str(n):48} {_short(o)}')
        for b in r['bars']: print(f"  {'PASSED' if b['passed'] else 'FAILED'}: {b['what']}: {b['value']:.4g} (bar: {b['limit']})")

def _short(o):
    if isinstance(o, dict) and set(o) == {'median', 'low', 'high'}: return f"{o['median']:10.4g}   ({o['low']:.4g} to {o['high']:.4g})"
    if isinstance(o, dict): return ', '.join(f'{k} {v:.4g}' if isinstance(v, float) else f'{k} {v}' for k, v in o.items())
    return f'{o:.4g}' if isinstance(o, float) else str(o)

def _bars(ax, d, title, unit):
    names = list(d)[::-1]; mid = [d[n]['median'] for n in names]
    color = [COLORS[1] if n.startswith(('cptlib', 'MixtureLoader')) else '#999999' if '(limit)' in n else COLORS[0] for n in names]
    ax.barh(names, mid, color=color, xerr=[[d[n]['median'] - d[n]['low'] for n in names], [d[n]['high'] - d[n]['median'] for n in names]], ecolor='black')
    for i, m in enumerate(mid): ax.text(d[names[i]]['high'], i, f' {m:,.3g}' if m < 1000 else f' {m:,.0f}', va='center', fontsize=8)
    ax.set(title=title, xlabel=unit); ax.margins(x=.15); ax.tick_params(labelsize=8)

def _curve(ax, d, title, xlabel, ylabel, key=None, color=0, label=None):
    x, y = [float(k) for k in d], [(v[key] if key else v['median']) for v in d.values()]
    ax.plot(x, y, 'o-', color=COLORS[color], label=label)
    if not key: ax.fill_between(x, [v['low'] for v in d.values()], [v['high'] for v in d.values()], color=COLORS[color], alpha=.2)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, xscale='symlog' if 0 in x else 'log'); ax.set_ylim(0)
    ax.set_xticks(x, [f'{v:,.0f}' if v < 1e6 else f'{v:.2g}'.replace('e+0', 'e').replace('e+', 'e') for v in x]); ax.minorticks_off()

def draw(res, path):
    import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot as plt
    plt.rcParams['svg.hashsalt'] = 'cptlib'
    fig, axes = plt.subplots(5, 2, figsize=(11, 17), layout='constrained', height_ratios=[1.7, 1, 1, 1, 1]); axes = axes.ravel()
    if r := res.get('warm'): _bars(axes[0], r['million_tokens_a_second'], 'Warm page cache, one thread', 'million tokens a second')
    if r := res.get('cold'): _bars(axes[1], r['million_tokens_a_second'], 'Cold page cache', 'million tokens a second')
    if r := res.get('workers'): _bars(axes[2], r['million_tokens_a_second'], 'Worker processes', 'million tokens a second')
    if r := res.get('wait'):
        _bars(axes[3], {n: dict.fromkeys(('median', 'low', 'high'), 100*f['data_wait']) for n, f in r['fits'].items()}, 'Waiting for data in a fit', '% of the fit')
        axes[3].axvline(1, color='black', ls='--', lw=1)
    if r := res.get('growth'):
        _curve(axes[4], r['by_corpus'], 'A larger corpus', 'tokens', 'ms | MB', 'first_ms', 0, 'ms to the first batch')
        _curve(axes[4], r['by_corpus'], 'A larger corpus', 'tokens', 'ms | MB', 'anonymous_MB', 1, 'MB of anonymous memory'); axes[4].legend()
        _curve(axes[5], r['by_step'], 'A later step', 'step', 'ms | MB', 'first_ms', 0, 'ms from a state to its batch'); _curve(axes[5], r['by_step'], 'A later step', 'step', 'ms | MB', 'anonymous_MB', 1, 'MB of anonymous memory'); axes[5].legend()
        _curve(axes[6], r['microseconds_by_sources'], 'More sources', 'sources', 'microseconds a batch'); _curve(axes[7], r['microseconds_by_row'], 'Longer rows, as many tokens', 'tokens in a row', 'microseconds a batch')
        if 'microseconds_by_ranks' in r: _curve(axes[8], r['microseconds_by_ranks'], 'More ranks, 256 rows in all', 'ranks', 'microseconds a batch and rank')
    axes[9].set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True); fig.savefig(path, metadata=dict(Date=None) if path.suffix == '.svg' else None); plt.close(fig)

SECTIONS = dict(warm=warm, workers=workers, cold=cold, growth=growth, wait=wait)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--only', nargs='+', choices=SECTIONS, default=list(SECTIONS), help='sections to run; the others keep what the results file has')
    p.add_argument('--quick', action='store_true', help='small data, short turns: a smoke test, not a measurement')
    p.add_argument('--prepare', action='store_true', help='only make the data')
    p.add_argument('--data', type=Path, default=Path.home()/'.cache'/'cptlib-bench', help='folder for the data, about 3 GB, on a real disk')
    p.add_argument('--rounds', type=int, default=7); p.add_argument('--seconds', type=float, default=.5, help='of each turn')
    p.add_argument('--out', type=Path, default=Path('bench/results/mixture.json'), help='the picture goes beside it')
    a = p.parse_args()
    for k, full, quick in (('cold_steps', 200, 50), ('cold_rounds', 3, 1), ('fit_steps', 100, 10), ('warm_up', 1., .1), ('repeat', 3, 1), ('sources', (2, 3, 10, 50, 200, 1000), (3, 50)),
                           ('rows', (64, 256, 1024, 4096, 32768), (64, 4096)), ('many_tokens', 320_000_000, 32_000_000),
                           ('corpora', (64_000_000, 640_000_000, 6_400_000_000, 64_000_000_000), (6_400_000, 64_000_000))): setattr(a, k, quick if a.quick else full)
    if a.quick: a.rounds, a.seconds, a.data, a.out = 2, .15, a.data/'quick', a.data/'quick'/'mixture.json'
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('stopped'))
    start = time.perf_counter(); prepare(a.data, .01 if a.quick else 1)
    if a.prepare: return
    res = json.loads(a.out.read_text()) if a.out.exists() else {}
    for s in a.only:
        begun = time.perf_counter()
        res[s] = json.loads(json.dumps(SECTIONS[s](a) | dict(command=f"python bench/mixture.py --only {s} --rounds {a.rounds} --seconds {a.seconds:g}", date=f'{datetime.date.today()}', machine=machine())))
        a.out.parent.mkdir(parents=True, exist_ok=True); a.out.write_text(json.dumps(res, indent=1) + '\n') # each section as soon as it is there
        print(f'{s}: {time.perf_counter() - begun:.0f} s', flush=True)
    table({s: res[s] for s in a.only}); draw(res, a.out.with_suffix('.svg'))
    print(f'\n{time.perf_counter() - start:.0f} s')

if __name__ == '__main__': main()

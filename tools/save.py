"""Runs notebooks and saves their outputs, tidied: `python tools/save.py NOTEBOOK [NOTEBOOK ...]`.

Saved outputs are part of the page. Progress bars, escape codes and warnings of other packages are
taken out, and pictures get a palette, which makes them about a third as large. `--tidy` only
tidies the outputs that are there.
"""
import argparse, base64, io, json, os, re, subprocess, sys
from pathlib import Path
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
ENV = dict(MPLBACKEND='agg', TOKENIZERS_PARALLELISM='false', HF_HUB_OFFLINE='1')
BAR = re.compile(r'\d+(\.\d+)?% \[\d+/\d+|\|█+|█\||it/s\]|s/it\]|\d+%\|')
PROGRESS_HTML = re.compile(r'<style>\s*/\* Turns off.*?</style>|<div>\s*<progress.*?</div>'
    r'|<progress.*?</progress>', re.S)
EMPTY_HTML = re.compile(r'\s*(<p>\s*</p>)?\s*')

def joined(text): return text if isinstance(text, str) else ''.join(text)

def split(text): return text.splitlines(keepends=True)

def tidy_text(text):
    "Text without escape codes and progress bars, as a terminal would show it at the end."
    text = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', text)
    text = text.replace(f'{ROOT}/', '') # a warning names the file that it comes from
    lines = re.sub(r'\r\n', '\n', text).split('\n')
    shown = [line.rsplit('\r', 1)[-1] for line in lines] # each \r begins the line anew
    return '\n'.join(line for line in shown if not BAR.search(line))

def smaller(png):
    "The same picture with a palette of 128 colours, base64; the old one if that gains little."
    out = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    image = image.convert('RGBA') if image.mode in ('RGBA', 'LA', 'P') else image.convert('RGB')
    method = Image.Quantize.FASTOCTREE if image.mode == 'RGBA' else Image.Quantize.MEDIANCUT
    image.quantize(128, method=method, dither=Image.Dither.NONE).save(out, 'PNG', optimize=True)
    new = base64.b64encode(out.getvalue()).decode()
    return new if len(new) < .8*len(png) else png

def tidied(output):
    "A saved output without noise; None if nothing is left."
    if 'text' in output:
        text = joined(output['text'])
        foreign = output.get('name') == 'stderr' and 'site-packages' in text
        if foreign: return None # a warning of another package
        text = tidy_text(text)
        if not text.strip(): return None
        return output | dict(text=split(text))
    data = dict(output.get('data', {}))
    if 'text/html' in data:
        html = PROGRESS_HTML.sub('', joined(data['text/html']))
        if EMPTY_HTML.fullmatch(html): return None
        data['text/html'] = split(html)
    if 'image/png' in data: data['image/png'] = smaller(joined(data['image/png']))
    if 'text/plain' in data and BAR.search(joined(data['text/plain'])): return None
    return output | dict(data=data) if data else output

def tidy(path):
    "Rewrite the notebook at `path` with tidy outputs."
    nb = json.loads(path.read_text(encoding='utf-8'))
    for cell in nb['cells']:
        if cell['cell_type'] != 'code': continue
        outputs = [tidied(o) for o in cell['outputs']]
        cell['outputs'] = [o for o in outputs if o is not None]
    text = json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True)
    path.write_text(text + '\n', encoding='utf-8')

def tool(name): return str(Path(sys.executable).with_name(name))

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('paths', nargs='+', type=lambda p: Path(p).resolve(), help='notebooks')
    parser.add_argument('--flags', default='', help='run cells with these flags too, as in "slow"')
    parser.add_argument('--threads', default=1, type=int, help='threads that torch may use')
    parser.add_argument('--tidy', action='store_true', help='run nothing, tidy what is saved')
    args = parser.parse_args()
    for path in args.paths:
        if not args.tidy:
            command = [tool('nbdev-test'), str(path), '--save', '--flags', args.flags,
                       '--cell-timeout', '0'] # a real model takes its time
            threads = dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS'), str(args.threads))
            done = subprocess.run(command, cwd=ROOT, env={**os.environ, **ENV, **threads})
            if done.returncode: sys.exit(f'{path.name} failed; nothing was saved')
        subprocess.run([tool('nbdev-clean'), '--fname', str(path)], cwd=ROOT, check=True)
        tidy(path)

if __name__ == '__main__': main()

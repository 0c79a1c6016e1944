"""Writes README.md from nbs/index.ipynb: `python docs/readme.py`, or with `--check` says whether it is current.

Markdown is taken as it stands, code as a fenced block, saved outputs as text, tables or pictures (in docs/images/). Links to
notebooks lead to the documentation site, MyST notes become the kind that GitHub draws. The standard library is all it needs.
"""
import argparse, base64, json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = re.search(r'^Documentation\s*=\s*"(.+?)/?"', (ROOT/'pyproject.toml').read_text(encoding='utf-8'), re.M)[1]
ALERTS = dict(note='NOTE', tip='TIP', hint='TIP', important='IMPORTANT', warning='WARNING', attention='WARNING', caution='CAUTION', danger='CAUTION')

def joined(text): return ''.join(text)

def page(m):
    "](tutorials/01_first.ipynb#part) -> the address of that page on the site"
    folder, name = m[1].rpartition('/')[::2]
    return f"]({SITE}/{folder + '/' if folder else ''}{re.sub(r'^[0-9]+[a-z]?_', '', name)}.html{m[2] or ''})"

def markdown(text):
    "MyST and notebook links, as GitHub understands them"
    text = re.sub(r'\]\((?!https?:)([^)\s#]+)\.ipynb(#[^)\s]*)?\)', page, text)
    text = re.sub(r'\]\((?!https?:|#|/)(images/[^)\s]+)\)', r'](nbs/\1)', text)
    alert = lambda m: f'> [!{ALERTS.get(m[1], "NOTE")}]\n' + re.sub(r'^', '> ', m[2].strip(), flags=re.M)
    return re.sub(r'^:{3,}\{(\w+)\}[^\n]*\n(.*?)^:{3,}$', alert, text, flags=re.S | re.M)

def output(out, name, pictures):
    "One saved output as markdown; pictures are put into `pictures`"
    data = out.get('data', {})
    if 'image/png' in data:
        pictures[f'{name}.png'] = base64.b64decode(joined(data['image/png']))
        return f'![](docs/images/{name}.png)'
    if 'text/markdown' in data: return joined(data['text/markdown'])
    text = joined(out.get('text', '') or data.get('text/plain', '')).rstrip()
    return f'```text\n{text}\n```' if text else ''

def readme(nb):
    "(text of README.md, pictures by name)"
    parts, pictures = [], {}
    for i, cell in enumerate(nb['cells']):
        source = joined(cell['source'])
        flags = dict(re.findall(r'^#\|\s*([\w-]+):?\s*(.*)$', source, re.M))
        if cell['cell_type'] == 'markdown': parts.append(markdown(source))
        if cell['cell_type'] != 'code' or 'hide' in flags or flags.get('include') == 'false': continue
        code = re.sub(r'^#\|.*\n?', '', source, flags=re.M).strip()
        if code and flags.get('echo') != 'false': parts.append(f'```python\n{code}\n```')
        shown = [] if flags.get('output') == 'false' else [output(o, f'index_{cell.get("id", i)}_{j}', pictures) for j, o in enumerate(cell['outputs'])]
        alt = flags.get('fig-alt', '').strip(' "\'')
        parts += [s.replace('![](', f'![{alt}](', 1) for s in shown if s]
    return '<!-- Written by docs/readme.py from nbs/index.ipynb; edit that. -->\n\n' + '\n\n'.join(p.strip() for p in parts if p.strip()) + '\n', pictures

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--check', action='store_true', help='write nothing; fail if something would change')
    args = parser.parse_args()
    text, pictures = readme(json.loads((ROOT/'nbs'/'index.ipynb').read_text(encoding='utf-8')))
    files = {ROOT/'README.md': text.encode()} | {ROOT/'docs'/'images'/k: v for k, v in pictures.items()}
    old = [p for p in (ROOT/'docs'/'images').glob('index_*') if p not in files]
    stale = [p for p, content in files.items() if not p.exists() or p.read_bytes() != content]
    if args.check: sys.exit(f'Not current: {", ".join(p.name for p in stale + old)}; run python docs/readme.py' if stale or old else 0)
    for p in old: p.unlink()
    for p in stale: p.parent.mkdir(parents=True, exist_ok=True); p.write_bytes(files[p])

if __name__ == '__main__': main()

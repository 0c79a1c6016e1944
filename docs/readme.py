"""Writes README.md from nbs/index.ipynb: `python docs/readme.py [--check]`.

Markdown stays as it is, code becomes a fenced block, saved outputs become text, tables or
pictures (in docs/images/). Links to notebooks lead to the documentation site, MyST notes become
the kind that GitHub draws. Standard library only.
"""
import argparse, base64, json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = (ROOT/'pyproject.toml').read_text(encoding='utf-8')
SITE = re.search(r'^Documentation\s*=\s*"(.+?)/?"', PROJECT, re.M)[1]
ALERTS = dict(note='NOTE', tip='TIP', hint='TIP', important='IMPORTANT', warning='WARNING',
    attention='WARNING', caution='CAUTION', danger='CAUTION')

def joined(text): return ''.join(text)

def page(m):
    "](tutorials/01_first.ipynb#part) -> the address of that page on the site."
    folder, name = m[1].removeprefix('../').rpartition('/')[::2]
    name = re.sub(r'^[0-9]+_', '', name)
    return f"]({SITE}/{folder + '/' if folder else ''}{name}.html{m[2] or ''})"

def alert(m):
    "A MyST note as a GitHub alert."
    quoted = re.sub(r'^', '> ', m[2].strip(), flags=re.M)
    return f'> [!{ALERTS.get(m[1], "NOTE")}]\n{quoted}'

def markdown(text):
    "MyST and notebook links, as GitHub understands them."
    text = re.sub(r'\]\((?!https?:)([^)\s#]+)\.ipynb(#[^)\s]*)?\)', page, text)
    text = re.sub(r'\]\((?!https?:|#|/)(images/[^)\s]+)\)', r'](nbs/\1)', text)
    text = re.sub(r'^\{[.#][^}\n]*\}\n', '', text, flags=re.M) # classes, for the site
    return re.sub(r'^:{3,}\{(\w+)\}[^\n]*\n(.*?)^:{3,}$', alert, text, flags=re.S | re.M)

def output(out, name, alt, pictures):
    "One saved output as markdown; a picture is put into `pictures`."
    data = out.get('data', {})
    if 'image/png' in data:
        pictures[f'{name}.png'] = base64.b64decode(joined(data['image/png']))
        return f'![{alt}](docs/images/{name}.png)'
    if 'text/markdown' in data: return markdown(joined(data['text/markdown']))
    text = joined(out.get('text', '') or data.get('text/plain', '')).rstrip()
    return f'```text\n{text}\n```' if text else ''

def code_parts(cell, flags, pictures):
    "Code and outputs of a cell, as far as they are shown."
    code = re.sub(r'^#\|.*\n?', '', joined(cell['source']), flags=re.M).strip()
    if code and flags.get('echo') != 'false': yield f'```python\n{code}\n```'
    if flags.get('output') == 'false': return
    alt = flags.get('fig-alt', '').strip(' "\'')
    for j, out in enumerate(cell['outputs']):
        yield output(out, f'index_{cell["id"]}_{j}', alt, pictures)

def readme(nb):
    "(text of README.md, pictures by name)."
    parts, pictures = ['<!-- Written by docs/readme.py from nbs/index.ipynb; edit that. -->'], {}
    for cell in nb['cells']:
        source = joined(cell['source'])
        flags = dict(re.findall(r'^#\|\s*([\w-]+):?\s*(.*)$', source, re.M))
        if cell['cell_type'] == 'markdown': parts.append(markdown(source))
        elif 'hide' not in flags and flags.get('include') != 'false':
            parts += code_parts(cell, flags, pictures)
    return '\n\n'.join(p.strip() for p in parts if p.strip()) + '\n', pictures

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--check', action='store_true', help='write nothing; fail if not current')
    args = parser.parse_args()
    index = (ROOT/'nbs'/'index.ipynb').read_text(encoding='utf-8')
    text, pictures = readme(json.loads(index))
    images = ROOT/'docs'/'images'
    files = {images/name: picture for name, picture in pictures.items()}
    files[ROOT/'README.md'] = text.encode()
    old = [p for p in images.glob('index_*') if p not in files]
    stale = [p for p, content in files.items() if not p.exists() or p.read_bytes() != content]
    if args.check:
        names = ', '.join(p.name for p in stale + old)
        sys.exit(f'Not current: {names}; run python docs/readme.py' if names else 0)
    for p in old: p.unlink()
    for p in stale:
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_bytes(files[p])

if __name__ == '__main__': main()

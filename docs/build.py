"""Builds the documentation site from the notebooks: `python docs/build.py [--out docs/_build/html]`.

Every notebook under nbs/ becomes a page: its title cell a heading, its exported cells the documentation of the symbols
they define (signature, arguments, source), everything else as it stands, with the outputs that were saved. Nothing is executed.
Sphinx, myst-nb and furo do the rest, and a warning of theirs is an error. Modules are imported, so build where cptlib is installed.
"""
import argparse, ast, html, inspect, json, re, shutil, subprocess, sys
from importlib import import_module
from pathlib import Path
from fastcore.docments import docments
from fastcore.nbio import read_nb
from nbdev.config import get_config
from nbdev.doclinks import nbglob, patch_name

ROOT = Path(__file__).resolve().parent.parent
NBS, BUILD = ROOT/'nbs', ROOT/'docs'/'_build'
SECTIONS = {'tutorials': 'Tutorials', 'howtos': 'How-tos', 'about': 'About', '': 'Library'}  # folder under nbs/ -> heading in the sidebar
EXPORTS = {'export', 'exports', 'exporti'}
TAGS = {'echo: false': 'remove-input', 'output: false': 'remove-output', 'include: false': 'remove-cell',
        'code-fold: true': 'hide-input', 'code-fold: ': 'hide-input'}

# -- what is there: pages and symbols ------------------------------------------------------------------------------------

def page_name(path):
    "nbs/tutorials/01_first.ipynb -> tutorials/first: numbers order the pages, and are not part of their address"
    rel = Path(path).relative_to(NBS).with_suffix('')
    return (rel.parent/re.sub(r'^\d+[a-z]?_', '', rel.name)).as_posix()

def definitions(code):
    "Names that `code` defines: (name, syntax tree) of functions, classes, patched methods (as 'Class.method') and constants"
    for node in ast.parse(code).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = patch_name(node)
            for name in names if isinstance(names, list) else [names]: yield name, node
        elif isinstance(node, ast.Assign): yield from ((t.id, node) for t in node.targets if isinstance(t, ast.Name))

def is_public(name): return not any(part.startswith('_') for part in name.split('.'))

class Page:
    "A notebook on its way to becoming a page"
    def __init__(self, path):
        self.path, self.name, self.nb = path, page_name(path), read_nb(path)
        self.folder = self.name.rpartition('/')[0]
        for cell in self.nb.cells:
            cell.dirs = dict(cell.directives)
            cell.remove_directives(quarto=False)
        module = next((c.dirs['default_exp'] for c in self.nb.cells if 'default_exp' in c.dirs), None)
        self.module = f'cptlib.{module.strip()}' if module else None
        self.title, self.subtitle, self.rest = self._title()

    def _title(self):
        src = self.nb.cells[0].source.strip()
        if self.nb.cells[0].cell_type != 'markdown' or not src.startswith('# '): raise SystemExit(f'{self.path}: the first cell is no title')
        head, _, rest = src[2:].partition('\n')
        quoted = re.match(r'\s*((?:>.*(?:\n|$))+)', rest)
        return head.strip(), re.sub(r'^> ?', '', quoted[1], flags=re.M).strip() if quoted else '', rest[quoted.end():] if quoted else rest

    def symbols(self):
        "Public names of the module, in order, with the object and its methods that have a docstring"
        if not self.module: return
        for cell in self.nb.cells:
            if cell.cell_type == 'code' and EXPORTS & set(cell.dirs) - {'exporti'}:
                yield from ((name, node, cell) for name, node in definitions(cell.source) if is_public(name))

# -- symbols: what stands in place of an exported cell -------------------------------------------------------------------

class Raw:
    "Prints as it is: a default value in a signature"
    def __init__(self, value): self.text = getattr(value, '__name__', None) or repr(value)
    def __repr__(self): return self.text if len(self.text) <= 40 and '<' not in self.text else '...'

def signature(obj):
    "The signature without annotations (they are in the table) and without `self`"
    try: sig = inspect.signature(obj)
    except (TypeError, ValueError): return '()'
    params = [p.replace(annotation=p.empty, default=p.default if p.default is p.empty else Raw(p.default))
              for i, p in enumerate(sig.parameters.values()) if not (i == 0 and p.name == 'self')]
    return str(sig.replace(parameters=params, return_annotation=sig.empty))

def type_text(anno):
    if anno is inspect.Parameter.empty: return ''
    text = anno if isinstance(anno, str) else inspect.formatannotation(anno)
    return f'`{re.sub(r"(?:[A-Za-z_]+[.])+(?=[A-Za-z_])", "", text)}`'

def argument_table(obj):
    "A markdown table of what `obj` takes and returns, from the comments beside its arguments; empty where there are none"
    try: docs, sig = docments(obj, full=True), inspect.signature(obj)
    except (TypeError, ValueError): return ''
    annos = {k: p.annotation for k, p in sig.parameters.items()} | {'return': sig.return_annotation}
    rows = [(f'**{k}**' if k != 'return' else '*returns*', type_text(annos.get(k, inspect.Parameter.empty)),
             '' if k == 'return' or v.get('default') in (inspect.Parameter.empty, None) else f"`{Raw(v['default'])}`", v.get('docment') or '')
            for k, v in docs.items() if k != 'self']
    if not any(r[3] for r in rows): return ''
    rows = [r for r in rows if any(r[1:])]
    keep = [i for i in range(4) if any(r[i] for r in rows)]
    line = lambda cells: '| ' + ' | '.join(str(c).replace('\n', ' ').replace('|', '\\|') for c in cells) + ' |'
    head = ['argument', 'type', 'default', 'meaning']
    return '\n'.join([line(head[i] for i in keep), line('---' for _ in keep)] + [line(r[i] for i in keep) for r in rows])

def find(module, name):
    "The object called `name` in `module`, unbound, and what Sphinx calls such a thing"
    owner, _, attr = name.rpartition('.')
    if not owner:
        obj = getattr(module, attr)
        return obj, 'class' if inspect.isclass(obj) else 'function' if callable(obj) else 'data'
    cls = eval(owner, vars(module))
    static = inspect.getattr_static(cls, attr)
    if isinstance(static, property) or not callable(getattr(cls, attr)): return getattr(static, 'fget', None) or static, 'property'
    return getattr(cls, attr), 'classmethod' if isinstance(static, classmethod) else 'method'

def describe(page, name, node, link):
    "Markdown that documents one symbol: signature, docstring, arguments and, for a class, the methods that have a docstring"
    obj, kind = find(import_module(page.module), name)
    option = ':classmethod:\n' if kind == 'classmethod' else ''
    directive = 'method' if kind == 'classmethod' else kind
    docs = '' if is_generated_doc(obj) else inspect.getdoc(obj) or ''
    text = [] if kind == 'data' else [link(escape(docs)), link(escape(argument_table(obj)))]
    methods = [m for m in getattr(node, 'body', []) if isinstance(node, ast.ClassDef) and isinstance(m, (ast.FunctionDef, ast.AsyncFunctionDef))
               and not m.name.startswith('_') and ast.get_docstring(m)]
    text += [describe(page, f'{name}.{m.name}', m, link) for m in methods]
    fence = '`'*(8 if methods else 6)
    sig = '' if kind in ('data', 'property') else signature(obj)
    return (f'<span id="{html.escape(name.lower())}"></span>\n\n{fence}{{py:{directive}}} {name}{sig}\n:module: {page.module}\n{option}\n'
            + '\n\n'.join(t for t in text if t) + f'\n{fence}')

def escape(text): return re.sub(r'(`+[^`]*`+)|([<$])', lambda m: m[1] or {'<': '&lt;', '$': r'\$'}[m[2]], text)   # it is no HTML and no formula

def is_generated_doc(obj):
    "A dataclass without a docstring gets its signature for one"
    return inspect.isclass(obj) and (obj.__doc__ or '').startswith(f'{obj.__name__}(')

# -- markdown ------------------------------------------------------------------------------------------------------------

class Linker:
    "Turns `names` in backticks into links to where they are documented, and links between notebooks into links between pages"
    def __init__(self, pages):
        self.pages, self.targets, self.broken = {p.path.resolve(): p for p in pages}, {}, []
        for p in pages:
            if p.module: self.targets[p.module] = f'{{doc}}`%s </{p.name}>`'
        for p in pages:
            for name, node, _ in p.symbols():
                names = [name] + [f'{name}.{m.name}' for m in getattr(node, 'body', [])
                                  if isinstance(node, ast.ClassDef) and isinstance(m, ast.FunctionDef) and is_public(m.name) and ast.get_docstring(m)]
                for n in names:
                    for alias in (n, f'{p.module}.{n}'): self.targets.setdefault(alias, f'{{py:obj}}`%s <{p.module}.{n}>`')

    def __call__(self, text, page=None):
        "`text` with its links, fenced code and headings left alone"
        fence, lines = None, []
        for line in text.splitlines():
            mark = re.match(r'\s*(`{3,}|~{3,})', line)
            if fence: fence = None if mark and mark[1].startswith(fence) else fence
            elif mark: fence = mark[1]
            else:
                if not line.startswith('#'): line = re.sub(r'(?<![`\w\[}])`([\w.]+)(\(\))?`(?!`)', self._symbol, line)
                if page: line = re.sub(r'(\]\()([^)\s#]+\.ipynb)', lambda m: m[1] + self._page(m[2], page), line)
            lines.append(line)
        return '\n'.join(lines)

    def _symbol(self, m):
        target = self.targets.get(m[1])
        return target % (m[1] + (m[2] or '')) if target else m[0]

    def _page(self, href, page):
        target = self.pages.get((page.path.parent/href).resolve())
        if href.startswith(('http:', 'https:')): return href
        if not target: self.broken.append(f'{page.path.relative_to(ROOT)}: links to {href}, which does not exist')
        return f'/{target.name}.ipynb' if target else href

# -- cells ---------------------------------------------------------------------------------------------------------------

def markdown(source): return dict(cell_type='markdown', metadata={}, source=source)

def header(page, repo):
    "Title, subtitle and where the page comes from"
    where = f"{page.path.relative_to(ROOT).as_posix()}"
    links = [f'[Notebook]({repo}/blob/main/{where})']
    if page.module: links.insert(0, f'`{page.module}`')
    if page.folder == 'tutorials': links.append(f'[Open in Colab](https://colab.research.google.com/github/{repo.split("github.com/")[1]}/blob/main/{where})')
    text = f'# {page.title}\n\n'
    if page.subtitle: text += f'{{.subtitle}}\n{page.subtitle}\n\n'
    if page.name != 'index': text += '{.provenance}\n' + ' · '.join(links) + '\n\n'
    return markdown(text + (f'```{{py:module}} {page.module}\n```\n\n' if page.module else '') + page.rest)

def code_cell(cell, tags, alt, link):
    meta = dict(tags=tags, mystnb=dict(image=dict(alt=alt)))
    outputs = [clean_output(dict(o), link) for o in cell.get('outputs', []) if not is_noise(o)]
    return dict(cell_type='code', execution_count=None, metadata=meta, source=cell.source.strip(), outputs=outputs)

def is_noise(out): return out.get('name') == 'stderr' and 'site-packages' in ''.join(out['text'])   # a warning of another package

def clean_output(out, link):
    "An output without escape codes, and without the style sheet and the finished bar of a progress display"
    if 'text' in out: out['text'] = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', ''.join(out['text']))
    data = dict(out.get('data', {}))
    if 'text/html' in data:
        data['text/html'] = re.sub(r'<style>\s*/\* Turns off.*?</style>|<div>\s*<progress.*?</div>|<progress.*?</progress>', '', ''.join(data['text/html']), flags=re.S)
    if 'text/markdown' in data: data['text/markdown'] = link(''.join(data['text/markdown']))
    if data: out['data'] = data
    return out

def convert(page, linker, repo):
    "The cells of the page"
    heading, missing = page.title, []
    yield header(page, repo)
    for cell in page.nb.cells[1:]:
        if cell.cell_type == 'markdown':
            heading = (re.findall(r'^#+ (.+)$', cell.source, re.M) or [heading])[-1]
            if 'hide' not in cell.dirs: yield markdown(linker(cell.source, page))
        elif cell.cell_type == 'code' and not {'hide', 'default_exp'} & set(cell.dirs) and cell.source.strip():
            tags = [TAGS[d] for d in (f'{k}: {str(v).strip()}' for k, v in cell.dirs.items()) if d in TAGS]
            if EXPORTS & set(cell.dirs):
                for name, node, c in page.symbols():
                    if c is cell: yield markdown(describe(page, name, node, linker))
                if not is_imports(cell.source): yield code_cell(cell, tags + ['hide-input'] * ('exports' not in cell.dirs), heading, linker)
            else:
                alt = str(cell.dirs.get('fig-alt', '')).strip(' "\'')
                if not alt and 'image/png' in json.dumps(cell.get('outputs', []), default=str): missing.append(cell.id)
                yield code_cell(cell, tags, alt or f'Picture: {re.sub("[`*]", "", heading)}', linker)
    if missing: print(f'{page.path.relative_to(ROOT)}: pictures described by their section only; add `#| fig-alt: ...` to {", ".join(missing)}')

def is_imports(code): return all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.parse(code).body)

def as_text(page):
    "The notebook as plain markdown: what the `Docs:` line of an exported module leads to"
    cells = [c.source if c.cell_type == 'markdown' else f'```python\n{c.source.strip()}\n```'
             for c in page.nb.cells if 'hide' not in c.dirs and 'default_exp' not in c.dirs and c.source.strip()]
    return '\n\n'.join(cells) + '\n'

# -- the site ------------------------------------------------------------------------------------------------------------

def summary(module, name):
    "The first line of a docstring, for a table"
    obj, kind = find(import_module(module), name)
    first = '' if kind == 'data' or is_generated_doc(obj) else (inspect.getdoc(obj) or '').partition('\n')[0]
    return escape(first).replace('|', '\\|')

def api_page(pages):
    "An index of every public symbol, chapter by chapter"
    out = ['# API index', '', '{.subtitle}', 'Every public name, chapter by chapter', '']
    for p in pages:
        rows = [f'| {{py:obj}}`{n} <{p.module}.{n}>` | {summary(p.module, n)} |' for n, _, _ in p.symbols()]
        if rows: out += [f'## {p.title}', '', f'[](/{p.name}.ipynb): {p.subtitle}', '', '| name | what it is |', '|---|---|', *rows, '']
    return '\n'.join(out)

def toctrees(pages):
    "Hidden tables of contents for the home page: they make the sidebar and the order of previous and next"
    parts = [(caption, [p.name for p in pages if p.folder == folder and p.name != 'index']) for folder, caption in SECTIONS.items()]
    return '\n\n'.join(f'```{{toctree}}\n:hidden:\n:caption: {caption}\n\n' + '\n'.join(names) + '\n```'
                       for caption, names in parts + [('Reference', ['api', 'changelog'])] if names)

def write_sources(src, extra, repo):
    pages = [Page(p) for p in sorted(nbglob(NBS, as_path=True))]
    unknown = {p.folder for p in pages} - set(SECTIONS)
    if unknown: raise SystemExit(f'folders under nbs/ without a section in docs/build.py: {unknown}')
    linker = Linker(pages)
    for f in NBS.rglob('*'):                            # pictures and the like
        if f.is_file() and f.suffix != '.ipynb' and not any(part[0] in '._' for part in f.relative_to(NBS).parts):
            (to := src/f.relative_to(NBS)).parent.mkdir(parents=True, exist_ok=True); shutil.copy(f, to)
    for p in pages:
        cells = list(convert(p, linker, repo)) + ([markdown(toctrees(pages))] if p.name == 'index' else [])
        nb = dict(cells=[dict(c, id=f'cell-{i}') for i, c in enumerate(cells)], nbformat=4, nbformat_minor=5,
                  metadata=dict(kernelspec=dict(name='python3', display_name='Python 3', language='python'),
                                language_info=dict(name='python', pygments_lexer='ipython3')))
        for path, text in ((src/f'{p.name}.ipynb', json.dumps(nb)), (extra/f'{p.name}.html.md', as_text(p))):
            path.parent.mkdir(parents=True, exist_ok=True); path.write_text(text, encoding='utf-8')
    (src/'api.md').write_text(api_page(pages), encoding='utf-8')
    (src/'changelog.md').write_text((ROOT/'CHANGELOG.md').read_text(encoding='utf-8'), encoding='utf-8')
    return pages, linker.broken

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=BUILD/'html', help='folder for the site')
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    src, extra = BUILD/'src', BUILD/'extra'
    for d in (BUILD, args.out): shutil.rmtree(d, ignore_errors=True)
    pages, broken = write_sources(src, extra, get_config(ROOT).git_url)
    done = subprocess.run([sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-E', '-b', 'html', '-c', str(ROOT/'docs'),
                           '-d', str(BUILD/'doctrees'), str(src), str(args.out)], cwd=ROOT)
    if broken or done.returncode: sys.exit('\n'.join(broken) or done.returncode)
    print(f'{len(pages)} notebooks -> {args.out}/index.html')

if __name__ == '__main__': main()

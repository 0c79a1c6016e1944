"""Builds the documentation site from the notebooks: `python docs/build.py [--out FOLDER]`.

Every notebook under nbs/ and experiments/ becomes a page. Its title cell becomes the heading.
Exported cells become documentation of the symbols they define (signature, arguments, source).
Everything else stays as it is, with its saved outputs: nothing is executed. Sphinx, myst-nb and
furo do the rest, and any of their warnings is an error. Modules are imported, so run this where
cptlib is installed.
"""
import argparse, ast, html, inspect, json, re, shutil, subprocess, sys
from importlib import import_module
from pathlib import Path
from fastcore.docments import docments
from fastcore.nbio import read_nb
from nbdev.config import get_config
from nbdev.doclinks import patch_name
from contents import ROOMS, SECTIONS, UNLINKED, WORDS

ROOT = Path(__file__).resolve().parent.parent
NBS, EXPERIMENTS, BUILD = ROOT/'nbs', ROOT/'experiments', ROOT/'docs'/'_build'

EXPORTS = {'export', 'exports', 'exporti'}
TAGS = {
    'echo: false': 'remove-input',
    'output: false': 'remove-output',
    'include: false': 'remove-cell',
    'code-fold: true': 'hide-input',
    'code-fold: ': 'hide-input',
}

# -- pages and symbols -------------------------------------------------------------------------

def page_name(path):
    "The address of a page, without its number: nbs/data/10_mixture.ipynb -> data/mixture."
    path = Path(path)
    rel = path.relative_to(NBS if path.is_relative_to(NBS) else ROOT).with_suffix('')
    return (rel.parent/re.sub(r'^\d+_', '', rel.name)).as_posix()

def is_function(node): return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))

def definitions(code):
    "Pairs (name, syntax tree) of what `code` defines; a patched method is named 'Class.method'."
    for node in ast.parse(code).body:
        if is_function(node) or isinstance(node, ast.ClassDef):
            names = patch_name(node)
            for name in names if isinstance(names, list) else [names]: yield name, node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name): yield target.id, node

def is_public(name): return not any(part.startswith('_') for part in name.split('.'))

def documented_methods(node):
    "Public methods with a docstring of a class, as syntax trees."
    if not isinstance(node, ast.ClassDef): return []
    methods = [m for m in node.body if is_function(m)]
    return [m for m in methods if not m.name.startswith('_') and ast.get_docstring(m)]

class Page:
    "A notebook on its way to becoming a page."
    def __init__(self, path):
        self.path, self.name, self.nb = path, page_name(path), read_nb(path)
        self.folder = self.name.rpartition('/')[0]
        for cell in self.nb.cells:
            cell.dirs = dict(cell.directives)
            cell.remove_directives(quarto=False)
        self.module = self._module()
        self.title, self.subtitle, self.rest = self._title()

    def _module(self):
        "Name of the module that the notebook exports, or None."
        names = [c.dirs['default_exp'].strip() for c in self.nb.cells if 'default_exp' in c.dirs]
        if not names: return None
        return names[0] if self.folder == 'experiments' else f'cptlib.{names[0]}'

    def _title(self):
        "Title, subtitle and the rest of the first cell."
        cell = self.nb.cells[0]
        source = cell.source.strip()
        if cell.cell_type != 'markdown' or not source.startswith('# '):
            raise SystemExit(f'{self.path}: the first cell is not a title')
        head, _, rest = source[2:].partition('\n')
        quoted = re.match(r'\s*((?:>.*(?:\n|$))+)', rest)
        if not quoted: return head.strip(), '', rest
        subtitle = re.sub(r'^> ?', '', quoted[1], flags=re.M).strip()
        return head.strip(), subtitle, rest[quoted.end():]

    def symbols(self):
        "Triples (name, syntax tree, cell) of the public symbols of the module, in order."
        if not self.module: return
        for cell in self.nb.cells:
            if cell.cell_type != 'code' or not EXPORTS & set(cell.dirs) - {'exporti'}: continue
            for name, node in definitions(cell.source):
                if is_public(name): yield name, node, cell

# -- symbols: what stands in place of an exported cell -----------------------------------------

class Raw:
    "A default value in a signature, printed as it is."
    def __init__(self, value): self.text = getattr(value, '__name__', None) or repr(value)
    def __repr__(self): return self.text if len(self.text) <= 40 and '<' not in self.text else '...'

def is_event(p):
    "Whether a parameter is one of the events that every callback of fastai takes a function for."
    return p.kind is p.KEYWORD_ONLY and p.name.startswith(('before_', 'after_'))

def signature(obj):
    "The signature without annotations (they are in the table) and without `self`."
    try: sig = inspect.signature(obj)
    except (TypeError, ValueError): return '()'
    params = list(sig.parameters.values())
    if params and params[0].name == 'self': params = params[1:]
    params = [p for p in params if not is_event(p)]
    plain = []
    for p in params:
        default = p.default if p.default is p.empty else Raw(p.default)
        plain.append(p.replace(annotation=p.empty, default=default))
    return str(sig.replace(parameters=plain, return_annotation=sig.empty))

def type_text(annotation):
    if annotation is inspect.Parameter.empty: return ''
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return f'`{re.sub(r"(?:[A-Za-z_]+[.])+(?=[A-Za-z_])", "", text)}`'

def comments_of_rest(obj):
    "Comments on *args and **kwargs: docments mistakes the last of them for that of the result."
    function = obj.__init__ if inspect.isclass(obj) else obj
    try: head = re.split(r'^\s*\)', inspect.getsource(function), maxsplit=1, flags=re.M)[0]
    except (TypeError, OSError): return {}
    return dict(re.findall(r'^\s*\*{1,2}(\w+)[^#\n]*#\s*(.+?)\s*$', head, re.M))

def argument_rows(docs, sig, rest):
    "One row (name, type, default, meaning) for each argument, and one for what is returned."
    annotations = {name: p.annotation for name, p in sig.parameters.items()}
    annotations['return'] = sig.return_annotation
    defaults = {name: p.default for name, p in sig.parameters.items()}
    empty = inspect.Parameter.empty
    for name, doc in docs.items():
        if name == 'self': continue
        kind = type_text(annotations.get(name, empty))
        label = '*returns*' if name == 'return' else f'**{name}**'
        default = defaults.get(name, empty)
        if not kind and default is not None and default is not empty:
            kind = f'`{type(default).__name__}`'
        shown = '' if default is empty else f'`{Raw(default)}`'
        meaning = rest.get(name) or doc.get('docment') or ''
        if name == 'return' and meaning in rest.values(): meaning = ''
        yield label, kind, shown, meaning

def table_line(cells):
    escaped = [str(c).replace('\n', ' ').replace('|', '\\|') for c in cells]
    return '| ' + ' | '.join(escaped) + ' |'

def argument_table(obj):
    "A markdown table of what `obj` takes and returns, from its docments; '' without any."
    try: docs, sig = docments(obj, full=True), inspect.signature(obj)
    except (TypeError, ValueError): return ''
    rows = list(argument_rows(docs, sig, comments_of_rest(obj)))
    if not any(meaning for *_, meaning in rows): return ''
    rows = [r for r in rows if any(r[1:])]
    keep = [i for i in range(4) if any(r[i] for r in rows)] # no empty columns
    head = ['argument', 'type', 'default', 'meaning']
    lines = [[head[i] for i in keep], ['---' for _ in keep]]
    lines += [[r[i] for i in keep] for r in rows]
    return '\n'.join(map(table_line, lines))

def find(module, name):
    "The object called `name` in `module`, unbound, and what Sphinx calls such an object."
    owner, _, attr = name.rpartition('.')
    if not owner:
        obj = getattr(module, attr)
        if inspect.isclass(obj): return obj, 'class'
        return obj, 'function' if callable(obj) else 'data'
    cls = eval(owner, vars(module))
    static = inspect.getattr_static(cls, attr)
    if isinstance(static, property) or not callable(getattr(cls, attr)):
        return getattr(static, 'fget', None) or static, 'property'
    return getattr(cls, attr), 'classmethod' if isinstance(static, classmethod) else 'method'

def escape(text):
    "`text` in which nothing is HTML or a formula, code spans left alone."
    replaced = {'<': '&lt;', '$': r'\$'}
    return re.sub(r'(`+[^`]*`+)|([<$])', lambda m: m[1] or replaced[m[2]], text)

def is_generated_doc(obj):
    "Whether the docstring is the signature that a dataclass without a docstring gets."
    return inspect.isclass(obj) and (obj.__doc__ or '').startswith(f'{obj.__name__}(')

def describe(page, name, node, link):
    "Markdown that documents a symbol: signature, docstring, arguments, documented methods."
    obj, kind = find(import_module(page.module), name)
    docs = '' if is_generated_doc(obj) else inspect.getdoc(obj) or ''
    text = [] if kind == 'data' else [link(escape(docs)), link(escape(argument_table(obj)))]
    methods = documented_methods(node)
    text += [describe(page, f'{name}.{m.name}', m, link) for m in methods]
    directive, option = ('method', ':classmethod:\n') if kind == 'classmethod' else (kind, '')
    call = '' if kind in ('data', 'property') else signature(obj)
    fence = '`'*(8 if methods else 6)
    anchor = f'<span id="{html.escape(name.lower())}"></span>'
    head = f'{fence}{{py:{directive}}} {name}{call}\n:module: {page.module}\n{option}'
    body = '\n\n'.join(t for t in text if t)
    return f'{anchor}\n\n{head}\n{body}\n{fence}'

# -- markdown ----------------------------------------------------------------------------------

class Linker:
    "Links `names` in backticks to their documentation, and notebook links to pages."
    def __init__(self, pages):
        self.pages = {p.path.resolve(): p for p in pages}
        self.targets, self.broken = {}, []
        self.own = {p.name: {} for p in pages} # of each page: what it defines itself
        for p in pages:
            if p.module: self.targets[p.module] = f'{{doc}}`%s </{p.name}>`'
        for p in pages:
            for name, node, _ in p.symbols():
                self._add(p, name)
                for m in documented_methods(node): self._add(p, f'{name}.{m.name}')

    def _add(self, page, name):
        target = f'{{py:obj}}`%s <{page.module}.{name}>`'
        self.own[page.name][name] = target
        self.targets[f'{page.module}.{name}'] = target
        # names of experiments are words like `table`, so only their own page links them
        if page.folder == 'experiments' or name in UNLINKED: return
        self.targets.setdefault(name, target)

    def __call__(self, text, page=None):
        "`text` with its links; fenced code and headings are left alone."
        fence, lines = None, []
        for line in text.splitlines():
            mark = re.match(r'\s*(`{3,}|~{3,})', line)
            if fence: fence = None if mark and mark[1].startswith(fence) else fence
            elif mark: fence = mark[1]
            else: line = self._linked(line, page)
            lines.append(line)
        return '\n'.join(lines)

    def _linked(self, line, page):
        if not line.startswith('#'):
            def symbol(m): return self._symbol(m, page)
            line = re.sub(r'(?<![`\w\[}])`([\w.]+)(\(\))?`(?!`)', symbol, line)
        if not page: return line
        return re.sub(r'(\]\()([^)\s#]+\.ipynb)', lambda m: m[1] + self._page(m[2], page), line)

    def _symbol(self, m, page):
        own = self.own[page.name] if page else {}
        target = own.get(m[1]) or self.targets.get(m[1])
        return target % (m[1] + (m[2] or '')) if target else m[0]

    def _page(self, href, page):
        if href.startswith(('http:', 'https:')): return href
        target = self.pages.get((page.path.parent/href).resolve())
        if target: return f'/{target.name}.ipynb'
        where = page.path.relative_to(ROOT)
        self.broken.append(f'{where}: links to {href}, which does not exist')
        return href

# -- cells -------------------------------------------------------------------------------------

def markdown(source): return dict(cell_type='markdown', metadata={}, source=source)

def about_page(title, description):
    "What search engines and link previews get to know about a page."
    cfg = get_config(ROOT)
    return {'description': description, 'property=og:description': description,
            'property=og:title': title, 'property=og:site_name': 'cptlib',
            'property=og:type': 'website', 'twitter:card': 'summary_large_image',
            'property=og:image': f'{cfg.doc_host}{cfg.doc_baseurl}/preview.png'}

def index_entries(name):
    "The words under which search finds a page first."
    words = WORDS.get(name)
    if not words: return ''
    main = ', '.join(f'! {word.strip()}' for word in words.split(','))
    return f'```{{index}} {main}\n```\n\n'

def header(page, repo):
    "The title, the subtitle and links to where the page comes from."
    where = page.path.relative_to(ROOT).as_posix()
    links = [f'`{page.module}`'] if page.module else []
    links.append(f'[Notebook]({repo}/blob/main/{where})')
    links.append(f'[Edit]({repo}/edit/main/{where})')
    if page.folder == 'tutorials':
        if 'google.colab' not in page.path.read_text(encoding='utf-8'):
            raise ValueError(f'{where}: begin with a cell that installs cptlib on Colab')
        name = repo.split('github.com/')[1]
        colab = f'https://colab.research.google.com/github/{name}/blob/main/{where}'
        links.append(f'[Open in Colab]({colab})')
    text = index_entries(page.name) + f'# {page.title}\n\n'
    if page.subtitle: text += f'{{.subtitle}}\n{page.subtitle}\n\n'
    text += '{.provenance}\n' + ' · '.join(links) + '\n\n'
    if page.module: text += f'```{{py:module}} {page.module}\n```\n\n'
    return markdown(text + page.rest)

DISPLAYED = ast.Name, ast.Attribute, ast.Subscript, ast.JoinedStr, ast.Tuple, ast.Dict

def displays(source):
    "Whether a cell ends by printing or displaying something."
    lines = [line for line in source.splitlines() if not line.startswith(('%', '!'))]
    tree = ast.parse('\n'.join(lines))
    if not tree.body or source.rstrip().endswith(';'): return False
    last = tree.body[-1]
    if not isinstance(last, ast.Expr): return False
    printed = isinstance(last.value, ast.Call) and ast.unparse(last.value.func) == 'print'
    return printed or isinstance(last.value, DISPLAYED)

def check_outputs(page):
    "Raise ValueError if an ordinary cell of a page displays something, and nothing is saved."
    for cell in page.nb.cells:
        if cell.cell_type != 'code' or set(cell.dirs) - {'echo', 'fig-alt'}: continue
        if not cell.get('outputs') and displays(cell.source):
            raise ValueError(f'{page.name}: no saved output; run tools/save.py\n{cell.source}')

def prompt(names):
    "What the fold over the code of some symbols says."
    names = [name.rpartition('.')[2] for name in dict.fromkeys(names)]
    if not names: return 'Show the code'
    return f"Show the code of {', '.join(names[:4])}{' and more' if names[4:] else ''}"

def code_cell(cell, tags, alt, link, names=()):
    shown = [o for o in cell.get('outputs', []) if not is_noise(o)]
    return dict(
        cell_type='code',
        execution_count=None,
        metadata=dict(tags=tags, mystnb=dict(
            image=dict(alt=alt), code_prompt_show=prompt(names), code_prompt_hide='Hide the code')),
        source=cell.source.strip(),
        outputs=[clean_output(dict(o), link) for o in shown],
    )

def is_noise(out):
    "Whether an output is a warning of another package."
    return out.get('name') == 'stderr' and 'site-packages' in ''.join(out['text'])

ESCAPES = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]')
PROGRESS = re.compile(r'<style>\s*/\* Turns off.*?</style>|<div>\s*<progress.*?</div>'
    r'|<progress.*?</progress>', re.S)

def clean_output(out, link):
    "An output without escape codes and progress displays."
    if 'text' in out: out['text'] = re.sub(ESCAPES, '', ''.join(out['text']))
    data = dict(out.get('data', {}))
    if 'text/html' in data: data['text/html'] = re.sub(PROGRESS, '', ''.join(data['text/html']))
    if 'text/markdown' in data: data['text/markdown'] = link(''.join(data['text/markdown']))
    if data: out['data'] = data
    return out

def is_shown(cell):
    hidden = {'hide', 'default_exp'} & set(cell.dirs)
    return cell.cell_type == 'code' and not hidden and bool(cell.source.strip())

def tags_of(cell):
    directives = [f'{k}: {str(v).strip()}' for k, v in cell.dirs.items()]
    return [TAGS[d] for d in directives if d in TAGS]

def has_picture(cell):
    return any('image/png' in o.get('data', {}) for o in cell.get('outputs', []))

def exported_cells(page, cell, heading, link):
    "What an exported cell becomes: documentation of each symbol, then its source, folded."
    names = [(name, node) for name, node, c in page.symbols() if c is cell]
    for name, node in names: yield markdown(describe(page, name, node, link))
    if is_imports(cell.source): return
    fold = [] if 'exports' in cell.dirs else ['hide-input']
    yield code_cell(cell, tags_of(cell) + fold, heading, link, [name for name, _ in names])

def convert(page, link, repo):
    "The cells of a page."
    heading, undescribed = page.title, []
    def link_here(text): return link(text, page)
    check_outputs(page)
    yield header(page, repo)
    for cell in page.nb.cells[1:]:
        if cell.cell_type == 'markdown':
            heading = (re.findall(r'^#+ (.+)$', cell.source, re.M) or [heading])[-1]
            if 'hide' not in cell.dirs: yield markdown(link(cell.source, page))
        elif is_shown(cell) and EXPORTS & set(cell.dirs):
            yield from exported_cells(page, cell, heading, link)
        elif is_shown(cell):
            alt = str(cell.dirs.get('fig-alt', '')).strip(' "\'')
            if not alt and has_picture(cell): undescribed.append(cell.id)
            alt = alt or f'Picture: {re.sub("[`*]", "", heading)}'
            yield code_cell(cell, tags_of(cell), alt, link_here)
    if undescribed:
        where = page.path.relative_to(ROOT)
        print(f'{where}: pictures without `#| fig-alt: ...` in {", ".join(undescribed)}')

def is_imports(code):
    return all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.parse(code).body)

def as_text(page):
    "The notebook as plain markdown: what the `Docs:` line of an exported module leads to."
    parts = []
    for c in page.nb.cells:
        if {'hide', 'default_exp'} & set(c.dirs) or not c.source.strip(): continue
        code = c.cell_type == 'code'
        parts.append(f'```python\n{c.source.strip()}\n```' if code else c.source)
    return '\n\n'.join(parts) + '\n'

# -- the site ----------------------------------------------------------------------------------

def summary(module, name):
    "The first line of a docstring, for a table."
    obj, kind = find(import_module(module), name)
    if kind == 'data' or is_generated_doc(obj): return ''
    return escape((inspect.getdoc(obj) or '').partition('\n')[0]).replace('|', '\\|')

def api_page(pages):
    "An index of every public symbol, from A to Z."
    rows = []
    for p in pages:
        for name, _, _ in p.symbols():
            symbol = f'{{py:obj}}`{name} <{p.module}.{name}>`'
            row = f'| {symbol} | {summary(p.module, name)} | [](/{p.name}.ipynb) |'
            rows.append((name.lower(), row))
    lines = [line for _, line in sorted(rows)]
    return '\n'.join([
        '# A to Z', '', '{.subtitle}', 'Every public name of the library', '', '{#filter}', '', '',
        '| name | what it is | chapter |', '|---|---|---|', *lines, ''])

def toctree(names, caption='', titles_only=True):
    "A hidden table of contents, which makes a section of the sidebar."
    options = [':hidden:', *([f':caption: {caption}'] if caption else []), ':titlesonly:']
    return '```{toctree}\n' + '\n'.join(options) + '\n\n' + '\n'.join(names) + '\n```'

def room_name(folder): return f'reference/{folder or "top"}'

def chapters(pages, folder):
    "The pages of a room that are chapters: they export a module, and are in no section."
    placed = {name for names in SECTIONS.values() for name in names}
    return [p for p in pages if p.folder == folder and p.name not in placed | {'index'}]

def room_page(pages, folder):
    "The page of a room: its chapters, with what each is for."
    title, purpose = ROOMS[folder]
    found = chapters(pages, folder)
    rows = [f'| [](/{p.name}.ipynb) | {escape(p.subtitle)} |' for p in found]
    names = [f'/{p.name}' for p in found]
    return '\n'.join([
        f'# {title}', '', '{.subtitle}', purpose, '', '| chapter | what it is for |', '|---|---|',
        *rows, '', toctree(names), ''])

def toctrees():
    "The whole sidebar."
    parts = [toctree(names, caption) for caption, names in SECTIONS.items()]
    parts.append(toctree(['api', *map(room_name, ROOMS)], 'Reference'))
    parts.append(toctree(['changelog', 'contributing', 'cite', 'licence'], 'Project'))
    return '\n\n'.join(parts)

def misplaced(pages):
    "Pages that are in no section and in no room, and names without a page, as sentences."
    names = {p.name for p in pages}
    placed = [name for listed in SECTIONS.values() for name in listed]
    yield from (f'docs/contents.py lists {name}, which does not exist' for name in placed
                if name not in names)
    yield from (f'docs/contents.py has words for {name}, which does not exist' for name in WORDS
                if name not in names)
    for p in pages:
        if p.name in ('index', *placed): continue
        is_chapter = p.folder in ROOMS and p.module
        if not is_chapter: yield f'docs/contents.py does not say where {p.name} belongs'

def project_pages():
    "name -> text of the pages that are made from files at the top."
    def read(name): return (ROOT/name).read_text(encoding='utf-8')
    cite = ('# Cite\n\nIf you use cptlib in your work, please cite it. This is `CITATION.cff`:\n\n'
            f'```yaml\n{read("CITATION.cff")}```\n')
    licence = f'# Licence\n\ncptlib is free software.\n\n```text\n{read("LICENSE")}```\n'
    def page_of(m): return f'](/{page_name(ROOT/m[1])}.ipynb)'
    contributing = re.sub(r'\]\((nbs/\S+?\.ipynb)\)', page_of, read('CONTRIBUTING.md'))
    changelog = read('CHANGELOG.md')
    return dict(changelog=changelog, contributing=contributing, cite=cite, licence=licence)

def llms_text(pages, base):
    "The site for programs that read: every page with its address as plain markdown."
    by_name = {p.name: p for p in pages}
    lines = ['# cptlib', '', f'> {by_name["index"].subtitle}', '']
    def entry(p): return f'- [{p.title}]({base}/{p.name}.html.md): {p.subtitle}'
    for caption, names in SECTIONS.items():
        lines += [f'## {caption}', '', *(entry(by_name[name]) for name in names), '']
    for folder, (title, _) in ROOMS.items():
        lines += [f'## {title}', '', *(entry(p) for p in chapters(pages, folder)), '']
    return '\n'.join(lines)

def sitemap(names, base):
    urls = [f'  <url><loc>{base}/{name}.html</loc></url>' for name in names]
    space = 'http://www.sitemaps.org/schemas/sitemap/0.9'
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="{space}">'
    return '\n'.join([head, *urls, '</urlset>', ''])

NOT_FOUND = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Not found - cptlib</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"></head>
<body style="font-family: sans-serif; max-width: 36em; margin: 4em auto; padding: 0 1em">
<main><h1>This page does not exist</h1>
<p>It may have moved. Start from <a href="{base}/index.html">the home page</a>, look a name up in
<a href="{base}/api.html">A to Z</a>, or <a href="{base}/search.html">search</a>.</p></main>
</body></html>
"""

def is_hidden(path): return any(part[0] in '._' for part in path.relative_to(ROOT).parts)

def notebooks():
    found = [*NBS.rglob('*.ipynb'), *EXPERIMENTS.rglob('*.ipynb')]
    return sorted(p for p in found if not is_hidden(p))

def copy_files(src, extra):
    "Copy what lies beside the notebooks: pictures for Sphinx, and whole pages as they are."
    for path in NBS.rglob('*'):
        if not path.is_file() or path.suffix == '.ipynb' or is_hidden(path): continue
        copy = (extra if path.suffix == '.html' else src)/path.relative_to(NBS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)

def as_notebook(cells, title, description):
    numbered = [dict(c, id=f'cell-{i}') for i, c in enumerate(cells)]
    kernel = dict(name='python3', display_name='Python 3', language='python')
    language = dict(name='python', pygments_lexer='ipython3')
    myst = dict(html_meta=about_page(title, description))
    metadata = dict(kernelspec=kernel, language_info=language, myst=myst)
    return dict(cells=numbered, nbformat=4, nbformat_minor=5, metadata=metadata)

def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')

def write_sources(src, extra, repo):
    "Write what Sphinx reads; returns the pages and what is broken."
    pages = [Page(p) for p in notebooks()]
    if wrong := list(misplaced(pages)): raise SystemExit('\n'.join(wrong))
    link = Linker(pages)
    copy_files(src, extra)
    for p in pages:
        cells = list(convert(p, link, repo))
        if p.name == 'index': cells.append(markdown(toctrees()))
        write(src/f'{p.name}.ipynb', json.dumps(as_notebook(cells, p.title, p.subtitle or p.title)))
        write(extra/f'{p.name}.html.md', as_text(p))
    texts = project_pages() | {'api': api_page(pages)}
    texts |= {room_name(folder): room_page(pages, folder) for folder in ROOMS}
    for name, text in texts.items(): write(src/f'{name}.md', text)
    cfg = get_config(ROOT)
    base = f'{cfg.doc_host}{cfg.doc_baseurl}'
    write(extra/'llms.txt', llms_text(pages, base))
    write(extra/'sitemap.xml', sitemap([*(p.name for p in pages), *texts], base))
    write(extra/'404.html', NOT_FOUND.format(base=base))
    pictures = sorted((ROOT/'docs'/'images').glob('index_*_0.png'))
    if pictures: shutil.copy(pictures[0], extra/'preview.png')
    return pages, link.broken

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=BUILD/'html', help='folder for the site')
    args = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(EXPERIMENTS)]
    src, extra = BUILD/'src', BUILD/'extra'
    for folder in (BUILD, args.out): shutil.rmtree(folder, ignore_errors=True)
    pages, broken = write_sources(src, extra, get_config(ROOT).git_url)
    sphinx = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-E', '-b', 'html']
    folders = ['-c', str(ROOT/'docs'), '-d', str(BUILD/'doctrees'), str(src), str(args.out)]
    done = subprocess.run(sphinx + folders, cwd=ROOT)
    if broken or done.returncode: sys.exit('\n'.join(broken) or done.returncode)
    print(f'{len(pages)} notebooks -> {args.out}/index.html')

if __name__ == '__main__': main()

"Sphinx configuration. docs/build.py writes the pages to docs/_build/src, and runs Sphinx."
import ast, os, re
from pathlib import Path
from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from nbdev.config import get_config
from nbdev.doclinks import patch_name

root = Path(__file__).resolve().parent.parent
cfg = get_config(root)
ref = os.environ.get('DOCS_REF', 'main') # the branch or tag that [source] leads to

project, author, copyright = 'cptlib', 'The cptlib authors', 'The cptlib authors'
package = (root/'cptlib'/'__init__.py').read_text()
release = re.search(r'__version__\s*=\s*["\'](.+?)["\']', package)[1]
language = 'en'

extensions = ['myst_nb', 'sphinx.ext.linkcode', 'sphinx_copybutton']
myst_enable_extensions = [
    'dollarmath', 'amsmath', 'colon_fence', 'attrs_block', 'attrs_inline', 'deflist']
myst_heading_anchors = 4
nb_execution_mode = 'off'
nb_merge_streams = True
nb_render_markdown_format = 'myst'
nb_code_prompt_show, nb_code_prompt_hide = 'Show the code', 'Hide the code'
add_module_names = False
python_display_short_literal_types = True
toc_object_entries_show_parents = 'hide'

html_math_renderer = 'mathml' # drawn by the browser: no script from elsewhere
html_theme = 'furo'
html_title = f'cptlib {release}'
html_baseurl = f'{cfg.doc_host}{cfg.doc_baseurl}/'
html_static_path = [str(root/'docs'/'_static')]
html_favicon = str(root/'docs'/'_static'/'favicon.svg')
html_css_files, html_js_files = ['custom.css'], ['custom.js']
html_extra_path = [str(root/'docs'/'_build'/'extra')]
html_copy_source = html_show_sourcelink = html_use_index = html_domain_indices = False
html_show_search_summary = False # custom.js turns it on where the browser may fetch pages
html_search_scorer = str(root/'docs'/'_static'/'scorer.js')
GITHUB = (root/'docs'/'_static'/'github.svg').read_text()
html_theme_options = dict(
    navigation_with_keys=True, top_of_page_buttons=[],
    footer_icons=[dict(name='GitHub', url=cfg.git_url, html=GITHUB, **{'class': ''})],
    light_css_variables={'color-brand-primary': '#00598c', 'color-brand-content': '#00598c'},
    dark_css_variables={'color-brand-primary': '#6cc0f0', 'color-brand-content': '#6cc0f0'})
pygments_style, pygments_dark_style = 'a11y-high-contrast-light', 'a11y-high-contrast-dark'
copybutton_prompt_text = r'>>> |\.\.\. |\$ '
copybutton_prompt_is_regexp = True

def _lines(path, seen={}): # noqa: B006 (remembers what it has read)
    "name -> line, for what a module defines, patched methods included."
    if path in seen: return seen[path]
    lines = seen[path] = {}
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): continue
        names = patch_name(node)
        for name in names if isinstance(names, list) else [names]: lines[name] = node.lineno
        methods = node.body if isinstance(node, ast.ClassDef) else []
        for m in methods:
            if isinstance(m, ast.FunctionDef): lines[f'{node.name}.{m.name}'] = m.lineno
    return lines

def linkcode_resolve(domain, info):
    "Address of the source of a documented symbol."
    if domain != 'py' or not info['module']: return None
    where = info['module'].replace('.', '/') + '.py'
    if not where.startswith('cptlib/'): where = f'experiments/{where}'
    line = _lines(root/where).get(info['fullname'])
    return line and f'{cfg.git_url}/blob/{ref}/{where}#L{line}'

def _math(display):
    def visit(self, node):
        drawn = convert(node.astext(), display='block' if display else 'inline')
        self.body.append(f'<div class="math">{drawn}</div>' if display else drawn)
        raise SkipNode
    return visit, None

def setup(app): app.add_html_math_renderer('mathml', _math(False), _math(True))

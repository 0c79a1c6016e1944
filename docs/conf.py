"Sphinx configuration. The pages are written to docs/_build/src by docs/build.py, which also runs Sphinx."
import ast, os, re
from pathlib import Path
from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from nbdev.config import get_config
from nbdev.doclinks import patch_name

root = Path(__file__).resolve().parent.parent
cfg = get_config(root)
ref = os.environ.get('DOCS_REF', 'main')                 # the branch or tag that [source] leads to

project, author, copyright = 'cptlib', 'The cptlib authors', 'The cptlib authors'
release = re.search(r'__version__\s*=\s*["\'](.+?)["\']', (root/'cptlib'/'__init__.py').read_text())[1]
language = 'en'

extensions = ['myst_nb', 'sphinx.ext.linkcode', 'sphinx_copybutton']
myst_enable_extensions = ['dollarmath', 'amsmath', 'colon_fence', 'attrs_block', 'attrs_inline', 'deflist']
myst_heading_anchors = 4
nb_execution_mode = 'off'
nb_merge_streams = True
nb_render_markdown_format = 'myst'
nb_code_prompt_show = nb_code_prompt_hide = 'Source'
add_module_names = False
python_display_short_literal_types = True
toc_object_entries_show_parents = 'hide'

html_math_renderer = 'mathml'                            # drawn by the browser: no script from elsewhere
html_theme = 'furo'
html_title = f'cptlib {release}'
html_baseurl = f'{cfg.doc_host}{cfg.doc_baseurl}/'
html_static_path = [str(root/'docs'/'_static')]
html_favicon = str(root/'docs'/'_static'/'favicon.svg')
html_css_files, html_js_files = ['custom.css'], ['custom.js']
html_extra_path = [str(root/'docs'/'_build'/'extra')]
html_copy_source = html_show_sourcelink = html_use_index = html_domain_indices = False
html_show_search_summary = False                         # it fetches pages, which a browser refuses under file://
html_theme_options = dict(navigation_with_keys=True, top_of_page_buttons=[],
    light_css_variables={'color-brand-primary': '#00598c', 'color-brand-content': '#00598c'},
    dark_css_variables={'color-brand-primary': '#6cc0f0', 'color-brand-content': '#6cc0f0'})
pygments_style, pygments_dark_style = 'a11y-high-contrast-light', 'a11y-high-contrast-dark'
copybutton_prompt_text = r'>>> |\.\.\. |\$ '
copybutton_prompt_is_regexp = True

def _lines(module, seen={}):
    "name -> line, for what a module defines, patched methods included"
    if module not in seen:
        tree, seen[module] = ast.parse((root/(module.replace('.', '/') + '.py')).read_text(encoding='utf-8')), {}
        for n in tree.body:
            if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names = patch_name(n)
                for name in names if isinstance(names, list) else [names]: seen[module][name] = n.lineno
                for m in n.body if isinstance(n, ast.ClassDef) else []:
                    if isinstance(m, ast.FunctionDef): seen[module][f'{n.name}.{m.name}'] = m.lineno
    return seen[module]

def linkcode_resolve(domain, info):
    "Address of the source of a documented symbol"
    line = _lines(info['module']).get(info['fullname']) if domain == 'py' and info['module'] else None
    return line and f"{cfg.git_url}/blob/{ref}/{info['module'].replace('.', '/')}.py#L{line}"

def _math(display):
    def visit(self, node):
        self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>' if display else convert(node.astext()))
        raise SkipNode
    return visit, None

def setup(app): app.add_html_math_renderer('mathml', _math(False), _math(True))

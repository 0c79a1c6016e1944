"""Opens every page of the built site in a headless Chromium: `python docs/check.py [--shots DIR]`.

Every page is opened twice: at desktop width over HTTP under a sub-path, as on Pages, and at phone
width in dark mode from a file:// folder. We look for console errors, missing files, leaking
markup, headings out of order, pictures that are not drawn or not described, pages wider than the
window, code that scrolls sideways at desktop width, and whatever axe-core calls serious or
critical. Then we check the links within the site, and what the search finds first. `--every 5`
opens a fifth of the pages, other ones at each commit. Chromium comes from the system
(`apt-get install chromium`) or from CHROMIUM. The last line counts.
"""
import argparse, functools, os, re, shutil, subprocess, sys, threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag
from axe_playwright_python import __file__ as axe_home
from playwright.sync_api import sync_playwright
from contents import WORDS

ROOT = Path(__file__).resolve().parent.parent
VIEWS = {
    'desktop': dict(viewport=dict(width=1440, height=900), color_scheme='light'),
    'phone': dict(viewport=dict(width=390, height=844), color_scheme='dark', device_scale_factor=2),
}
AXE = (Path(axe_home).parent/'axe.min.js').read_text(encoding='utf-8')
LEAKS = re.compile(r'^\s*#\|[ \t]*\w|:::|\{(?:py|doc|ref)[:}]') # nowhere
PROSE_LEAKS = re.compile( # only in code
    r'\{\.[a-z]|```|<!-- |(?<!\w)\*\*\w|\]\(\S|\$[^\s$][^$]*\$|\\[a-z]+\{')

# -- what a page looks like, seen from inside --------------------------------------------------

STILL = '*, *::before, *::after { animation: none !important; transition: none !important }'

OPEN_ALL = '''async () => {
    document.querySelectorAll('details').forEach(d => d.open = true);
    const drawn = i => { i.loading = 'eager'; return i.decode().catch(() => 0) };
    await Promise.all([...document.images].map(drawn));
}'''

LOOK = '''() => {
    const main = document.querySelector('[role=main], main, article') || document.body;
    const all = selector => [...main.querySelectorAll(selector)];
    const prose = main.cloneNode(true);
    prose.querySelectorAll('pre, code, .sig, math').forEach(e => e.remove());
    const scrolls = e => /auto|scroll/.test(getComputedStyle(e).overflowX);
    const sticksOut = e => {
        if (!e.getClientRects().length) return false;
        if (e.getBoundingClientRect().right <= innerWidth + 1) return false;
        for (let a = e; a && a !== document.body; a = a.parentElement) if (scrolls(a)) return false;
        return true;
    };
    return {
        text: main.innerText,
        prose: prose.textContent,
        headings: all('h1,h2,h3,h4,h5,h6').map(h => [+h.tagName[1], h.innerText]),
        undrawn: [...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src),
        undescribed: all('img').filter(i => !i.alt.trim()).map(i => i.src),
        wide: all('p, pre, table, img, div, dl, h1, h2, h3, h4').filter(sticksOut)
            .map(e => e.outerHTML.slice(0, 80)),
        scrolls: all('.cell_input pre, div[class*=highlight-] pre')
            .filter(e => e.scrollWidth > e.clientWidth + 1 && !e.closest('.cell_output'))
            .map(e => e.innerText.split('\\n').reduce((a, b) => a.length > b.length ? a : b)),
    };
}'''

# of highlighted code, axe looks at two tokens of each kind: thousands of them take minutes
RUN_AXE = '''async () => {
    const seen = {};
    document.querySelectorAll('pre span').forEach(s => {
        seen[s.className] = (seen[s.className] || 0) + 1;
        if (seen[s.className] > 2) s.replaceWith(s.textContent);
    });
    const found = await axe.run(document, {resultTypes: ['violations'], preload: false});
    const bad = found.violations.filter(v => ['serious', 'critical'].includes(v.impact));
    return bad.map(v => {
        const first = v.nodes[0], why = (first.failureSummary || '').split('\\n').slice(1, 2);
        const shown = first.html.slice(0, 160);
        return `axe ${v.id} (${v.impact}): ${v.nodes.length} x, first ${shown} ${why}`;
    });
}'''

def listeners(wrong):
    "Playwright events, and what to note when they happen."
    def console(message):
        if message.type == 'error': wrong.append(f'console {message.type}: {message.text}')
    def response(r):
        if r.status >= 400: wrong.append(f'HTTP {r.status}: {r.url}')
    return dict(console=console, response=response,
        pageerror=lambda e: wrong.append(f'script error: {e}'),
        requestfailed=lambda r: wrong.append(f'not loaded: {r.url}'))

def leaks(seen, url):
    everywhere = seen['prose'] if url.endswith('/contributing.html') else seen['text']
    for pattern, text in ((LEAKS, everywhere), (PROSE_LEAKS, seen['prose'])):
        for line in text.splitlines():
            if pattern.search(line): yield f'markup leaks: {line.strip()[:100]}'

def heading_faults(headings):
    levels = [level for level, _ in headings]
    if levels.count(1) != 1 or levels[0] != 1:
        first = levels[0] if levels else '-'
        yield f'headings: {levels.count(1)} of the first level, the first is h{first}'
    for last, (level, text) in zip(levels, headings[1:]):
        if level > last + 1: yield f'heading {text!r}: h{level} after h{last}'

def look(page, url, wide=False):
    "What is wrong with the page at `url`, as a list of sentences. If `wide`, code must fit."
    wrong = []
    handlers = listeners(wrong)
    for event, f in handlers.items(): page.on(event, f)
    page.goto(url, wait_until='load')
    page.add_style_tag(content=STILL)
    page.evaluate(OPEN_ALL)
    seen = page.evaluate(LOOK)
    wrong += [f'picture not drawn: {s}' for s in seen['undrawn']]
    wrong += [f'picture without a description: {s[:120]}' for s in seen['undescribed']]
    wrong += leaks(seen, url) # the guide to contributing shows directives in its code
    wrong += [f'wider than the window: {s}' for s in seen['wide'][:3]]
    if wide: wrong += [f'code scrolls sideways: {s[:100]}' for s in seen['scrolls'][:3]]
    wrong += heading_faults(seen['headings'])
    page.evaluate(AXE)
    wrong += page.evaluate(RUN_AXE)
    for event, f in handlers.items(): page.remove_listener(event, f)
    return wrong

# -- links and search --------------------------------------------------------------------------

class Anchors(HTMLParser):
    "Identifiers and addresses of a page."
    def __init__(self, path):
        super().__init__()
        self.ids, self.refs = set(), []
        self.feed(path.read_text(encoding='utf-8'))
    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[k] for k in ('id', 'name') if attrs.get(k)}
        self.refs += [attrs[k] for k in ('href', 'src') if attrs.get(k)]

def target(page, ref):
    "The file, and the place in it, that an address within the site leads to."
    href, anchor = urldefrag(unquote(ref))
    to = (page.parent/href.split('?')[0]).resolve() if href else page
    return (to/'index.html' if to.is_dir() else to), anchor

def broken_links(site):
    "Addresses within the site that lead nowhere."
    pages = {p: Anchors(p) for p in site.rglob('*.html') if '_static' not in p.parts}
    wrong = set()
    for page, found in pages.items():
        for ref in found.refs:
            if re.match(r'[a-z]+:|//', ref): continue
            to, anchor = target(page, ref)
            name = page.relative_to(site)
            if not to.exists(): wrong.add(f'{name}: {ref} does not exist')
            elif anchor and to in pages and anchor not in pages[to].ids:
                wrong.add(f'{name}: {ref}: no such place')
    return sorted(wrong)

SEARCH = '''async words => {
    const list = () => document.querySelector('#search-results ul.search');
    const old = list();
    if (old) old.remove();
    Search.performSearch(words);
    for (let tries = 0; tries < 400; tries++) {
        await new Promise(done => setTimeout(done, 25));
        const first = list() && list().querySelector('li a');
        if (first) return first.getAttribute('href');
    }
    return null;
}'''

def queries():
    "What people type, each with the pages of which one should come first."
    wanted = {}
    for page, words in WORDS.items():
        for word in words.split(','): wanted.setdefault(word.strip(), []).append(f'{page}.html')
    return wanted

def searches(page, base):
    "Type each of `queries`; a list of those whose first result is another page."
    page.goto(f'{base}search.html', wait_until='load')
    wrong = []
    for words, wanted in queries().items():
        found = page.evaluate(SEARCH, words)
        if not found or not found.startswith(tuple(wanted)):
            wrong.append(f"search for {words!r} finds {found}, not {' or '.join(wanted)}")
    return wrong

def search(page, base, word):
    "Search for the name `word` from the home page, and follow the first result."
    page.goto(f'{base}index.html')
    page.locator('input[name=q]').first.fill(word)
    page.keyboard.press('Enter')
    results = '#search-results ul.search li a'
    try: page.wait_for_selector(results, timeout=10_000)
    except Exception: return [f'no result for {word}']
    first = page.locator(results).first
    title = first.inner_text()
    first.click()
    page.wait_for_load_state()
    if word in page.inner_text('body'): return []
    return [f'the first result for {word}, {title!r}, does not mention it']

# -- the run -----------------------------------------------------------------------------------

class Quiet(SimpleHTTPRequestHandler):
    "Serves the site under /cptlib/, and nothing else."
    def log_message(self, *args): pass
    def translate_path(self, path):
        known = path.startswith('/cptlib/')
        return super().translate_path(path.removeprefix('/cptlib')) if known else '/nowhere'

class Count:
    "Prints and counts outcomes."
    def __init__(self): self.passed = self.failed = 0
    def __call__(self, what, wrong):
        self.passed += not wrong
        self.failed += bool(wrong)
        told = wrong if len(wrong) <= 12 else [*wrong[:12], f'and {len(wrong) - 12} more']
        lines = [f"{'failed' if wrong else 'passed'}  {what}", *(f'          {w}' for w in told)]
        print('\n'.join(lines), flush=True)

def shoot(page, url, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    page.goto(url)
    page.screenshot(path=path, full_page=True)

def pages(site):
    "Every page, as a path within the site."
    found = [p.relative_to(site) for p in site.rglob('*.html') if '_static' not in p.parts]
    return sorted(path.as_posix() for path in found)

def sample(names, every):
    "Every `every`-th page, other ones at each commit, and always the home page."
    if every == 1: return names
    commit = subprocess.run(['git', 'rev-parse', 'HEAD'], capture_output=True, cwd=ROOT).stdout
    first = int(commit[:8] or '0', 16) % every
    return sorted({'index.html', *names[first::every]})

def check_view(chrome, view, base, site, args, count):
    "Open every page at one width."
    context = chrome.new_context(**VIEWS[view])
    page = context.new_page()
    for name in args.only or sample(pages(site), args.every):
        count(f'{view:8} {name}', look(page, base + name, view == 'desktop'))
        shot = f"{name[:-5].replace('/', '_')}-{view}.png"
        if args.shots: shoot(page, base + name, args.shots/shot)
    count(f'{view:8} search for {args.search}', search(page, base, args.search))
    if view == 'desktop': count(f'{len(queries())} searches', searches(page, base))
    context.close()

def chromium():
    names = ('chromium', 'chromium-browser', 'google-chrome')
    return os.environ.get('CHROMIUM') or next(filter(None, map(shutil.which, names)), None)

def serve(site):
    "Serve the site on a free port; returns the address."
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f'http://127.0.0.1:{server.server_port}/cptlib/'

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--site', type=Path, default=ROOT/'docs'/'_build'/'html')
    parser.add_argument('--shots', type=Path, help='folder for a picture of every page')
    parser.add_argument('--every', type=int, default=1, help='open every n-th page only')
    parser.add_argument('--only', nargs='+', help='open these pages only, as index.html')
    parser.add_argument('--search', default='ClunkDetector', help='a word that search must find')
    args = parser.parse_args()
    site, browser = args.site.resolve(), chromium()
    if not browser: sys.exit('No Chromium: `apt-get install chromium`, or name it in CHROMIUM.')
    if not (site/'index.html').exists(): sys.exit(f'No site in {site}: run docs/build.py first.')
    bases = dict(desktop=serve(site), phone=f'{site.as_uri()}/')
    count = Count()
    with sync_playwright() as p:
        chrome = p.chromium.launch(executable_path=browser, args=['--no-sandbox'])
        for view in VIEWS: check_view(chrome, view, bases[view], site, args, count)
        chrome.close()
    count('links within the site', broken_links(site))
    print(f'{count.passed} passed, {count.failed} failed')
    sys.exit(count.failed > 0)

if __name__ == '__main__': main()

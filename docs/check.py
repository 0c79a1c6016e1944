"""Opens every page of the built site in a headless Chromium: `python docs/check.py [--site docs/_build/html] [--shots DIR]`.

Every page is opened twice: at desktop width over HTTP under a sub-path, as on Pages, and at phone width in dark mode from a
file:// folder. Looked for: console errors, files that are missing, markup that leaks, headings out of order, pictures that are
not drawn or not described, a page wider than the window, and what axe-core calls serious or critical. Then: links within the
site, and the search box. Chromium comes from the system (`apt-get install chromium`) or from CHROMIUM; the last line counts.
"""
import argparse, functools, os, re, shutil, sys, threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag
from axe_playwright_python import __file__ as axe_home
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
VIEWS = {'desktop': dict(viewport=dict(width=1280, height=900), color_scheme='light'),
         'phone': dict(viewport=dict(width=390, height=844), color_scheme='dark', device_scale_factor=2)}
AXE = (Path(axe_home).parent/'axe.min.js').read_text(encoding='utf-8')
LEAKS = re.compile(r'^\s*#\|[ \t]*\w|:::|\{(?:py|doc|ref)[:}]')                          # nowhere
PROSE_LEAKS = re.compile(r'\{\.[a-z]|```|<!-- |(?<!\w)\*\*\w|\]\(\S|\$[^\s$][^$]*\$|\\[a-z]+\{')   # nowhere but in code

# what a page looks like from inside, in one call
LOOK = '''() => { const main = document.querySelector('[role=main], main, article') || document.body; return {
    text: main.innerText,
    prose: (p => { p.querySelectorAll('pre, code, .sig, math').forEach(e => e.remove()); return p.textContent })(main.cloneNode(true)),
    headings: [...main.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => [+h.tagName[1], h.innerText]),
    undrawn: [...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src),
    undescribed: [...main.querySelectorAll('img')].filter(i => !i.alt.trim()).map(i => i.src),
    wide: [...main.querySelectorAll('p, pre, table, img, div, dl, h1, h2, h3, h4')].filter(e => {
        if (!e.getClientRects().length || e.getBoundingClientRect().right <= innerWidth + 1) return false;
        for (let a = e; a && a !== document.body; a = a.parentElement) if (/auto|scroll/.test(getComputedStyle(a).overflowX)) return false;
        return true }).map(e => e.outerHTML.slice(0, 80)) }; }'''
# of highlighted code, two tokens of each kind and colour are enough: axe takes its time over thousands
RUN_AXE = '''async () => { const seen = {};
    document.querySelectorAll('pre span').forEach(s => { if ((seen[s.className] = (seen[s.className] || 0) + 1) > 2) s.replaceWith(s.textContent) });
    return (await axe.run(document, {resultTypes: ['violations'], preload: false})).violations
    .filter(v => ['serious', 'critical'].includes(v.impact))
    .map(v => `axe ${v.id} (${v.impact}): ${v.nodes.length} x, first ${v.nodes[0].html.slice(0, 160)} ${(v.nodes[0].failureSummary || '').split('\\n').slice(1, 2)}`) }'''

def look(page, url):
    "What is wrong with the page at `url`, as a list of sentences"
    wrong = []
    handlers = dict(console=lambda m: wrong.append(f'console {m.type}: {m.text}') if m.type == 'error' else None,
                    pageerror=lambda e: wrong.append(f'script error: {e}'),
                    requestfailed=lambda r: wrong.append(f'not loaded: {r.url}'),
                    response=lambda r: wrong.append(f'HTTP {r.status}: {r.url}') if r.status >= 400 else None)
    for event, f in handlers.items(): page.on(event, f)
    page.goto(url, wait_until='load')
    page.add_style_tag(content='*, *::before, *::after { animation: none !important; transition: none !important }')
    page.evaluate('''async () => { document.querySelectorAll('details').forEach(d => d.open = true);
        await Promise.all([...document.images].map(i => { i.loading = 'eager'; return i.decode().catch(() => 0) })) }''')
    seen = page.evaluate(LOOK)
    wrong += [f'picture not drawn: {s}' for s in seen['undrawn']] + [f'picture without a description: {s[:120]}' for s in seen['undescribed']]
    wrong += [f'markup leaks: {line.strip()[:100]}' for pattern, text in ((LEAKS, seen['text']), (PROSE_LEAKS, seen['prose']))
              for line in text.splitlines() if pattern.search(line)]
    wrong += [f'wider than the window: {s}' for s in seen['wide'][:3]]
    levels = [n for n, _ in seen['headings']]
    if levels.count(1) != 1 or levels[0] != 1: wrong.append(f'headings: {levels.count(1)} of the first level, the first is h{levels[0] if levels else "-"}')
    wrong += [f'heading {text!r}: h{n} after h{last}' for last, (n, text) in zip(levels, seen['headings'][1:]) if n > last + 1]
    page.evaluate(AXE)
    wrong += page.evaluate(RUN_AXE)
    for event, f in handlers.items(): page.remove_listener(event, f)
    return wrong

class Anchors(HTMLParser):
    "Identifiers and addresses of a page"
    def __init__(self, path):
        super().__init__(); self.ids, self.refs = set(), []
        self.feed(path.read_text(encoding='utf-8'))
    def handle_starttag(self, tag, attrs):
        a = dict(attrs); self.ids |= {a[k] for k in ('id', 'name') if a.get(k)}
        self.refs += [a[k] for k in ('href', 'src') if a.get(k)]

def broken_links(site):
    "Addresses within the site that lead nowhere"
    pages, wrong = {p: Anchors(p) for p in site.rglob('*.html') if '_static' not in p.parts}, []
    for p, found in pages.items():
        for ref in found.refs:
            if re.match(r'[a-z]+:|//', ref): continue
            href, anchor = urldefrag(unquote(ref))
            to = (p.parent/href.split('?')[0]).resolve() if href else p
            if to.is_dir(): to = to/'index.html'
            if not to.exists(): wrong.append(f'{p.relative_to(site)}: {ref} does not exist')
            elif anchor and to in pages and anchor not in pages[to].ids: wrong.append(f'{p.relative_to(site)}: {ref}: no such place')
    return sorted(set(wrong))

def search(page, base, word):
    "Types `word` into the search box of the home page, and follows the first result"
    page.goto(f'{base}index.html')
    page.locator('input[name=q]').first.fill(word); page.keyboard.press('Enter')
    try: page.wait_for_selector('#search-results ul.search li a', timeout=10_000)
    except Exception: return [f'no result for {word}']
    first = page.locator('#search-results ul.search li a').first
    title = first.inner_text(); first.click(); page.wait_for_load_state()
    return [] if word in page.inner_text('body') else [f'the first result for {word}, {title!r}, does not mention it']

class Quiet(SimpleHTTPRequestHandler):
    "Serves the site under /cptlib/, and nothing else"
    def log_message(self, *args): pass
    def translate_path(self, path): return super().translate_path(path.removeprefix('/cptlib')) if path.startswith('/cptlib/') else '/nowhere'

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--site', type=Path, default=ROOT/'docs'/'_build'/'html')
    parser.add_argument('--shots', type=Path, help='write a picture of every page at both widths into this folder')
    parser.add_argument('--search', default='ClunkDetector', help='a word that the search box must find')
    args = parser.parse_args()
    site = args.site.resolve()
    browser = os.environ.get('CHROMIUM') or next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    if not browser: sys.exit('No Chromium found: `apt-get install chromium`, or name the program in CHROMIUM. Nothing was checked.')
    if not (site/'index.html').exists(): sys.exit(f'No site in {site}: run `python docs/build.py` first.')
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bases = {'desktop': f'http://127.0.0.1:{server.server_port}/cptlib/', 'phone': f'{site.as_uri()}/'}
    passed = failed = 0
    def count(what, wrong):
        nonlocal passed, failed
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print(f"{'failed' if wrong else 'passed'}  {what}", *(f'          {w}' for w in (wrong if len(wrong) <= 12 else wrong[:12] + [f'and {len(wrong) - 12} more'])), sep='\n', flush=True)
    with sync_playwright() as p:
        chrome = p.chromium.launch(executable_path=browser, args=['--no-sandbox'])
        for view, options in VIEWS.items():
            context = chrome.new_context(**options); page = context.new_page()
            for f in sorted(site.rglob('*.html')):
                if '_static' in f.parts: continue
                name = f.relative_to(site).as_posix()
                count(f'{view:8} {name}', look(page, bases[view] + name))
                if args.shots:
                    args.shots.mkdir(parents=True, exist_ok=True)
                    page.goto(bases[view] + name)
                    page.screenshot(path=args.shots/f"{name[:-5].replace('/', '_')}-{view}.png", full_page=True)
            count(f'{view:8} search for {args.search}', search(page, bases[view], args.search))
            context.close()
        chrome.close()
    count('links within the site', broken_links(site))
    print(f'{passed} passed, {failed} failed')
    sys.exit(failed > 0)

if __name__ == '__main__': main()

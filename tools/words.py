"""Finds wording that is not plain English in pages, docstrings and messages: `tools/words.py`.

Prints file, words and their surroundings, and exits with 1 if there are any. To allow a phrase,
write it another way: each of these has made a reader stop.
"""
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STIFF = re.compile('|'.join([
    r'\bgoes on (?:where|as|with)\b', # resumes
    r'\b(?:is|are) (?:another|other) than\b', # differs from
    r'(?<!\b[tT]here )\b(?:is|are|was|were) no (?:number|source|target)s?\b', # is not a number
    r'(?<!\b[tT]here )\b(?:is|was) no (?:text|list|file|folder|probability)\b',
    r'\bof Hugging Face\b(?! \w)', # a Hugging Face model
    r'\bif need be\b', # if needed
    r'\bas one does\b', r'\bone may\b', # you
    r'\bwhereof\b', r'\bthereby\b', r'\bso-called\b',
]))

def texts():
    "Each page's path and the text of its cells; markdown files as a whole."
    for path in sorted([*ROOT.glob('nbs/**/*.ipynb'), *ROOT.glob('experiments/*.ipynb')]):
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        yield path, '\n'.join(''.join(cell['source']) for cell in cells)
    for path in sorted([*ROOT.glob('*.md'), *ROOT.glob('bench/*.py')]):
        yield path, path.read_text(encoding='utf-8')

def stiff(text):
    "The passages of a text that should be written another way."
    for m in STIFF.finditer(text):
        yield text[max(0, m.start() - 30):m.end() + 30].replace('\n', ' ')

def main():
    found = [(path.relative_to(ROOT), around) for path, text in texts() for around in stiff(text)]
    for path, around in found: print(f'{path}: ... {around} ...')
    print(f'{len(found)} stiff phrases')
    sys.exit(bool(found))

if __name__ == '__main__': main()

"""Makes the pictures saved in notebooks smaller, where that is to be had: `python tools/shrink.py [NOTEBOOK ...]` (default: all).

A plot has few colours, so 128 of them in a palette look the same at a third of the bytes. Run it after saving outputs.
"""
import base64, io, json, sys
from pathlib import Path
from PIL import Image

def smaller(png):
    "The same picture with a palette, base64; as it was if that gains nothing"
    out = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB').quantize(128, dither=Image.Dither.NONE).save(out, 'PNG', optimize=True)
    new = base64.b64encode(out.getvalue()).decode()
    return new if len(new) < .8*len(png) else png

for path in map(Path, sys.argv[1:] or sorted(Path(__file__).resolve().parent.parent.joinpath('nbs').rglob('*.ipynb'))):
    text = path.read_text(encoding='utf-8'); nb = json.loads(text)
    for o in (o for c in nb['cells'] for o in c.get('outputs', []) if 'image/png' in o.get('data', {})):
        was = o['data']['image/png']; o['data']['image/png'] = smaller(was if isinstance(was, str) else ''.join(was))
    new = json.dumps(nb, indent=1, ensure_ascii=False) + '\n'
    if new != text and len(new) < len(text): path.write_text(new, encoding='utf-8'); print(f'{path.name}: {len(text)//1000} -> {len(new)//1000} KB')

"""Writes every Python module that notebooks generate: `python tools/export.py`.

The notebooks under nbs/ make the package, those under experiments/ the modules beside them.
"""
import subprocess, sys
from pathlib import Path
from nbdev.export import nb_export

ROOT = Path(__file__).resolve().parent.parent

def main():
    subprocess.run([str(Path(sys.executable).with_name('nbdev-export'))], cwd=ROOT, check=True)
    for path in sorted((ROOT/'experiments').glob('*.ipynb')):
        nb_export(path, lib_path=ROOT/'experiments')

if __name__ == '__main__': main()

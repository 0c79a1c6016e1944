"Reads settings.ini and tells setuptools what pyproject.toml leaves open; see `dynamic` there."
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup, find_packages

RAW = 'https://raw.githubusercontent.com/cptlib/cptlib/main/docs/'

def items(text): return [line.strip() for line in text.splitlines() if line.strip()]

parser = ConfigParser(delimiters=['='], interpolation=None)
parser.read('settings.ini', encoding='utf-8')
cfg = parser.defaults()
readme = Path('README.md').read_text(encoding='utf-8').replace('](docs/', f']({RAW}')
extras = {k: items(v) for k, v in parser['extras'].items() if k not in cfg}

setup(
    author=cfg['author'],
    license_expression=cfg['license'],
    license_files=['LICENSE'],
    keywords=cfg['keywords'],
    classifiers=items(cfg['classifiers']),
    python_requires='>=' + cfg['min_python'],
    install_requires=items(cfg['requirements']),
    extras_require=extras,
    packages=find_packages(include=[cfg['lib_path'], cfg['lib_path'] + '.*']),
    package_data={cfg['lib_path']: ['py.typed']},
    long_description=readme,
    long_description_content_type='text/markdown',
    entry_points={
        'console_scripts': items(cfg['console_scripts']),
        'nbdev': ['cptlib=cptlib._modidx:d'],
    },
)

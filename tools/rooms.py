"""The architecture as a test: `python tools/rooms.py` prints who imports whom and checks it.

A folder of the package is a room. `data` and `clunk` import nothing of the other rooms, `models`
and `audit` may import those two, `tasks` may import `data`, `clunk` and `models`, `callback` those
three and `tasks`, `inside` may import `data`, `models` and `callback`, and what lies at the top may
import anything. There is no circle, no name with an underscore is imported from another module, and
there are at most 80 modules besides `all`, `cli` and generated ones.
"""
import ast, sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent/'cptlib'
MAY_IMPORT = dict(
    data=set(), clunk=set(), models={'data', 'clunk'}, audit={'data', 'clunk'},
    tasks={'data', 'clunk', 'models'}, callback={'data', 'clunk', 'models', 'tasks'},
    inside={'data', 'models', 'callback'})
NOT_COUNTED = {'all', 'cli'}
MOST = 80

def modules():
    "name -> path of every chapter's module: 'data.mixture', 'learner'."
    paths = [p for p in sorted(ROOT.rglob('*.py')) if not p.name.startswith('_')]
    return {'.'.join(p.relative_to(ROOT).with_suffix('').parts): p for p in paths}

def room(name): return name.split('.')[0] if '.' in name else 'top'

def absolute(node, name):
    "The module that an import in module `name` names, without 'cptlib.'; None for other packages."
    if not node.level:
        ours = (node.module or '').startswith('cptlib.')
        return node.module.removeprefix('cptlib.') if ours else None
    package = name.split('.')[:-node.level]
    return '.'.join([*package, node.module] if node.module else package)

def imports(path, name, known):
    "Pairs (module, imported name) of all imports within the package, also inside functions."
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if not isinstance(node, ast.ImportFrom): continue
        module = absolute(node, name)
        for alias in node.names if module is not None else []:
            inner = f'{module}.{alias.name}'.lstrip('.')
            yield (inner, '') if inner in known else (module, alias.name)

def faults(graph, names):
    "What breaks a rule, as sentences."
    for name, found in graph.items():
        for module, imported in found:
            allowed = MAY_IMPORT.get(room(name), {room(module)}) | {room(name)}
            if room(module) not in allowed: yield f'{name} imports {module}: upward'
            if imported.startswith('_'): yield f'{name} imports {imported} from {module}: private'
    edges = {name: {m for m, _ in found if m in names} for name, found in graph.items()}
    try: TopologicalSorter(edges).prepare()
    except CycleError as e: yield f'circle: {" -> ".join(e.args[1])}'
    count = len(set(names) - NOT_COUNTED)
    if count > MOST: yield f'{count} modules, more than {MOST}'

def main():
    names = modules()
    graph = {name: sorted(set(imports(path, name, names))) for name, path in names.items()}
    for name, found in graph.items():
        print(f"{name:22} <- {', '.join(sorted({m for m, _ in found})) or '-'}")
    wrong = list(faults(graph, names))
    print(f'\n{len(set(names) - NOT_COUNTED)} modules, {len(wrong)} faults', *wrong, sep='\n')
    sys.exit(bool(wrong))

if __name__ == '__main__': main()

"""The rules of architecture, each a function from a source tree to the faults found in it."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .source import Import, Source

LINES: tuple[tuple[str, ...], ...] = (
    ("base",),
    ("audio", "text"),
    ("data", "features", "decoding"),
    ("augment", "evaluation"),
    ("registry",),
    ("models", "runtime", "monitoring"),
    ("training", "speaker"),
    ("ensemble",),
    ("compression",),
    ("serving",),
    ("lifecycle",),
    ("lab", "scale"),
    ("cli",),
    ("__main__",),
)
"""From the ground up. A folder imports from lines below its own, and from itself."""

TRAINING_SIDE = {"models", "training", "ensemble", "compression", "lifecycle"}
RUNNING_SIDE = {
    "base",
    "audio",
    "text",
    "features",
    "decoding",
    "evaluation",
    "registry",
    "runtime",
    "monitoring",
    "speaker",
    "serving",
}

HEAVY = {
    "torch",
    "torchaudio",
    "torchvision",
    "lhotse",
    "k2",
    "onnxscript",
    "safetensors.torch",
    "mlflow.pytorch",
    "pytorch_lightning",
    "lightning",
    "transformers",
    "ray.train.torch",
}
"""torch, and what imports torch when it is imported."""

HEAVY_ALLOWED = {
    "data.manifest": "reads and writes Lhotse cuts, and lhotse imports torch",
    "data.recipes": "runs Lhotse's recipes for corpora, and lhotse imports torch",
}
"""Modules outside the training side that may import `HEAVY`, with the reason."""

Chain = tuple[str, ...]
Rule = Callable[[Source], "list[Fault]"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One place where a rule is broken."""

    rule: str
    module: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.what} [{self.rule}]"


def unknown_folders(source: Source) -> list[Fault]:
    """Folders, or modules beside them, that no line of the table names."""
    known = {folder for line in LINES for folder in line}
    return [
        Fault("unknown", module.name, 1, f"{module.folder!r} is on no line: add it to the table")
        for module in source.modules.values()
        if module.folder and module.folder not in known
    ]


def layer_faults(source: Source) -> list[Fault]:
    """Imports that go up, or sideways to a folder on the same line."""
    height = {folder: i for i, line in enumerate(LINES) for folder in line}
    faults = []
    for module, imported, target in own_imports(source):
        here, there = source.modules[module].folder, target.split(".")[1]
        if not here or here == there or here not in height or there not in height:
            continue
        if height[there] >= height[here]:
            way = "up" if height[there] > height[here] else "sideways"
            faults.append(Fault("layers", module, imported.line, f"imports {way}: {target}"))
    return faults


def missing_modules(source: Source) -> list[Fault]:
    """Own modules that are named and do not exist, in the root's table of verbs above all."""
    return [
        Fault("missing", module, imported.line, f"imports {target}, which is not there")
        for module, imported, target in own_imports(source)
        if target not in source.modules and not source.is_folder(target)
    ]


def root_faults(source: Source) -> list[Fault]:
    """Imports from the root package, which stands above everything; its version is for all."""
    return [
        Fault("root", module.name, imported.line, f"imports {source.package} itself")
        for module in source.modules.values()
        for imported in module.imports
        if source.package in source.resolve(imported) and imported.names != ("__version__",)
    ]


def computed_import_faults(source: Source) -> list[Fault]:
    """Imports of a computed name, which no checker can follow; the root's verbs are written out."""
    return [
        Fault("computed", module.name, line, "imports a computed name: write it out")
        for module in source.modules.values()
        for line in module.computed_imports
    ]


def rings(source: Source) -> list[Fault]:
    """Groups of modules that import each other, lazily or not, each told by one round."""
    graph = _graph(source, parents=False)
    faults, seen = [], set[str]()
    for module in sorted(graph):
        ring = None if module in seen else _path(graph, module, module)
        if ring:
            seen.update(ring)
            line = _line(source, ring[0], ring[1])
            faults.append(Fault("ring", module, line, "imports itself: " + " -> ".join(ring)))
    return faults


def torch_faults(source: Source) -> list[Fault]:
    """Imports of torch and its kin outside the training side and the table of exceptions."""
    return [
        Fault("torch", module.name, imported.line, f"imports {name}")
        for module in source.modules.values()
        if module.folder not in TRAINING_SIDE and _below(module.name) not in HEAVY_ALLOWED
        for imported in module.imports
        for name in _heavy(source, imported)[:1]
    ]


def running_side_faults(source: Source) -> list[Fault]:
    """Chains of imports, lazy ones too, from the running side to torch or the training side."""
    graph = _graph(source, parents=True)
    faults = []
    for module in sorted(graph):
        if source.modules[module].folder in RUNNING_SIDE:
            chain = _chain_to_training(source, graph, module)
            if chain:
                line = _line(source, chain[0], chain[1])
                faults.append(Fault("running", module, line, "reaches " + " -> ".join(chain)))
    return faults


def cli_faults(source: Source) -> list[Fault]:
    """The command line meets the training side in ``lifecycle`` alone, and inside functions."""
    faults = []
    for module, imported, target in own_imports(source):
        there = target.split(".")[1]
        if source.modules[module].folder != "cli" or there not in TRAINING_SIDE:
            continue
        if there != "lifecycle":
            faults.append(Fault("cli", module, imported.line, f"imports {target}: use lifecycle"))
        elif not imported.lazy:
            faults.append(Fault("cli", module, imported.line, f"imports {target} at the top"))
    eager = _graph(source, parents=True, lazy=False)
    for module in sorted(eager):
        if source.modules[module].folder == "cli":
            chain = _chain_to_training(source, eager, module, lazy=False)
            if chain and len(chain) > 2:
                line = _line(source, chain[0], chain[1])
                faults.append(Fault("cli", module, line, "loads " + " -> ".join(chain)))
    return faults


RULES = (
    unknown_folders,
    layer_faults,
    missing_modules,
    root_faults,
    computed_import_faults,
    rings,
    torch_faults,
    running_side_faults,
    cli_faults,
)


def own_imports(source: Source) -> Iterator[tuple[str, Import, str]]:
    """Every ``(module, import, own module named by it)``, the root as a target left out."""
    for module in source.modules.values():
        for imported in module.imports:
            for target in source.resolve(imported):
                if target != source.package:
                    yield module.name, imported, target


def _graph(source: Source, *, parents: bool, lazy: bool = True) -> dict[str, set[str]]:
    """Who imports whom; with ``parents``, also the packages that an import passes through.

    The root is left out on both ends: nobody may import from it, and its verbs are lazy.
    """
    graph: dict[str, set[str]] = {n: set() for n in source.modules if n != source.package}
    for module, imported, target in own_imports(source):
        if module != source.package and (lazy or not imported.lazy):
            parts = target.split(".")
            shortest = 2 if parents else len(parts)
            for length in range(shortest, len(parts) + 1):
                name = ".".join(parts[:length])
                if name in graph and (name != module or not parents):
                    graph[module].add(name)
    return graph


def _path(graph: dict[str, set[str]], start: str, goal: str) -> Chain | None:
    """The shortest way of at least one step."""
    queue: deque[Chain] = deque([(start,)])
    seen = set[str]()
    while queue:
        chain = queue.popleft()
        for name in sorted(graph.get(chain[-1], ())):
            if name == goal:
                return (*chain, name)
            if name not in seen:
                seen.add(name)
                queue.append((*chain, name))
    return None


def _chain_to_training(
    source: Source, graph: dict[str, set[str]], start: str, *, lazy: bool = True
) -> Chain | None:
    """The shortest chain from a module to the training side or to `HEAVY`."""
    queue: deque[Chain] = deque([(start,)])
    seen = {start}
    while queue:
        chain = queue.popleft()
        for imported in source.modules[chain[-1]].imports:
            if (lazy or not imported.lazy) and (heavy := _heavy(source, imported)):
                return (*chain, heavy[0])
        for name in sorted(graph[chain[-1]] - seen):
            if source.modules[name].folder in TRAINING_SIDE:
                return (*chain, name)
            seen.add(name)
            queue.append((*chain, name))
    return None


def _heavy(source: Source, imported: Import) -> list[str]:
    return [
        name
        for name in source.outside(imported)
        if any(name == heavy or name.startswith(heavy + ".") for heavy in HEAVY)
    ]


def _below(name: str) -> str:
    return name.partition(".")[2]


def _line(source: Source, module: str, target: str) -> int:
    """The line on which a module first imports something named or below ``target``."""
    for imported in source.modules[module].imports:
        names = (*source.resolve(imported), *source.outside(imported))
        if any(name == target or name.startswith(target + ".") for name in names):
            return imported.line
    return 1

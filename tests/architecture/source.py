"""Reads a package's source into modules and what each of them imports, without running any of it.

The root of the tree is the folder of a package (``src/aimass``); its name is the package's name.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class NothingToCheck(Exception):
    """A tree without modules: a check of it would pass and mean nothing."""


@dataclass(frozen=True, slots=True)
class Import:
    """One import as written: ``target`` is dotted and absolute, ``names`` what is taken from it.

    ``lazy`` imports stand inside a function, under ``TYPE_CHECKING`` or are made by
    `import_module`.
    """

    target: str
    names: tuple[str, ...]
    line: int
    lazy: bool


@dataclass(frozen=True, slots=True)
class Module:
    """One source file."""

    name: str
    path: Path
    tree: ast.Module
    imports: tuple[Import, ...]
    computed_imports: tuple[int, ...]  # lines of import_module(something not written out)

    @property
    def folder(self) -> str:
        """The folder below the package, empty for the root itself."""
        return ".".join(self.name.split(".")[1:2])


@dataclass(frozen=True, slots=True)
class Source:
    """All modules of one package, by dotted name."""

    package: str
    modules: dict[str, Module]

    def resolve(self, imported: Import) -> tuple[str, ...]:
        """The package's own modules that an import names, not counting the parents it passes."""
        if not self.own(imported.target):
            return ()
        submodules = [f"{imported.target}.{name}" for name in imported.names]
        found = [name for name in submodules if name in self.modules]
        if len(found) < len(submodules) or not submodules:
            found.append(imported.target)
        return tuple(found)

    def outside(self, imported: Import) -> tuple[str, ...]:
        """The dotted names of other packages that an import may load."""
        if self.own(imported.target):
            return ()
        return (imported.target, *(f"{imported.target}.{name}" for name in imported.names))

    def is_folder(self, dotted: str) -> bool:
        """Whether modules lie below a dotted name, with or without an ``__init__``."""
        return any(name.startswith(dotted + ".") for name in self.modules)

    def own(self, dotted: str) -> bool:
        """Whether a dotted name lies in this package."""
        return dotted == self.package or dotted.startswith(self.package + ".")


def read(root: Path) -> Source:
    """Read every module below ``root``.

    Raises:
        NothingToCheck: no Python file there.
    """
    modules = [_module(root, path) for path in sorted(root.rglob("*.py"))]
    if not modules:
        raise NothingToCheck(f"no modules below {root}: the check would hold for nothing")
    return Source(root.name, {module.name: module for module in modules})


def _module(root: Path, path: Path) -> Module:
    parts = (root.name, *path.relative_to(root).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    parent = name if is_package else name.rpartition(".")[0]
    imports: list[Import] = []
    computed: list[int] = []
    for node, lazy in _walk(tree, lazy=False):
        match node:
            case ast.Import():
                imports += [Import(a.name, (), node.lineno, lazy) for a in node.names]
            case ast.ImportFrom():
                names = tuple(alias.name for alias in node.names)
                imports.append(Import(_absolute(node, parent), names, node.lineno, lazy))
            case ast.Call() if _calls_import(node):
                target = _written_out(node, parent)
                if target is None:
                    computed.append(node.lineno)
                else:
                    imports.append(Import(target, (), node.lineno, True))
            case _:
                pass
    if len(parts) == 2 and is_package and computed:  # the root's table of lazy verbs
        imports += [Import(text, (), line, True) for text, line in _dotted_strings(tree, root.name)]
        computed = []
    return Module(name, path, tree, tuple(imports), tuple(computed))


def _walk(node: ast.AST, *, lazy: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below, with whether it only runs when a function is called."""
    for child in ast.iter_child_nodes(node):
        inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If):
            inside = inside or ast.unparse(child.test).endswith("TYPE_CHECKING")
        yield child, lazy
        yield from _walk(child, lazy=inside)


def _absolute(node: ast.ImportFrom, parent: str) -> str:
    if not node.level:
        return node.module or ""
    kept = parent.split(".")[: len(parent.split(".")) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _calls_import(node: ast.Call) -> bool:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in {"import_module", "__import__"}


def _written_out(node: ast.Call, parent: str) -> str | None:
    first = node.args[0] if node.args else None
    if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
        return None
    dots = len(first.value) - len(first.value.lstrip("."))
    if not dots:
        return first.value
    relative = ast.ImportFrom(module=first.value[dots:] or None, names=[], level=dots)
    return _absolute(relative, parent)


def _dotted_strings(tree: ast.Module, package: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts = node.value.split(".")
            if len(parts) > 1 and parts[0] == package and all(p.isidentifier() for p in parts):
                yield node.value, node.lineno

"""What no module may do, whatever it imports: each rule a function from a source to its faults."""

import ast
from collections.abc import Iterator

from .layers import Fault
from .source import Module, Source

SETTINGS = "base.settings"

ENVIRONMENT_ALLOWED: dict[str, str] = {}
"""Modules, apart from the settings, that may touch the environment, with the reason."""

ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"}
EXECUTING_MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
EXECUTING_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "torch.load",
    "torch.save",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "yaml.unsafe_load",
    "yaml.full_load",
}


def print_faults(source: Source) -> list[Fault]:
    """`print` outside the command line."""
    return [
        Fault("print", module.name, node.lineno, "prints: only the command line may")
        for module in source.modules.values()
        if module.folder not in {"cli", "__main__"}
        for node, name in _calls(module)
        if name in {"print", "rich.print"}
    ]


def environment_faults(source: Source) -> list[Fault]:
    """The environment read or written outside the settings."""
    return [
        Fault("environment", module.name, line, f"uses {name}: add a setting in {SETTINGS}")
        for module in source.modules.values()
        if module.name.partition(".")[2] not in {SETTINGS, *ENVIRONMENT_ALLOWED}
        for line, name in _mentions(module)
        if name in ENVIRONMENT
    ]


def execution_faults(source: Source) -> list[Fault]:
    """Whatever turns data into running code, or hands text to a shell."""
    return [
        Fault("execution", module.name, line, f"uses {what}")
        for module in source.modules.values()
        for line, what in _executing(module)
    ]


def error_tree_faults(source: Source) -> list[Fault]:
    """Errors of ours that are not drawn in the one tree of ``base.errors``."""
    errors = f"{source.package}.base.errors"
    faults = []
    for module in source.modules.values():
        names = _aliases(module.tree)
        for node in ast.walk(module.tree) if module.name != errors else ():
            bases = node.bases if isinstance(node, ast.ClassDef) else []
            if any(_dotted(base, names).startswith(errors + ".") for base in bases):
                what = f"defines an error: draw it in {errors}"
                faults.append(Fault("errors", module.name, bases[0].lineno, what))
    return faults


RULES = (print_faults, environment_faults, execution_faults, error_tree_faults)


def _executing(module: Module) -> Iterator[tuple[int, str]]:
    for imported in module.imports:
        if imported.target.partition(".")[0] in EXECUTING_MODULES:
            yield imported.line, imported.target
    for node, name in _calls(module):
        if name in EXECUTING_CALLS:
            yield node.lineno, name
        for keyword in node.keywords:
            on = not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
            if keyword.arg in {"shell", "allow_pickle"} and on:
                yield node.lineno, f"{keyword.arg}=True"


def _calls(module: Module) -> Iterator[tuple[ast.Call, str]]:
    names = _aliases(module.tree)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            yield node, _dotted(node.func, names)


def _mentions(module: Module) -> Iterator[tuple[int, str]]:
    """Every dotted name in use, and every name taken by ``from ... import``."""
    names = _aliases(module.tree)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            yield node.lineno, _dotted(node, names)
    for imported in module.imports:
        for name in imported.names:
            yield imported.line, f"{imported.target}.{name}"


def _aliases(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: ``np`` for ``numpy``, ``load`` for ``torch.load``."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    """A name or chain of attributes as a dotted name with imports resolved, else empty."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value, names)):
        return f"{base}.{node.attr}"
    return ""

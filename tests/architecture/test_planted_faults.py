"""Every kind of fault, planted once in a small package: the checker must name it."""

from pathlib import Path

import pytest

from . import habits, layers
from .importing import blocked_import_faults, root_import_faults
from .source import NothingToCheck, read

ROOT = """
from importlib import import_module
__version__ = "1"
_VERBS = {"build": "aimass.lifecycle.build"}
def __getattr__(name):
    return getattr(import_module(_VERBS[name]), name)
"""

HEALTHY = {
    "__init__.py": ROOT,
    "base/errors.py": "class AimassError(Exception): ...\nclass Busy(AimassError): ...",
    "base/settings.py": "import os\nhome = os.environ.get('AIMASS_HOME')",
    "audio/decode.py": "from aimass.base.errors import Busy\nfrom aimass import __version__",
    "text/tokens.py": "from ..base import errors",
    "data/manifest.py": "import lhotse",
    "runtime/engine.py": "def load():\n    from aimass.audio import decode\n    return decode",
    "models/net.py": "import torch\nmodel = torch.nn.Linear(1, 1)\nmodel.eval()",
    "training/loop.py": "from aimass.models.net import model\nimport aimass.data.manifest",
    "lifecycle/build.py": "from aimass.training import loop\ndef build(): ...",
    "cli/main.py": "def run():\n    from aimass.lifecycle.build import build\n    print(build())",
}


def plant(folder: Path, files: dict[str, str] | None = None) -> Path:
    """Write the healthy package, with some files added or replaced."""
    root = folder / "aimass"
    planted = {f"{name}.py": text for name, text in (files or {}).items()}
    for name, text in (HEALTHY | planted).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text, encoding="utf-8")
    return root


def faults(root: Path) -> list[layers.Fault]:
    """What all static rules find."""
    source = read(root)
    return [fault for rule in layers.RULES + habits.RULES for fault in rule(source)]


def test_healthy_package_has_no_fault(tmp_path: Path) -> None:
    assert [str(fault) for fault in faults(plant(tmp_path))] == []


UP = "from aimass.runtime.engine import load"
PLANTED = {
    "upward": ({"base/errors": UP}, ["layers base.errors", "ring audio.decode"]),
    "upward, lazy": ({"text/tokens": f"def f():\n    {UP}"}, ["layers text.tokens"]),
    "upward, relative": ({"text/tokens": "from ..runtime import engine"}, ["layers text.tokens"]),
    "upward, package": ({"text/tokens": "from .. import runtime"}, ["layers text.tokens"]),
    "upward, for types": (
        {"text/tokens": f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {UP}"},
        ["layers text.tokens"],
    ),
    "upward, by name": (
        {"text/tokens": "import importlib\nimportlib.import_module('aimass.runtime.engine')"},
        ["layers text.tokens"],
    ),
    "upward, by relative name": (
        {"text/tokens": "import importlib\nimportlib.import_module('..runtime', 'x')"},
        ["layers text.tokens"],
    ),
    "sibling": ({"text/tokens": "import aimass.audio.decode"}, ["layers text.tokens"]),
    "no such module": ({"text/tokens": "import aimass.base.gone"}, ["missing text.tokens"]),
    "no such verb": (
        {"__init__": ROOT.replace("lifecycle.build", "lifecycle.gone")},
        ["missing "],
    ),
    "from the root": ({"text/tokens": "from aimass import build"}, ["root text.tokens"]),
    "the root": ({"text/tokens": "import aimass"}, ["root text.tokens"]),
    "computed name": (
        {"text/tokens": "from importlib import import_module\nimport_module('tor' + 'ch')"},
        ["computed text.tokens"],
    ),
    "ring": (
        {"text/a": "from aimass.text import b", "text/b": "from .a import x"},
        ["ring text.a"],
    ),
    "ring, lazy": (
        {"text/a": "from . import b", "text/b": "def f():\n    from aimass.text.a import x"},
        ["ring text.a"],
    ),
    "ring of three, all lazy": (
        {f"text/{a}": f"def f():\n    from . import {b}" for a, b in ("ab", "bc", "ca")},
        ["ring text.a"],
    ),
    "ring through the package": (
        {"text/__init__": "from .a import x", "text/a": "from aimass.text import y"},
        ["ring text"],
    ),
    "torch in the runtime": (
        {"runtime/engine": "import torch.nn as nn"},
        ["torch runtime.engine", "running runtime.engine"],
    ),
    "torch in the runtime, lazy": (
        {"runtime/engine": "def f():\n    from torch import nn"},
        ["torch runtime.engine", "running runtime.engine"],
    ),
    "torch by way of safetensors": (
        {"runtime/engine": "from safetensors import torch"},
        ["torch runtime.engine", "running runtime.engine"],
    ),
    "torch reached through a chain": (
        {"runtime/engine": "import aimass.features.a",
         "features/a": "def f():\n    from . import b", "features/b": "import torch"},
        ["torch features.b", "running features.a", "running features.b", "running runtime.engine"],
    ),
    "lhotse reached through the manifest": (
        {"runtime/engine": "def f():\n    from aimass.data.manifest import read"},
        ["running runtime.engine"],
    ),
    "torch reached through a package on the way": (
        {"data/__init__": "from .manifest import read", "data/light": "",
         "evaluation/score": "import aimass.data.light"},
        ["running evaluation.score"],
    ),
    "training side in serving": (
        {"serving/app": "def f():\n    from aimass.compression import pack",
         "compression/pack": ""},
        ["running serving.app"],
    ),
    "torch in the command line": (
        {"cli/main": "def f():\n    import torch"},
        ["torch cli.main"],
    ),
    "lifecycle at the top of the command line": (
        {"cli/main": "from aimass.lifecycle.build import build"},
        ["cli cli.main"],
    ),
    "training in the command line": (
        {"cli/main": "def f():\n    from aimass.training import loop"},
        ["cli cli.main"],
    ),
    "unknown folder": ({"extras/new": ""}, ["unknown extras", "unknown extras.new"]),
    "unknown module beside the folders": ({"helpers": ""}, ["unknown helpers"]),
    "environment": ({"text/tokens": "import os\nos.environ['A']"}, ["environment text.tokens"]),
    "environment, by alias": ({"text/tokens": "import os as o\no.getenv('A')"},
                              ["environment text.tokens"]),
    "environment, by name": ({"text/tokens": "from os import environ as e"},
                             ["environment text.tokens"]),
    "print": ({"text/tokens": "def f():\n    print(1)"}, ["print text.tokens"]),
    "an error outside the tree": (
        {"text/tokens": "from aimass.base import errors\nclass Odd(errors.Busy): ..."},
        ["errors text.tokens"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "expected"), PLANTED.values(), ids=PLANTED)
def test_planted_fault_is_named(files: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    found = faults(plant(tmp_path, files))
    named = [f"{fault.rule} {fault.module.partition('.')[2]}" for fault in found]
    assert sorted(named) == sorted(expected), list(map(str, found))


EXECUTING = [
    "import pickle",
    "from marshal import loads",
    "import shelve as s",
    "eval('1')",
    "exec('1')",
    "import os\nos.system('ls')",
    "from os import popen as p\np('ls')",
    "import subprocess\nsubprocess.run('ls', shell=True)",
    "import subprocess\nshell = True\nsubprocess.run('ls', shell=shell)",
    "import numpy as np\nnp.load('x', allow_pickle=True)",
    "import yaml\nyaml.unsafe_load('x')",
]


@pytest.mark.parametrize("text", EXECUTING)
def test_planted_execution_is_named(text: str, tmp_path: Path) -> None:
    found = faults(plant(tmp_path, {"text/tokens": text}))
    assert [(fault.rule, fault.module) for fault in found] == [("execution", "aimass.text.tokens")]


def test_torch_load_is_named_where_torch_is_allowed(tmp_path: Path) -> None:
    (fault,) = faults(plant(tmp_path, {"models/net": "import torch as t\nt.load('x')\nmodel = 1"}))
    assert str(fault) == "aimass.models.net:2: uses torch.load [execution]"


@pytest.mark.parametrize(
    "text",
    [
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "import subprocess\nsubprocess.run(['ls'], shell=False)",
        "import re\nre.compile('x')",
        "print = 1",
        "environ = 1\nenviron",
    ],
)
def test_harmless_lookalikes_pass(text: str, tmp_path: Path) -> None:
    assert not faults(plant(tmp_path, {"text/tokens": text}))


def test_unknown_folder_says_what_to_do(tmp_path: Path) -> None:
    assert "add it to the table" in str(faults(plant(tmp_path, {"extras/new": ""}))[0])


def test_chain_is_written_out(tmp_path: Path) -> None:
    root = plant(
        tmp_path, {"runtime/engine": "from . import b", "runtime/b": "\nimport lhotse.cut"}
    )
    told = [str(fault) for fault in layers.running_side_faults(read(root))]
    chain = "aimass.runtime.engine -> aimass.runtime.b -> lhotse.cut"
    assert f"aimass.runtime.engine:1: reaches {chain} [running]" in told


@pytest.mark.parametrize("made", [None, "", "notes.txt"])
def test_nothing_to_check_is_a_failure(made: str | None, tmp_path: Path) -> None:
    root = tmp_path / "aimass"
    if made is not None:
        root.mkdir()
    if made:
        (root / made).touch()
    with pytest.raises(NothingToCheck):
        read(root)
    with pytest.raises(NothingToCheck):
        root_import_faults(root, tmp_path / "scratch")


def test_a_folder_without_modules_is_a_failure(tmp_path: Path) -> None:
    root = plant(tmp_path)
    with pytest.raises(NothingToCheck):
        blocked_import_faults(read(root), root, "monitoring", tmp_path / "scratch")


IMPORTS = {
    "noisy": ("print('hello')", "says 'hello'"),
    "noisy on the error stream": ("import sys\nsys.stderr.write('x')", "says 'x'"),
    "heavy": ("import numpy", "loads numpy"),
    "heavy by way of its own": ("import aimass.heavy", "loads yaml"),
    "failing": ("raise ValueError('broken')", "broken"),
    "thread": (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
        "changes the threads",
    ),
    "file at home": ("from pathlib import Path\n(Path.home() / 'x').touch()", "creates x"),
    "file in the folder": ("from pathlib import Path\nPath('y').touch()", "creates y"),
    "environment": ("import os\nos.environ['OMP_NUM_THREADS'] = '1'", "changes the environment"),
    "logging": ("import logging\nlogging.basicConfig()", "changes the logging"),
    "signal": (
        "import signal\nsignal.signal(signal.SIGTERM, lambda *a: None)",
        "changes the signals",
    ),
    "warnings": ("import warnings\nwarnings.simplefilter('ignore')", "changes the warning filters"),
}


def test_healthy_root_import_has_no_fault(tmp_path: Path) -> None:
    assert root_import_faults(plant(tmp_path), tmp_path / "scratch") == []


@pytest.mark.parametrize(("text", "expected"), IMPORTS.values(), ids=IMPORTS)
def test_planted_root_import_is_named(text: str, expected: str, tmp_path: Path) -> None:
    root = plant(tmp_path, {"__init__": text, "heavy": "import yaml"})
    assert any(expected in fault for fault in root_import_faults(root, tmp_path / "scratch"))


@pytest.mark.parametrize("text", ["import torch", "import lhotse", "import aimass.models.net"])
def test_torch_while_importing_the_running_side_is_named(text: str, tmp_path: Path) -> None:
    root = plant(tmp_path, {"runtime/engine": text})
    found = blocked_import_faults(read(root), root, "runtime", tmp_path / "scratch")
    assert [fault for fault in found if fault.startswith("aimass.runtime.engine: ")]


def test_healthy_running_side_imports_without_torch(tmp_path: Path) -> None:
    root = plant(tmp_path)
    assert blocked_import_faults(read(root), root, "runtime", tmp_path / "scratch") == []

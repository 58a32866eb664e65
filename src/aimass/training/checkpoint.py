"""The whole state of a training run in one safetensors file: no pickle, written at once."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from aimass.base.errors import TrainingError
from aimass.base.files import write_bytes
from aimass.models.model import SpeechModel

Weights = dict[str, Tensor]

_ADAM = {"exp_avg", "exp_avg_sq"}


@dataclass(slots=True)
class Position:
    """How far a run has come.

    Args:
        epoch: epochs that are done.
        step: steps that are done.
        batch: batches of the current epoch that are done, and the sum of their losses.
        errors: the dev error after each epoch.
        first: the loss of the first step, which says what an exploded one is.
    """

    epoch: int = 0
    step: int = 0
    batch: int = 0
    losses: float = 0.0
    errors: list[float] = field(default_factory=list)
    first: float = 0.0


@dataclass(slots=True)
class Run:
    """Everything that training changes.

    Args:
        aim: its objective, which may have weights of its own.
        average: moving average of the model.
        best: averaged weights of the epochs with the lowest dev error, by epoch.
    """

    model: SpeechModel
    aim: nn.Module
    average: SpeechModel
    optimizers: Sequence[torch.optim.Optimizer]
    position: Position = field(default_factory=Position)
    best: dict[int, Weights] = field(default_factory=dict)

    @property
    def trained(self) -> list[nn.Parameter]:
        """The weights that are not frozen."""
        return [p for p in (*self.model.parameters(), *self.aim.parameters()) if p.requires_grad]


def save_run(path: Path, run: Run) -> None:
    """Write a run whole or not at all."""
    _write(path, _tensors(run), {"position": json.dumps(asdict(run.position))})


def load_run(path: Path, run: Run) -> None:
    """Put a saved state back into a fresh run, bit for bit.

    Raises:
        TrainingError: a checkpoint that cannot be read or is of another model.
    """
    with _opened(path) as (tensors, meta):
        _restore(run, tensors, json.loads(meta["position"]))


def save_runs(path: Path, runs: Sequence[Run]) -> None:
    """Write runs that go side by side, all whole or none at all."""
    tensors = {f"{n}.{k}": v for n, run in enumerate(runs) for k, v in _tensors(run).items()}
    _write(path, tensors, {"positions": json.dumps([asdict(run.position) for run in runs])})


def load_runs(path: Path, runs: Sequence[Run]) -> None:
    """Put the states of several runs back, bit for bit.

    Raises:
        TrainingError: a checkpoint that cannot be read or is of other models.
    """
    with _opened(path) as (tensors, meta):
        positions = json.loads(meta["positions"])
        for number, (run, position) in enumerate(zip(runs, positions, strict=True)):
            _restore(run, _under(f"{number}.", tensors), position)


def mean_of(several: list[Weights]) -> Weights:
    """The average of several sets of weights (Izmailov et al. 2018)."""
    return {
        name: torch.stack([weights[name].double() for weights in several]).mean(0).to(first.dtype)
        for name, first in several[0].items()
    }


def _tensors(run: Run) -> Weights:
    tensors = {f"model.{k}": v for k, v in run.model.state_dict().items()}
    tensors |= {f"aim.{k}": v for k, v in run.aim.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in run.average.state_dict().items()}
    for epoch, weights in run.best.items():
        tensors |= {f"best.{epoch}.{k}": v for k, v in weights.items()}
    for number, optimizer in enumerate(run.optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{k}": v for k, v in state.items()}
    return tensors


def _restore(run: Run, tensors: Weights, position: dict[str, Any]) -> None:
    run.model.load_state_dict(_under("model.", tensors))
    run.aim.load_state_dict(_under("aim.", tensors))
    run.average.load_state_dict(_under("average.", tensors))
    for number, optimizer in enumerate(run.optimizers):
        state = _numbered(_under(f"optimizer.{number}.", tensors))
        _refuse_other(state, optimizer)
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    run.best = _numbered(_under("best.", tensors))
    run.position = Position(**position)


def _write(path: Path, tensors: Weights, meta: dict[str, str]) -> None:
    write_bytes(path, save({k: v.contiguous().clone() for k, v in tensors.items()}, meta))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Weights, dict[str, str]]]:
    """Tensors and metadata; whatever goes wrong with them is the checkpoint's fault."""
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        yield tensors, meta
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())[:200]  # torch names every tensor
        raise TrainingError(
            f"checkpoint {path} cannot be used: {why}",
            expected="a checkpoint of this very model",
            fix=f"Remove {path.parent} and build again",
        ) from error


def _refuse_other(state: dict[int, Weights], optimizer: torch.optim.Optimizer) -> None:
    """The optimizer itself takes any moments, and fails or starts anew in its next step."""
    wanted = {"momentum_buffer"} if isinstance(optimizer, torch.optim.Muon) else _ADAM
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, parameter in enumerate(parameters):
        for name in wanted:
            if state[index][name].shape != parameter.shape:
                raise ValueError(f"{name} of parameter {index} has another shape")


def _numbered(tensors: Weights) -> dict[int, Weights]:
    """``{"3.name": tensor}`` as ``{3: {"name": tensor}}``."""
    found: dict[int, Weights] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        found.setdefault(int(number), {})[name] = value
    return found


def _under(prefix: str, tensors: Weights) -> Weights:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

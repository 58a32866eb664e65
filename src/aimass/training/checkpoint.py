"""The whole state of a training run in one safetensors file: no pickle, written at once."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from aimass.base.errors import TrainingError
from aimass.base.files import write_bytes


@dataclass(slots=True)
class Position:
    """How far a run has come; epochs and steps that are done."""

    epoch: int = 0
    step: int = 0


def save_run(
    path: Path,
    position: Position,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write weights, averaged weights and the optimizer's moments."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
    meta = {"position": json.dumps({"epoch": position.epoch, "step": position.step})}
    write_bytes(path, save({k: v.contiguous().clone() for k, v in tensors.items()}, meta))


def load_run(
    path: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> Position:
    """Put a saved state back, bit for bit.

    Raises:
        TrainingError: a checkpoint that cannot be read or is of another model.
    """
    try:
        with safe_open(path, "pt") as file:
            meta = json.loads(file.metadata()["position"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        model.load_state_dict(_under("model.", tensors))
        average.load_state_dict(_under("average.", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _under("optimizer.", tensors).items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        _refuse_other(state, model)
        saved = optimizer.state_dict()
        optimizer.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
        return Position(**meta)
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())[:200]  # torch names every tensor
        raise TrainingError(
            f"checkpoint {path} cannot be used: {why}",
            expected="a checkpoint of this very model",
            fix=f"Remove {path.parent} and build again",
        ) from error


def _refuse_other(state: dict[int, dict[str, Tensor]], model: nn.Module) -> None:
    """The optimizer itself takes any moments, and fails or starts anew in its next step."""
    for index, parameter in enumerate(model.parameters()):
        for name in ("exp_avg", "exp_avg_sq"):
            if state[index][name].shape != parameter.shape:
                raise ValueError(f"{name} of parameter {index} has another shape")


def load_average(path: Path, model: nn.Module) -> None:
    """Put the averaged weights of a finished run into `model`."""
    with safe_open(path, "pt") as file:
        keys = [key for key in file.keys() if key.startswith("average.")]  # noqa: SIM118
        model.load_state_dict({k.removeprefix("average."): file.get_tensor(k) for k in keys})


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

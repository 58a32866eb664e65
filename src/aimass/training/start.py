"""Training that starts from the weights of another model (Yosinski et al. 2014, on transfer)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aimass.base.errors import TrainingError
from aimass.models import ctranslate, whisper
from aimass.models.model import SpeechModel
from aimass.models.spec import ModelSpec, WhisperSpec
from aimass.registry.bundle import MANIFEST

WEIGHTS = "weights.safetensors"


def start_from(model: SpeechModel, folder: Path, *, frozen: bool = False) -> int:
    """Take over the weights that fit by name and shape; gives how many tensors fit.

    Layers of another vocabulary or task stay as they are.

    Args:
        folder: a bundle, or for the family ``whisper`` also a Whisper model.
        frozen: train the head alone; in the family ``whisper``, all but Whisper's encoder.

    Raises:
        TrainingError: a bundle without weights, or with weights of another architecture.
        BundleError: a Whisper model that cannot be read.
    """
    found = _read(folder) if model.spec.whisper is None else _with_whisper(model.spec, folder)
    own = model.state_dict()
    fitting = {k: v.to(own[k].dtype) for k, v in found.items()
               if k in own and own[k].shape == v.shape}  # fmt: skip
    # What is frozen must all be there: nothing random may stay random.
    needed = ("front.", "stack.", "encoder.") if frozen else ("encoder.",)
    if model.spec.whisper:
        needed = ("front.",)
    if _other_dilations(model.spec, folder) or not all(
        name in fitting for name in own if name.startswith(needed)
    ):
        raise TrainingError(
            f"{folder} holds {len(found)} tensors, of which {len(fitting)} fit a model of the "
            f"family {model.spec.family} with {model.spec.channels} channels",
            expected="a bundle of the same family, size, kernel, stack and subsampling",
            fix="Give the member the shape of that bundle (aimass models show), or start fresh",
        )
    model.load_state_dict(fitting, strict=False)
    if frozen:
        whole = (model.front, model.stack, model.encoder)
        for part in whole[:1] if model.spec.whisper else whole:
            part.requires_grad_(False)
    return len(fitting)


def _other_dilations(spec: ModelSpec, folder: Path) -> bool:
    """Whether a bundle's convolutions reach otherwise, which its shapes do not tell."""
    if spec.whisper is not None:
        return False
    with safe_open(folder / WEIGHTS, "pt") as file:
        saved = ModelSpec.from_dict(json.loads(file.metadata()["spec"]))
    return saved.family != "recurrent" and saved.dilations != spec.dilations


def whisper_of(folder: Path, layers: int | None = None) -> WhisperSpec:
    """The shape of the Whisper encoder in a folder that a member starts from.

    Args:
        folder: a Whisper model, or a bundle of the family ``whisper``.
        layers: how many of its layers to take, from the first; all when None.

    Raises:
        TrainingError: none there, or fewer layers than that.
        BundleError: a Whisper model that cannot be read.
    """
    if (folder / ctranslate.FILE).is_file():
        return whisper.spec_of(folder, layers)
    found = _spec(folder).whisper
    if found is None or found.layers != (layers or found.layers):
        raise TrainingError(
            f"{folder} holds "
            + ("no Whisper" if found is None else f"a Whisper of {found.layers} layers"),
            expected="a Whisper model, or a bundle of the family whisper with as many layers",
            fix="Set start_from: whisper-base, or correct 'layers'",
        )
    return found


def _with_whisper(spec: ModelSpec, folder: Path) -> dict[str, Tensor]:
    assert spec.whisper is not None
    if not (folder / ctranslate.FILE).is_file():
        return _read(folder)
    encoder = whisper.load_encoder(folder, spec.whisper.layers)
    return {f"front.{name}": values for name, values in encoder.state_dict().items()}


def save_weights(model: SpeechModel, path: Path) -> None:
    """Write weights in half precision: enough to start from, half the size."""
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    save_file(half, path, {"spec": json.dumps(model.spec.to_dict())})


def _spec(bundle: Path) -> ModelSpec:
    with _opened(bundle) as file:
        return ModelSpec.from_dict(json.loads(file.metadata()["spec"]))


def _read(bundle: Path) -> dict[str, Tensor]:
    with _opened(bundle) as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


@contextmanager
def _opened(bundle: Path) -> Iterator[Any]:
    path = bundle / WEIGHTS
    if (bundle / MANIFEST).is_file() and not path.is_file():
        raise TrainingError(
            f"{bundle} serves only: it holds no {WEIGHTS} to start from",
            expected="one model that aimass built; models that ship with the package, and massive "
            "models, hold no weights to train on",
            fix="Build a model of this shape from a scenario, and set start_from: NAME of that one",
        )
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path} cannot be read: {error}",
            expected="a bundle that holds the weights it was trained to",
            fix="Build the model again with this version of aimass",
        ) from error

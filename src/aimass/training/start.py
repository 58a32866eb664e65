"""Training that starts from the weights of another model (Yosinski et al. 2014, on transfer)."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aimass.base.errors import TrainingError
from aimass.models.model import SpeechModel

WEIGHTS = "weights.safetensors"


def start_from(model: SpeechModel, bundle: Path, *, frozen: bool = False) -> int:
    """Take over the weights of a bundle that fit by name and shape; gives how many tensors fit.

    Layers of another vocabulary or task stay as they are.

    Args:
        frozen: train the head alone.

    Raises:
        TrainingError: a bundle without weights, or with weights of another architecture.
    """
    found = _read(bundle)
    own = model.state_dict()
    fitting = {k: v.to(own[k].dtype) for k, v in found.items()
               if k in own and own[k].shape == v.shape}  # fmt: skip
    encoder = [name for name in own if name.startswith("encoder.")]
    if not all(name in fitting for name in encoder):
        raise TrainingError(
            f"{bundle} holds {len(found)} tensors, of which {len(fitting)} fit a model of the "
            f"family {model.spec.family} with {model.spec.channels} channels",
            expected="a bundle of the same family, size, kernel and stack",
            fix="Give the member the shape of that bundle (aimass models show), or start fresh",
        )
    model.load_state_dict(fitting, strict=False)
    if frozen:
        for part in (model.front, model.stack, model.encoder):
            part.requires_grad_(False)
    return len(fitting)


def save_weights(model: SpeechModel, path: Path) -> None:
    """Write weights in half precision: enough to start from, half the size."""
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    save_file(half, path, {"spec": json.dumps(model.spec.to_dict())})


def _read(bundle: Path) -> dict[str, Tensor]:
    path = bundle / WEIGHTS
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path} cannot be read: {error}",
            expected="a bundle that holds the weights it was trained to",
            fix="Build the model again with this version of aimass",
        ) from error

"""From a torch model to the ONNX form that both our runtime and sherpa-onnx load unchanged.

By position: features ``(batch, bins, frames)``, length ``(batch,)``, cache 1, cache 2 and cache
length in; outputs ``(batch, frames / stack, outputs)``, length and the next caches out.
The whole state of our models is cache 1, ``(batch, 1, 1, state)``; cache 2 is there because
sherpa-onnx expects it.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from aimass.base.errors import TrainingError
from aimass.compression.graphs import faster
from aimass.compression.quantise import dynamic as quantize
from aimass.features.spec import Frames
from aimass.models.model import SpeechModel
from aimass.models.stem import Normalise

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "PARITY",
    "REVISION",
    "WINDOW",
    "cache",
    "export",
    "quantize",
    "trace",
]

REVISION = 3  # of what is written: a build exports again what an older one left
OPSET = 17
WINDOW = 32  # frames a step in sherpa-onnx; ours takes any number
PARITY = 1e-4
INPUTS = ("features", "length", "cache_1", "cache_2", "cache_length")
OUTPUTS = ("log_probs", "out_length", "next_cache_1", "next_cache_2", "next_cache_length")


class _Streaming(nn.Module):
    def __init__(self, model: SpeechModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, features: Tensor, length: Tensor, past: Tensor, unused: Tensor, seen: Tensor
    ) -> tuple[Tensor, ...]:
        outputs, state = self.model(
            features.transpose(1, 2), past.reshape(-1, self.model.state_size)
        )
        past = state.reshape(-1, 1, 1, self.model.state_size)
        return outputs, length // self.model.spec.stack, past, unused, seen + length


def export(model: SpeechModel, path: Path, clips: Sequence[Frames] = ()) -> None:
    """Write the graph of a trained model: for streams, and for whole files in one big chunk.

    Batch and length are open, and the state that comes out of one chunk goes into the next, so
    that one graph serves both. A model that takes whole utterances gives a graph of the same form
    without the metadata of sherpa-onnx, which would feed it window by window.

    Args:
        clips: features of real sound, each ``(frames, columns)``, on which torch and the graph
            must agree, whole and in chunks; so must they on noise.

    Raises:
        TrainingError: ONNX Runtime disagrees with torch by more than 1e-4.
    """
    trace(model, path)
    faster(path)
    if not model.spec.whole:
        _describe(path, model)
    _check_parity(path, model, clips)


def trace(model: SpeechModel, path: Path) -> None:
    """Write the graph as torch's exporter gives it, neither rewritten nor compared."""
    spec = model.spec
    example = (
        torch.randn(1, spec.columns, WINDOW),
        torch.tensor([WINDOW]),
        torch.zeros(1, *cache(model)),
        torch.zeros(1, 1, 1, 1),
        torch.zeros(1, dtype=torch.int64),
    )
    axes = {name: {0: "batch"} for name in (*INPUTS, *OUTPUTS)}
    axes["features"][2] = "frames"
    axes["log_probs"][1] = "steps"
    with warnings.catch_warnings():
        # The TorchScript exporter says that it is old; its graphs are the ones that
        # sherpa-onnx's loader was checked with.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Streaming(model).eval(),
            example,
            str(path),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def cache(model: SpeechModel) -> tuple[int, int, int]:
    """The shape of one stream's past."""
    return 1, 1, model.state_size


def _describe(path: Path, model: SpeechModel) -> None:
    """Add the metadata by which sherpa-onnx sizes its windows and caches."""
    spec = model.spec
    metadata = {
        "window_size": WINDOW,
        "chunk_shift": WINDOW,
        "subsampling_factor": spec.stack,
        "vocab_size": spec.outputs - 1,
        "cache_last_channel_dim1": 1,
        "cache_last_channel_dim2": 1,
        "cache_last_channel_dim3": model.state_size,
        "cache_last_time_dim1": 1,
        "cache_last_time_dim2": 1,
        "cache_last_time_dim3": 1,
    }
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {key: str(value) for key, value in metadata.items()})
    onnx.save(graph, path)


def _check_parity(path: Path, model: SpeechModel, clips: Sequence[Frames]) -> None:
    """Sound through both runtimes: noise of two streams, and each clip, whole and in chunks.

    Models of whole utterances get theirs in one piece alone.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for sound in (_noise(model), *(_fitting(clip, model.spec.stack) for clip in clips)):
        with torch.no_grad():
            wanted = model(sound, model.start(len(sound)))[0].numpy()
        for size in {sound.shape[1]} if model.spec.whole else {sound.shape[1], WINDOW}:
            difference = float(np.abs(_through(session, model, sound, size) - wanted).max())
            if not difference <= PARITY:  # also when it is no number
                raise TrainingError(
                    f"the exported graph differs from torch by {difference:.2g} in log-probability",
                    expected=f"at most {PARITY:g}",
                    fix="Report this with your scenario: an exporter or runtime version is at "
                    "fault",
                )


def _noise(model: SpeechModel) -> Tensor:
    """Two streams, longer than the example that the graph was written with."""
    random = torch.Generator().manual_seed(0)
    sound = torch.randn(2, 2 * WINDOW, model.spec.columns, generator=random)
    if isinstance(model.front, Normalise):
        return sound / model.front.scale + model.front.mean
    return sound


def _fitting(clip: Frames, stack: int) -> Tensor:
    """A clip as a batch of one, its last frame repeated until whole model frames are full."""
    frames = torch.from_numpy(np.asarray(clip, np.float32))
    missing = frames[-1:].expand(-len(frames) % stack, -1)
    return torch.cat([frames, missing]).unsqueeze(0)


def _through(
    session: onnxruntime.InferenceSession, model: SpeechModel, sound: Tensor, size: int
) -> npt.NDArray[np.float32]:
    """What the graph gives for chunks of at most `size` frames, the caches carried over."""
    batch = len(sound)
    state: list[npt.NDArray[np.generic]] = [
        np.zeros((batch, *cache(model)), np.float32),
        np.zeros((batch, 1, 1, 1), np.float32),
        np.zeros(batch, np.int64),
    ]
    found = []
    for chunk in torch.split(sound, size, dim=1):
        features = np.ascontiguousarray(chunk.transpose(1, 2).numpy())
        given = [features, np.full(batch, chunk.shape[1], np.int64), *state]
        log_probs, _, *state = session.run(None, dict(zip(INPUTS, given, strict=True)))
        found.append(log_probs)
    return np.concatenate(found, axis=1)

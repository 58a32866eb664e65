"""From a torch model to the ONNX form that both our runtime and sherpa-onnx load unchanged.

By position: features ``(batch, bins, frames)``, length ``(batch,)``, cache 1, cache 2 and cache
length in; outputs ``(batch, frames / stack, outputs)``, length and the next caches out.
The whole state of our models is cache 1, ``(batch, 1, 1, state)``; cache 2 is there because
sherpa-onnx expects it.
"""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from aimass.base.errors import TrainingError
from aimass.models.model import SpeechModel
from aimass.models.stem import Normalise

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


def export(model: SpeechModel, path: Path) -> None:
    """Write the streaming graph of a trained model.

    A model that takes whole utterances gives a graph of the same form without the metadata of
    sherpa-onnx, which would feed it window by window.

    Raises:
        TrainingError: ONNX Runtime disagrees with torch by more than 1e-4.
    """
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
    if not spec.whole:
        _describe(path, model)
    _check_parity(path, model)


def cache(model: SpeechModel) -> tuple[int, int, int]:
    """The shape of one stream's past."""
    return 1, 1, model.state_size


def quantize(source: Path, target: Path) -> None:
    """Write an int8 copy: pointwise weights per channel, activations at run time.

    The depthwise convolutions stay in float; they hold few weights.
    """
    # With the shapes written into the graph first, as the quantiser asks for.
    quant_pre_process(source, target, skip_optimization=True, skip_symbolic_shape=True)
    quantize_dynamic(
        target,
        target,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    graph = onnx.load(target)
    # The quantiser leaves them in an order that is another one in some processes.
    properties = sorted(graph.metadata_props, key=lambda entry: entry.key)
    del graph.metadata_props[:]
    graph.metadata_props.extend(properties)
    onnx.save(graph, target)


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


def _check_parity(path: Path, model: SpeechModel) -> None:
    """Two chunks of two streams through both runtimes, the caches carried over.

    Whole utterances go in one chunk, longer than the example that the graph was written with.
    """
    spec = model.spec
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    sound = torch.randn(2, 2 * WINDOW, spec.columns, generator=torch.Generator().manual_seed(0))
    if isinstance(model.front, Normalise):
        sound = sound / model.front.scale + model.front.mean
    with torch.no_grad():
        wanted = model(sound, model.start(2))[0].numpy()
    state: list[npt.NDArray[np.generic]] = [
        np.zeros((2, *cache(model)), np.float32),
        np.zeros((2, 1, 1, 1), np.float32),
        np.zeros(2, np.int64),
    ]
    found = []
    size = sound.shape[1] if spec.whole else WINDOW
    for chunk in torch.split(sound, size, dim=1):
        given = [chunk.transpose(1, 2).numpy(), np.full(2, size, np.int64), *state]
        log_probs, _, *state = session.run(None, dict(zip(INPUTS, given, strict=True)))
        found.append(log_probs)
    difference = float(np.abs(np.concatenate(found, axis=1) - wanted).max())
    if not difference <= PARITY:  # also when it is no number
        raise TrainingError(
            f"the exported graph differs from torch by {difference:.2g} in log-probability",
            expected=f"at most {PARITY:g}",
            fix="Report this with your scenario: an exporter or runtime version is at fault",
        )

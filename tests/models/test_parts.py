"""Each part of a model against its definition, written plainly."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aimass.models.attention import LocalAttention
from aimass.models.conv import conv
from aimass.models.heads import Pool
from aimass.models.spec import ModelSpec
from aimass.models.stem import LearnedFilters, Normalise, Stack
from aimass.models.streaming import CausalConvolution, StreamingLayer


@torch.no_grad()
def whole(layer: StreamingLayer, x: Tensor) -> Tensor:
    """The outputs of a layer that has heard nothing before."""
    outputs: Tensor = layer(x, torch.zeros(len(x), layer.state_size))[0]
    return outputs


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_attention_is_the_definition() -> None:
    spec = ModelSpec(channels=8, heads=2, context=3)
    layer = LocalAttention(spec)
    layer.slopes.data = torch.tensor([0.3, -0.7]).reshape(1, 2, 1, 1)
    x = noise(1, 9, 8)
    queries, keys, values = layer.project(x)[0].detach().split(8, dim=1)
    rows = []
    for frame in range(9):
        near = slice(max(0, frame - 3), frame + 1)
        mixed = []
        for head, slope in enumerate((0.3, 0.7)):
            own = slice(4 * head, 4 * head + 4)
            scores = keys[near, own] @ queries[frame, own] / 2
            distance = torch.arange(len(scores) - 1, -1, -1)
            mixed.append(torch.softmax(scores - slope * distance, 0) @ values[near, own])
        rows.append(layer.output(torch.cat(mixed)))
    assert torch.allclose(whole(layer, x)[0], torch.stack(rows), atol=1e-6)


@pytest.mark.parametrize("dilation", [1, 3])
def test_a_causal_convolution_is_the_definition(dilation: int) -> None:
    layer = CausalConvolution(3, 4, dilation)
    x = noise(1, 20, 3)
    weights, bias = layer.convolution.weight[:, 0], layer.convolution.bias
    assert bias is not None
    found = whole(layer, x)[0]
    for frame in range(20):
        wanted = bias.detach().clone()
        for tap in range(4):
            at = frame - (3 - tap) * dilation
            if at >= 0:
                wanted += weights[:, tap].detach() * x[0, at]
        assert torch.allclose(found[frame], wanted, atol=1e-6)


def test_dilations_go_around() -> None:
    spec = ModelSpec(channels=4, blocks=5, kernel=3, dilations=(1, 4))
    assert conv(spec).sizes == [4 * 2 * d for d in (1, 4, 1, 4, 1)]


def test_pool_is_a_weighted_mean_and_deviation_of_all_so_far() -> None:
    layer = Pool(5)
    x = noise(1, 30, 5)
    found = whole(layer, x)[0]
    weight = torch.exp(4 * torch.tanh(layer.score(x[0]))).detach()
    for frame in (0, 1, 7, 29):
        seen, own = x[0, : frame + 1], weight[: frame + 1] / weight[: frame + 1].sum()
        mean = (own * seen).sum(0)
        spread = (own * (seen - mean) ** 2).sum(0).clamp(min=1e-4).sqrt()
        assert torch.allclose(found[frame], torch.cat([mean, spread]), atol=1e-4)


def test_pool_stays_a_number_for_an_hour() -> None:
    layer, state = Pool(4), torch.zeros(1, 9)
    x = noise(1, 1000, 4)
    with torch.no_grad():
        for _ in range(90):
            rows, state = layer(x, state)
    assert torch.isfinite(rows).all()
    assert torch.allclose(rows[0, -1], whole(layer, x)[0, -1], atol=1e-2)


@pytest.mark.parametrize("floor", [None, -3.0])
def test_normalise_measures(floor: float | None) -> None:
    layer, rows = Normalise(3, floor), 4 * noise(500, 3) - torch.tensor([1.0, 0.0, 5.0])
    assert layer.fresh
    layer.measure(rows)
    assert not layer.fresh
    found = whole(layer, rows.unsqueeze(0))[0]
    assert found.mean(0).abs().max() < 1e-5
    assert (found.std(0) - 1).abs().max() < 2e-3
    layer.measure(torch.ones(9, 3))  # columns that never change
    assert torch.isfinite(whole(layer, rows.unsqueeze(0))).all()


def test_digital_silence_is_a_quiet_room() -> None:
    layer = Normalise(1, floor=-10.0)
    rows = torch.tensor([[[-16.0], [-14.0], [-10.0], [-6.0], [2.0]]])
    found = whole(layer, rows)[0, :, 0]
    wanted = [math.log(math.exp(-10) + math.exp(x)) for x in (-16, -14, -10, -6, 2)]
    assert found.tolist() == pytest.approx(wanted, abs=1e-4)


def test_stack_puts_frames_side_by_side() -> None:
    layer = Stack(ModelSpec(channels=6, stack=2), 3)
    x = noise(1, 4, 3)
    wanted = layer.project(torch.cat([x[0, ::2], x[0, 1::2]], dim=1)).detach()
    assert torch.allclose(whole(layer, x)[0], wanted, atol=1e-6)


def test_learned_filters_begin_as_a_mel_bank() -> None:
    """A tone is loudest in the band whose centre is nearest, and bands lie on a mel scale."""
    layer = LearnedFilters(160, 40)
    layer.norm = nn.LayerNorm(40, elementwise_affine=False)
    mels = np.linspace(2595 * math.log10(1 + 40 / 700), 2595 * math.log10(1 + 7200 / 700), 40)
    centres = 700 * (10 ** (mels / 2595) - 1)
    time = torch.arange(3200) / 16000
    for band in (8, 15, 25, 35):
        tone = torch.cos(2 * math.pi * float(centres[band]) * time).reshape(1, 20, 160)
        assert whole(layer, tone)[0, 10].argmax() == band


def test_learned_filters_hear_energy_not_phase() -> None:
    layer = LearnedFilters(80, 16)
    time = torch.arange(1600) / 8000
    rows = [
        whole(layer, torch.sin(2 * math.pi * 900 * time + phase).reshape(1, 20, 80))[0, 5:]
        for phase in (0.0, 1.0, 2.0)
    ]
    loud = rows[0] > rows[0].median()
    assert all((row[loud] - rows[0][loud]).abs().max() < 0.2 for row in rows)


def test_learned_filters_of_silence() -> None:
    assert torch.isfinite(whole(LearnedFilters(80, 16), torch.zeros(2, 5, 80))).all()

"""Objectives against sums by hand, and one loss for each utterance."""

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from aimass.models.spec import ModelSpec
from aimass.training.examples import Batch
from aimass.training.objective import (
    MARGIN,
    SCALE,
    SMOOTHING,
    ClassifyObjective,
    CtcObjective,
    EmbedObjective,
    objective,
)


def ints(values: list[int]) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


def batch_of(lengths: list[int], targets: list[list[int]]) -> Batch:
    flat = [t for own in targets for t in own]
    features = np.zeros((len(lengths), 0, 0), np.float32)
    return Batch(features, ints(lengths), ints(flat), ints([len(own) for own in targets]))


def log_probs(batch: int, frames: int, outputs: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(batch, frames, outputs, generator=random).log_softmax(2)


def losses(aim: nn.Module, outputs: Tensor, batch: Batch) -> Tensor:
    found: Tensor = aim(outputs, batch)
    assert found.shape == (len(batch.lengths),)
    return found


def said(path: tuple[int, ...], blank: int) -> list[int]:
    """What a path of CTC says."""
    merged = [t for n, t in enumerate(path) if n == 0 or t != path[n - 1]]
    return [t for t in merged if t != blank]


@pytest.mark.parametrize("target", [[0], [1, 0], [0, 0], [0, 1, 0], []])
def test_ctc_is_the_sum_over_all_paths(target: list[int]) -> None:
    rows = log_probs(2, 5, 3)
    length = 4
    total = sum(
        float(rows[1, range(length), list(path)].sum().exp())
        for path in product(range(3), repeat=length)
        if said(path, blank=2) == target
    )
    found = losses(CtcObjective(), rows, batch_of([5, length], [[1], target]))
    assert found[1].item() == pytest.approx(-np.log(total) / max(1, len(target)), rel=1e-5)


def test_ctc_of_a_certain_answer_is_zero() -> None:
    scores = torch.full((1, 4, 3), -50.0)
    for frame, token in enumerate([2, 0, 2, 1]):  # blank, a, blank, b
        scores[0, frame, token] = 0
    right, wrong = (batch_of([4], [target]) for target in ([0, 1], [1, 0]))
    assert losses(CtcObjective(), scores, right).item() == pytest.approx(0, abs=1e-4)
    assert losses(CtcObjective(), scores, wrong).item() > 10


def test_text_longer_than_its_sound_weighs_nothing() -> None:
    rows = log_probs(3, 5, 4).requires_grad_()
    found = losses(CtcObjective(), rows, batch_of([5, 2, 5], [[1], [0] * 9, [2]]))
    assert found[1] == 0 and (found[[0, 2]] > 0).all()
    (gradient,) = torch.autograd.grad(found.sum(), rows)
    assert torch.isfinite(gradient).all() and not gradient[1].any() and gradient[0].any()


def test_classify_is_smoothed_cross_entropy_at_the_end() -> None:
    rows, labels = log_probs(3, 6, 4), [2, 0, 3]
    batch = batch_of([6, 1, 4], [[label] for label in labels])
    last = torch.stack([rows[0, 5], rows[1, 0], rows[2, 3]])
    wanted = nn.functional.cross_entropy(
        last, torch.tensor(labels), reduction="none", label_smoothing=SMOOTHING
    )
    assert torch.allclose(losses(ClassifyObjective(), rows, batch), wanted, atol=1e-6)


def unit(rows: Tensor) -> Tensor:
    return nn.functional.normalize(rows, dim=-1)


def test_embed_is_the_angular_margin() -> None:
    aim = EmbedObjective(3, 4)
    rows = unit(log_probs(2, 5, 3))
    found = losses(aim, rows, batch_of([5, 2], [[1], [3]]))
    for loss, row, own in zip(found, (rows[0, 4], rows[1, 1]), (1, 3), strict=True):
        cosine = unit(aim.centres) @ row
        cosine[own] = torch.cos(torch.acos(cosine[own]) + MARGIN)
        wanted = -torch.log_softmax(SCALE * cosine, dim=0)[own]
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)


@given(st.floats(-0.99, 0.999), st.integers(0, 99))
def test_a_margin_asks_for_more(cosine: float, seed: int) -> None:
    """The margin turns a voice away from its own centre, never towards it."""
    aim = EmbedObjective(2, 2)
    aim.centres.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    row = torch.tensor([[[cosine, -((1 - cosine**2) ** 0.5)]]])
    plain = SCALE * torch.tensor([[cosine, row[0, 0, 1].item()]])
    without = nn.functional.cross_entropy(plain, torch.tensor([0])).item()
    assert losses(aim, row, batch_of([1], [[0]])).item() >= without - 1e-5


def test_gradients_are_numbers_even_at_a_centre() -> None:
    aim = EmbedObjective(2, 2)
    aim.centres.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    rows = torch.tensor([[[1.0, 0.0]], [[-1.0, 0.0]]], requires_grad=True)
    found = losses(aim, rows, batch_of([1, 1], [[0], [0]]))
    gradients = torch.autograd.grad(found.sum(), (rows, aim.centres))
    assert all(torch.isfinite(values).all() for values in (found, *gradients))


HEADS = [("ctc", CtcObjective), ("classify", ClassifyObjective), ("embed", EmbedObjective)]


@pytest.mark.parametrize(("head", "kind"), HEADS)
def test_each_head_has_its_own(head: str, kind: type[nn.Module]) -> None:
    aim = objective(ModelSpec(head=head, outputs=6), classes=9)  # type: ignore[arg-type]
    assert type(aim) is kind
    assert [tuple(p.shape) for p in aim.parameters()] == ([(9, 6)] if head == "embed" else [])


@pytest.mark.parametrize(("head", "kind"), HEADS)
def test_an_utterance_does_not_weigh_on_another(head: str, kind: type[nn.Module]) -> None:
    aim = objective(ModelSpec(head=head, outputs=6), classes=5)  # type: ignore[arg-type]
    rows = log_probs(4, 8, 6) if head != "embed" else unit(log_probs(4, 8, 6))
    batch = batch_of([8, 3, 5, 8], [[1], [0], [4], [1]])
    together = losses(aim, rows, batch)
    for row in range(4):
        alone = losses(aim, rows[row : row + 1], batch.part(slice(row, row + 1)))
        assert alone.item() == pytest.approx(together[row].item(), rel=1e-5)
    changed = rows.clone()
    changed[1, 3:] = rows[0, 3:].roll(1, 0)  # the padding of an utterance
    assert torch.allclose(losses(aim, changed, batch), together)

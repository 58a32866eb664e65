"""The loop: its learning rate, its loss, and when it gives up."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aimass.base.errors import TrainingError
from aimass.training.examples import Batch
from aimass.training.loop import CHECKPOINT, _cycle, ctc_loss, train

from . import tiny


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number(tmp_path: Path, value: float) -> None:
    model = tiny.fresh_model()
    with torch.no_grad():
        model.head.weight[0, 0] = value
    with pytest.raises(TrainingError, match="the loss became nan at step 0") as caught:
        train(model, tiny.data(), tiny.SPEC, tmp_path)
    assert "finite" in caught.value.expected
    assert "learning rate" in caught.value.fix
    assert not (tmp_path / CHECKPOINT).exists()  # nothing of it is kept


def test_a_learning_rate_that_breaks_the_weights(tmp_path: Path) -> None:
    spec = replace(tiny.SPEC, learning_rate=1e30, warmup=0.01)
    with pytest.raises(TrainingError, match="the loss became"):
        train(tiny.fresh_model(), tiny.data(), spec, tmp_path)


def test_an_error_in_a_batch_comes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny.data()
    made = data.batch
    calls = 0

    def fails(*args: object) -> Batch:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise OSError("the disk is gone")
        return made(*args)  # type: ignore[arg-type]

    _ = data.moments
    monkeypatch.setattr(data, "batch", fails)
    with pytest.raises(OSError, match="the disk is gone"):
        train(tiny.fresh_model(), data, tiny.SPEC, tmp_path)


def test_text_longer_than_sound_weighs_nothing() -> None:
    log_probs = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)).log_softmax(2)
    lengths = np.array([5, 2], np.int64)

    def loss(*counts: int) -> float:
        tokens = np.zeros(sum(counts), np.int64)
        batch = Batch(np.zeros(0, np.float32), lengths, tokens, np.array(counts, np.int64))
        return ctc_loss(log_probs, batch).item()

    assert np.isfinite(loss(1, 9))
    assert loss(1, 9) < loss(1, 1)


def test_loss_of_a_certain_answer_is_zero() -> None:
    scores = torch.full((1, 4, 3), -50.0)
    for frame, token in enumerate([2, 0, 2, 1]):  # blank, a, blank, b
        scores[0, frame, token] = 0
    one, none = np.array([4], np.int64), np.zeros(0, np.float32)
    right = Batch(none, one, np.array([0, 1], np.int64), np.array([2], np.int64))
    wrong = Batch(none, one, np.array([1, 0], np.int64), np.array([2], np.int64))
    assert ctc_loss(scores, right).item() == pytest.approx(0, abs=1e-4)
    assert ctc_loss(scores, wrong).item() > 10


def test_one_cycle() -> None:
    factors = [_cycle(done / 1000, 0.1) for done in range(1001)]
    assert factors[0] == 0
    assert factors[100] == 1
    assert factors[:101] == sorted(factors[:101])
    assert factors[100:] == sorted(factors[100:], reverse=True)
    assert factors[-1] == pytest.approx(0, abs=1e-12)


def test_nobody_elses_random_numbers_are_used(tmp_path: Path) -> None:
    torch.manual_seed(11)
    wanted = torch.rand(3)
    torch.manual_seed(11)
    tiny.weights(tmp_path)
    assert torch.equal(torch.rand(3), wanted)

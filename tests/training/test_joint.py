"""Joint training: alone it is the plain loop, together members agree; stops leave no trace."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from aimass.base.errors import TrainingError
from aimass.features.spec import FeatureSpec
from aimass.models.model import SpeechModel
from aimass.models.spec import ModelSpec
from aimass.training import loop
from aimass.training.dev import DevSet
from aimass.training.examples import Batch, TrainingSet
from aimass.training.joint import Joint, train_jointly
from aimass.training.loop import CHECKPOINT, TrainSpec, snapshot_path
from aimass.training.passes import AugmentSpec, Passes
from aimass.training.sampling import EVERYTHING, Bag, Sampler
from aimass.training.step import Answers

from . import tiny
from .test_resume import Stopped, assert_same, rows_of

LABELS = replace(tiny.SHAPE, head="classify", outputs=3)
SINGLE = replace(tiny.AUGMENT, most_joined=1)
FEW = replace(tiny.SPEC, epochs=3)
COARSE = FeatureSpec(sample_rate=8000, bins=20)


@dataclass(frozen=True)
class Given:
    """One member of a test."""

    shape: ModelSpec = LABELS
    seed: int = 5
    spec: TrainSpec = FEW
    features: FeatureSpec = tiny.FEATURES
    augment: AugmentSpec = SINGLE
    sampler: Sampler = EVERYTHING
    takes: tuple[str, ...] = ("5", "6")


PAIR = (Given(), Given(seed=6))
SPELLED = tuple(replace(one, shape=tiny.SHAPE, augment=tiny.AUGMENT) for one in PAIR)


def trained(
    folder: Path,
    members: Sequence[Given] = PAIR,
    weight: float = 1.0,
    told: Callable[[int], object] = tiny.nobody,
    names: Sequence[str] = (),
) -> list[SpeechModel]:
    """Members that are trained together."""

    def progress(what: str, done: int, total: int | None) -> None:
        told(done)

    datas = [
        TrainingSet(
            Passes(
                tiny.examples(one.takes),
                one.features,
                one.augment,
                folder / "passes",
                tail=0.4,
                seed=5,
            ),
            batch_size=one.spec.batch_size,
            stack=one.shape.stack,
            seed=one.seed,
            sampler=one.sampler,
        )
        for one in members
    ]
    return train_jointly(
        [tiny.fresh_model(one.shape, one.seed - 4) for one in members],
        [tiny.fresh_aim(one.shape) for one in members],
        datas,
        [DevSet(*tiny.held_out(one.features)) for one in members],
        [replace(one.spec, seed=one.seed) for one in members],
        folder,
        joint=Joint(weight),
        names=names,
        progress=progress,
    )


def stopped_at(folder: Path, step: int, members: Sequence[Given]) -> bool:
    """Train until a step; false when the run ended before."""

    def told(done: int) -> None:
        if done == step:
            raise Stopped

    try:
        trained(folder, members, told=told)
    except Stopped:
        return True
    return False


@pytest.mark.parametrize("members", [PAIR, SPELLED, PAIR[:1]], ids=["labels", "tokens", "one"])
def test_nobody_is_pulled_without_weight_or_alone(tmp_path: Path, members: Sequence[Given]) -> None:
    weight = 0.0 if len(members) > 1 else 3.0
    wanted = tiny.weights(tmp_path / "alone", spec=FEW, shape=members[0].shape)
    found = trained(tmp_path / "together", members, weight)
    assert_same(found[0].state_dict(), wanted)
    assert not any(model.training for model in found)
    alone, one = rows_of(tmp_path / "alone"), rows_of(tmp_path / "together" / "0")
    for name in ("epoch", "step", "loss", "dev", "learning_rate"):
        assert [row[name] for row in one] == [row[name] for row in alone]


@pytest.mark.parametrize("members", [PAIR, SPELLED], ids=["labels", "tokens"])
@pytest.mark.parametrize("save_seconds", [0.0, 60.0], ids=["each step", "each epoch"])
def test_a_stop_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: Sequence[Given], save_seconds: float
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", save_seconds)
    wanted = trained(tmp_path / "undisturbed", members)
    steps = int(rows_of(tmp_path / "undisturbed" / "1")[-1]["step"])
    for step in sorted(random.Random(3).sample(range(1, steps + 1), 3)):
        assert stopped_at(tmp_path / "run", step, members)
    for one, other in zip(trained(tmp_path / "run", members), wanted, strict=True):
        assert_same(one.state_dict(), other.state_dict())
    kept = ("epoch", "step", "loss", "dev")
    for name in ("0", "1"):
        logs = [rows_of(tmp_path / run / name) for run in ("run", "undisturbed")]
        assert [[row[k] for k in kept] for row in logs[0]] == [
            [row[k] for k in kept] for row in logs[1]
        ]


def test_each_member_has_its_own_folder_report_and_snapshots(tmp_path: Path) -> None:
    spec = replace(FEW, epochs=4, cycles=2)
    members = [replace(one, spec=spec) for one in PAIR]
    found = trained(tmp_path, members, names=["round", "square"])
    for name, model in zip(("round", "square"), found, strict=True):
        assert [row["epoch"] for row in rows_of(tmp_path / name)] == [1, 2, 3, 4]
        assert_same(load_file(snapshot_path(tmp_path / name, 2)), model.state_dict())
        assert snapshot_path(tmp_path / name, 1).is_file()


@torch.no_grad()
def disagreement(models: Sequence[SpeechModel]) -> float:
    """Mean difference of posteriors over the held-out clips."""
    rows = [
        [model(torch.from_numpy(f[None, : len(f) // 4 * 4]), model.start(1))[0].exp()
         for f in tiny.held_out()[0]]
        for model in models
    ]  # fmt: skip
    return float(np.mean([(a - b).abs().mean() for a, b in zip(*rows, strict=True)]))


@pytest.mark.parametrize("members", [PAIR, SPELLED], ids=["labels", "tokens"])
def test_the_pull_makes_members_agree(tmp_path: Path, members: Sequence[Given]) -> None:
    longer = [replace(one, spec=replace(FEW, epochs=10)) for one in members]
    apart = disagreement(trained(tmp_path / "apart", longer, 0))
    near = disagreement(trained(tmp_path / "near", longer, 20))
    assert near < 0.8 * apart


def test_members_may_have_other_families_and_front_ends(tmp_path: Path) -> None:
    recurrent = ModelSpec("recurrent", "classify", 20, 3, channels=8, blocks=1, stack=2)
    members = [PAIR[0], replace(PAIR[1], shape=recurrent, features=COARSE)]
    wanted = trained(tmp_path / "undisturbed", members)
    assert stopped_at(tmp_path / "run", 4, members)
    for one, other in zip(trained(tmp_path / "run", members), wanted, strict=True):
        assert_same(one.state_dict(), other.state_dict())
    attention = ModelSpec("attention", "ctc", 20, 4, channels=8, blocks=1, kernel=3, context=4)
    spelled = [SPELLED[0], replace(SPELLED[1], shape=attention, features=COARSE)]
    trained(tmp_path / "spelled", spelled)
    assert [row["epoch"] for row in rows_of(tmp_path / "spelled" / "1")] == [1, 2, 3]


STRANGERS = [
    (SPELLED[0], "one head"),
    (replace(PAIR[1], shape=replace(LABELS, outputs=4)), "as many outputs"),
    (replace(PAIR[1], spec=replace(FEW, epochs=4)), "as many epochs"),
    (replace(PAIR[1], spec=replace(FEW, cycles=3)), "as many cycles"),
    (replace(PAIR[1], spec=replace(FEW, batch_size=5)), "batches of one size"),
    (replace(PAIR[1], sampler=Sampler(Bag(0.5, "speaker"))), "one sampler"),
    (replace(PAIR[1], takes=("5",)), "the same examples"),
    (replace(PAIR[1], augment=replace(SINGLE, ramp_epochs=0)), "the same passes"),
    (replace(PAIR[1], augment=replace(SINGLE, most_joined=2)), "the same passes"),
]


@pytest.mark.parametrize(("other", "what"), STRANGERS, ids=[what for _, what in STRANGERS])
def test_strangers_are_refused(tmp_path: Path, other: Given, what: str) -> None:
    with pytest.raises(TrainingError, match=f"members that do not have {what}"):
        trained(tmp_path, [PAIR[0], other])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"shape": replace(tiny.SHAPE, stack=2)}, "frames of one length"),
        ({"augment": replace(tiny.AUGMENT, pause=(0.1, 0.2))}, "one augmentation"),
    ],
)
def test_frames_that_cannot_be_compared(
    tmp_path: Path, change: dict[str, object], what: str
) -> None:
    with pytest.raises(TrainingError, match=f"members that do not have {what}"):
        trained(tmp_path, [SPELLED[0], replace(SPELLED[1], **change)])  # type: ignore[arg-type]


def test_no_members_one_name_twice_and_voiceprints(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="at least one"):
        trained(tmp_path, [])
    with pytest.raises(TrainingError, match="each with a name of its own"):
        trained(tmp_path, PAIR, names=["a", "a"])
    voices = [replace(one, shape=replace(LABELS, head="embed")) for one in PAIR]
    with pytest.raises(TrainingError, match="voiceprints"):
        trained(tmp_path, voices)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_no_weight(weight: float) -> None:
    with pytest.raises(TrainingError, match="joint training with a weight"):
        Joint(weight)


def test_a_checkpoint_of_other_members(tmp_path: Path) -> None:
    assert stopped_at(tmp_path, 4, PAIR)
    with pytest.raises(TrainingError, match="cannot be used"):
        trained(tmp_path, PAIR[:1])
    with pytest.raises(TrainingError, match="cannot be used"):
        trained(tmp_path, [PAIR[0], replace(PAIR[1], shape=replace(LABELS, channels=8))])
    alone = tmp_path / "alone"
    tiny.weights(alone, spec=FEW, shape=LABELS)
    (tmp_path / CHECKPOINT).write_bytes((alone / CHECKPOINT).read_bytes())
    with pytest.raises(TrainingError, match="cannot be used"):
        trained(tmp_path, PAIR)


def answers_of(head: str, seed: int, lengths: Sequence[int] = (3, 5)) -> Answers:
    """Random answers to two utterances of two targets each."""
    rng = torch.Generator().manual_seed(seed)
    outputs = torch.randn(2, max(lengths), 4, generator=rng).log_softmax(-1).requires_grad_()
    ends = np.array(lengths, np.int64)
    batch = Batch(np.zeros((2, 5, 1), np.float32), ends, np.zeros(4, np.int64), np.array([2, 2]))
    losses = torch.arange(2.0) + seed
    return Answers(head, outputs, losses, batch, 2)  # type: ignore[arg-type]


def pulls(answers: Sequence[Answers], weight: float = 1.0, done: float = 1.0) -> list[Tensor]:
    losses = Joint(weight)(answers, done)
    return [found - one.losses for found, one in zip(losses, answers, strict=True)]


@pytest.mark.parametrize("head", ["classify", "ctc"])
def test_the_pull_is_the_divergence_from_the_geometric_mean(head: str) -> None:
    answers = [answers_of(head, seed) for seed in (1, 2, 3)]
    rows = np.array([one.outputs.detach().numpy() for one in answers])
    common = np.exp(rows.mean(axis=0))
    common /= common.sum(axis=2, keepdims=True)
    divergences = (common * (np.log(common) - rows)).sum(axis=3)
    for found, own in zip(pulls(answers), divergences, strict=True):
        wanted = [own[0, 2], own[1, 4]]
        if head == "ctc":
            wanted = [own[0, :3].sum() / 2, own[1].sum() / 2]
        assert found.tolist() == pytest.approx(wanted, rel=1e-4)


def test_the_mean_has_no_gradient_and_padding_no_pull() -> None:
    answers = [answers_of("ctc", seed) for seed in (1, 2)]
    torch.autograd.backward(pulls(answers)[0].sum())
    assert answers[1].outputs.grad is None
    gradient = answers[0].outputs.grad
    assert gradient is not None and not gradient[0, 3:].any() and gradient[0, :3].any()


@given(st.permutations(range(4)), st.sampled_from(["classify", "ctc"]))
def test_the_order_of_members_does_not_matter(order: list[int], head: str) -> None:
    answers = [answers_of(head, seed) for seed in range(4)]
    plain, moved = pulls(answers), pulls([answers[k] for k in order])
    for found, number in zip(moved, order, strict=True):
        assert found.tolist() == pytest.approx(plain[number].tolist(), abs=1e-5)


@given(st.sampled_from(["classify", "ctc"]), st.floats(0, 1), st.floats(0, 9))
def test_it_grows_in_a_line_and_twins_do_not_pull(head: str, done: float, weight: float) -> None:
    answers = [answers_of(head, seed) for seed in (1, 2)]
    whole, part = pulls(answers), pulls(answers, weight, done)
    for one, other in zip(whole, part, strict=True):
        assert other.tolist() == pytest.approx((one * weight * done).tolist(), abs=1e-5, rel=1e-4)
    for pull in pulls([answers[0]] * 3, weight, done):
        assert pull.tolist() == pytest.approx([0, 0], abs=1e-5)


def test_uneven_frames_are_refused_for_tokens_alone() -> None:
    with pytest.raises(TrainingError, match="members that hear one batch in 8, 9 frames"):
        pulls([answers_of("ctc", 1), answers_of("ctc", 2, (4, 5))])
    pulls([answers_of("classify", 1), answers_of("classify", 2, (4, 5))])

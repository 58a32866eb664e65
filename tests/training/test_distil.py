"""Students: the teacher hears what they hear, what it says is kept truly, and no label is lost."""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aimass.audio.resample import resample
from aimass.base.contract import Samples
from aimass.base.errors import BundleError, TrainingError
from aimass.decoding.combine import Combination
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract
from aimass.models.spec import Head, ModelSpec
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.graph import RowStream
from aimass.runtime.load import shipped
from aimass.runtime.massive import massive_engine, pack
from aimass.training.distil import Alternatives, Distilled, DistilSpec, TaughtBatch, TaughtSet
from aimass.training.examples import Batch
from aimass.training.graphs import Certain, Posteriors, gives_posteriors
from aimass.training.loop import TrainSpec, train
from aimass.training.objective import ClassifyObjective, CtcObjective
from aimass.training.passes import AugmentSpec, Example, Passes
from aimass.training.teacher import ABOUT, ARRAYS, Heard, Lessons, LogProbs, Said, aligned

from . import teachers, tiny
from .test_objective import batch_of, ints, log_probs
from .test_resume import Stopped, assert_same, rows_of

SINGLE = replace(tiny.AUGMENT, most_joined=1)
FEW = replace(tiny.SPEC, epochs=3)
HALF = 2e-3  # what half precision leaves of a logarithm below 4
LABELS = ModelSpec("conv", "classify", 40, 3, channels=12, blocks=2, kernel=5)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return teachers.single(tmp_path_factory.mktemp("single") / "bundle")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return teachers.massive(tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def digits() -> Bundle:
    return bundles.load(shipped()["digits"])


def labelled(unlabelled: Sequence[int] = ()) -> list[Example]:
    """The clips, some of them without labels."""
    return [
        replace(one, targets=()) if number in unlabelled else one
        for number, one in enumerate(tiny.examples())
    ]


def passes(
    folder: Path,
    examples: Sequence[Example] = (),
    augment: AugmentSpec = SINGLE,
    features: FeatureSpec = tiny.FEATURES,
) -> Passes:
    return Passes(examples or labelled(), features, augment, folder / "p", tail=0.4, seed=5)


def lessons(folder: Path, bundle: Bundle, keep: int = 2, made: Passes | None = None) -> Lessons:
    return Lessons(made or passes(folder), Posteriors(bundle), folder / "said", keep)


def chances(rows: LogProbs) -> LogProbs:
    found: LogProbs = np.exp(rows.astype(np.float64))
    return found


# What is kept


@given(
    rows=st.integers(1, 5), outputs=st.integers(2, 30), keep=st.integers(1, 40), seed=st.integers()
)
def test_what_is_kept_is_the_teacher_within_the_residual(
    rows: int, outputs: int, keep: int, seed: int
) -> None:
    rng = np.random.default_rng(abs(seed))
    logs = np.log(rng.dirichlet(np.full(outputs, 0.3), rows) + 1e-30).astype(np.float32)
    said = Said.of([logs], keep)
    found, wanted = chances(said.rows(0)), chances(logs)
    wanted /= wanted.sum(axis=1, keepdims=True)
    residual = np.exp(said.rest.astype(np.float64))
    apart = np.abs(found - wanted)
    assert (apart.sum(axis=1) / 2 <= residual + HALF).all()  # total variation
    kept = np.sort(wanted, axis=1)[:, ::-1][:, :keep]
    assert np.allclose(np.take_along_axis(found, said.ids.astype(int), 1), kept, atol=HALF)
    assert np.allclose(residual, 1 - kept.sum(axis=1), atol=HALF)
    assert np.allclose(found.sum(axis=1), 1, atol=2 * HALF)
    assert said.residual == pytest.approx(residual.mean())


@given(st.lists(st.integers(1, 4), min_size=2, max_size=6), st.integers(1, 5))
def test_utterances_keep_their_rows(lengths: list[int], keep: int) -> None:
    logs = [log_probs(1, n, 4, seed)[0].numpy() for seed, n in enumerate(lengths)]
    whole = Said.of(logs, keep)
    parts = Said.joined([Said.of(logs[:1], keep), Said.of(logs[1:], keep)])
    for number, length in enumerate(lengths):
        alone = Said.of([logs[number]], keep).rows(0)
        assert alone.shape == (length, 4)
        assert np.array_equal(whole.rows(number), alone)
        assert np.array_equal(parts.rows(number), alone)


def test_of_equally_likely_outputs_the_first_are_kept() -> None:
    said = Said.of([np.zeros((1, 9), np.float32)], 3)
    assert np.allclose(said.rows(0), -np.log(9), atol=HALF)
    assert said.ids.tolist() == [sorted(said.ids[0].tolist())]


@pytest.mark.parametrize("kind", ["single", "many"])
def test_stored_rows_are_what_the_teacher_says_when_it_serves(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bundle: Bundle = request.getfixturevalue(kind)
    told = lessons(tmp_path, bundle, keep=3)
    made, number = told.passes, 3
    said = told.get(number)
    utterances = [one for block in made.blocks(number) for one in block]
    engine = massive_engine(bundle) if bundle.massive else None
    for index, samples in enumerate(made.waveforms(utterances)):
        speech = samples[: -round(0.4 * 8000)]
        if engine is not None:  # whose members hear 16 kHz, made of our 8
            wanted = engine.golden(resample(speech, 8000, 16000)).log_probs
            tolerance = 0.05  # the silence behind is resampled there, and is not here
        else:
            graph = BundleEngine(bundle).graph
            wanted = RowStream(graph).finish(extract(samples, tiny.FEATURES))
            tolerance = 0.01
        assert np.abs(chances(said.rows(index)) - chances(wanted[-1:])).max() < tolerance


# Whom the teacher hears


def test_the_teacher_hears_the_view_of_the_student(tmp_path: Path, single: Bundle) -> None:
    noted: list[tuple[list[Samples], list[Frames]]] = []

    class Listening(Posteriors):
        def __call__(self, heard: Heard) -> list[LogProbs]:
            noted.append((heard.sound(8000), heard.features(tiny.FEATURES, 0.4)))
            return super().__call__(heard)

    made = passes(tmp_path, augment=tiny.AUGMENT)
    for number in (0, 2, 3):
        noted.clear()
        Lessons(made, Listening(single), tmp_path / "said").get(number)
        sound = [one for waves, _ in noted for one in waves]
        frames = [one for _, features in noted for one in features]
        utterances = [one for block in made.blocks(number) for one in block]
        assert len(sound) == len(frames) == len(made.groups(number))
        for index, wave in enumerate(made.waveforms(utterances)):
            assert np.array_equal(sound[index], wave)
            assert np.array_equal(frames[index], made.get(number).utterance(index))
    plain = sorted(made.examples[0].samples.tolist())
    assert all(sorted(wave.tolist()) != plain for wave in sound)  # augmented, not the recordings


def test_features_are_the_same_wherever_they_come_from(tmp_path: Path, single: Bundle) -> None:
    """A student of another front end, whose passes hold other frames, has the same teacher."""
    ours = lessons(tmp_path / "a", single)
    theirs = lessons(
        tmp_path / "b", single, made=passes(tmp_path / "b", features=FeatureSpec(8000, 20))
    )
    assert ours.target(2).name == theirs.target(2).name
    for name in ARRAYS:
        found = [getattr(one.get(2), name) for one in (ours, theirs)]
        assert np.array_equal(*found), name


def test_a_teacher_is_asked_once_for_all_students(tmp_path: Path, single: Bundle) -> None:
    lessons(tmp_path, single).get(2)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "said").rglob("*.npy")}

    class Silent(Posteriors):
        def __call__(self, heard: Heard) -> list[LogProbs]:
            raise AssertionError("asked again")

    other = passes(tmp_path, features=FeatureSpec(8000, 20))
    Lessons(other, Silent(single), tmp_path / "said", 2).get(2)
    assert len(before) == len(ARRAYS)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_what_decides_what_is_said_names_it(tmp_path: Path, single: Bundle, many: Bundle) -> None:
    ours = lessons(tmp_path, single)
    others = [
        lessons(tmp_path, single, keep=3),
        lessons(tmp_path, many),
        lessons(tmp_path, single, made=passes(tmp_path, labelled()[:6])),
        lessons(tmp_path, single, made=passes(tmp_path, augment=replace(SINGLE, ramp_epochs=3))),
    ]
    names = {ours.target(1), ours.target(2), *(one.target(1) for one in others)}
    assert len(names) == 6
    relabelled = passes(tmp_path, labelled(range(12)))  # a label decides no sound
    assert lessons(tmp_path, single, made=relabelled).target(1) == ours.target(1)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def other_ends(path: Path) -> None:
    np.save(path, np.load(path) + 1)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("ids.npy", cut),
        ("logs.npy", flip),
        ("rest.npy", Path.unlink),
        ("ends.npy", other_ends),
        (ABOUT, cut),
        (ABOUT, lambda path: path.write_text("[]")),
        (ABOUT, Path.unlink),
    ],
)
def test_what_is_damaged_is_asked_again(
    tmp_path: Path, single: Bundle, name: str, harm: Callable[[Path], object]
) -> None:
    first = lessons(tmp_path, single)
    wanted = first.get(1)
    whole = {p.name: p.read_bytes() for p in first.target(1).iterdir()}
    harm(first.target(1) / name)
    found = lessons(tmp_path, single).get(1)
    assert np.array_equal(found.logs, wanted.logs) and np.array_equal(found.ids, wanted.ids)
    assert {p.name: p.read_bytes() for p in first.target(1).iterdir()} == whole


@pytest.mark.parametrize("keep", [0, -1])
def test_nothing_kept_is_refused(tmp_path: Path, single: Bundle, keep: int) -> None:
    with pytest.raises(TrainingError, match=f"{keep} kept of 3 outputs"):
        lessons(tmp_path, single, keep=keep)


def test_models_that_vote_on_labels_teach_the_mean_of_posteriors(tmp_path: Path) -> None:
    voting = teachers.massive(tmp_path / "v", "vote")
    pooling = teachers.massive(tmp_path / "p", "arithmetic")
    assert gives_posteriors(voting)
    made = passes(tmp_path)
    found, wanted = (
        Lessons(made, Posteriors(one), tmp_path / "said", 3).get(2) for one in (voting, pooling)
    )
    for number in range(12):  # but for the temperature of the whole, which is of the vote
        logs = found.rows(number) / 0.8
        logs -= np.log(np.exp(logs).sum())
        assert np.allclose(chances(logs), chances(wanted.rows(number)), atol=0.01)


def test_models_that_vote_on_words_have_none(tmp_path: Path, digits: Bundle) -> None:
    combination = Combination.equal("vote", 2)
    (tmp_path / "whole").mkdir()
    about = teachers.about(name="words", task="transcribe", metric="wer")
    members = {"a": digits, "b": digits}
    voting = pack(tmp_path / "whole", about, combination, members, digits.golden().samples)
    assert not gives_posteriors(voting)
    with pytest.raises(TrainingError, match=r"combined by their answers.*targets: answers"):
        Posteriors(voting)


def test_an_engine_that_answers_teaches_its_confidence(tmp_path: Path) -> None:
    voting = teachers.massive(tmp_path / "v", "vote")
    told = Certain(massive_engine(voting), voting.digest, teachers.LABELS)
    said = Lessons(passes(tmp_path), told, tmp_path / "said").get(2)
    rows = np.concatenate([chances(said.rows(n)) for n in range(12)])
    assert rows.shape == (12, 3) and np.allclose(rows.sum(axis=1), 1, atol=HALF)
    others = np.sort(rows, axis=1)[:, :2]  # the mass that is left is spread evenly
    assert np.allclose(others[:, 0], others[:, 1], atol=HALF)
    assert (rows.max(axis=1) > 1 / 3 - HALF).all()


# Frames


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(2, 4))
def test_a_slower_teacher_says_the_same_in_finer_frames(path: list[int], factor: int) -> None:
    rows = np.full((len(path), 4), -9.0, np.float32)
    rows[range(len(path)), path] = 0
    found = aligned(rows, 1 / factor, factor * len(path), 3).argmax(axis=1).tolist()
    assert collapsed(found) == collapsed(path)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=10), st.integers(2, 4), st.integers(0, 99))
def test_no_spike_of_a_faster_teacher_is_lost(path: list[int], factor: int, seed: int) -> None:
    """Each frame of the student holds at most one spike, somewhere in the teacher's frames."""
    rng = np.random.default_rng(seed)
    rows = np.full((len(path) * factor, 4), -9.0, np.float32)
    rows[:, 3] = 0
    for frame, token in enumerate(path):
        place = frame * factor + int(rng.integers(factor))
        rows[place] = -9.0
        rows[place, token] = 0
    found = aligned(rows, float(factor), len(path), 3)
    assert found.argmax(axis=1).tolist() == path
    assert np.array_equal(found.max(axis=1), np.zeros(len(path)))


def test_frames_that_are_alike_stay_and_those_behind_are_blank() -> None:
    rows = log_probs(1, 5, 4)[0].numpy()
    assert aligned(rows, 1.0, 5, 3) is rows
    longer = aligned(rows, 1.0, 7, 3)
    assert np.array_equal(longer[:5], rows)
    assert (longer[5:].argmax(axis=1) == 3).all()


def collapsed(path: list[int]) -> list[int]:
    return [token for token, _ in groupby(path) if token != 3]


def test_rows_of_a_transcriber_come_at_the_students_rate(tmp_path: Path, digits: Bundle) -> None:
    made = passes(tmp_path, augment=tiny.AUGMENT)
    teacher = Posteriors(digits)
    told = Lessons(made, teacher, tmp_path / "said", 5)
    for stack in (2, 4):
        data = TaughtSet(
            made, batch_size=4, stack=stack, seed=1, lessons=told, frame_seconds=0.01 * stack
        )
        data.prepare(3)
        for utterances in data.plan(3):
            batch = data.batch(3, utterances)
            assert batch.wanted is not None and batch.tokens is not None
            frames = batch.features.shape[1] // stack
            assert batch.wanted.shape == (len(utterances), frames, teacher.outputs)
            for row, one, length in zip(batch.wanted, utterances, batch.lengths, strict=True):
                path = row[:length].argmax(axis=1).tolist()
                own = told.get(3).rows(one).argmax(axis=1).tolist()
                blank = teacher.outputs - 1
                assert [t for t, _ in groupby(path) if t != blank] == [
                    t for t, _ in groupby(own) if t != blank
                ]


# What students go down


def taught(
    lengths: list[int],
    targets: list[list[int]],
    wanted: LogProbs | None = None,
    said: tuple[Alternatives, ...] = (),
) -> TaughtBatch:
    plain = batch_of(lengths, targets)
    tokens = None if wanted is None else ints([max(1, len(own)) for own in targets])
    return TaughtBatch(
        plain.features, plain.lengths, plain.targets, plain.target_lengths, (), wanted, tokens, said
    )


@given(st.floats(0, 1), st.floats(0.5, 5), st.integers(0, 99))
def test_the_loss_is_that_of_hinton(alpha: float, temperature: float, seed: int) -> None:
    rows = log_probs(3, 4, 5, seed)
    wanted = log_probs(3, 1, 5, seed + 1)
    batch = taught([4, 2, 3], [[1], [0], [4]], wanted.numpy())
    aim = Distilled(ClassifyObjective(), "classify", DistilSpec(alpha, temperature))
    found = aim(rows, batch)
    hard = ClassifyObjective()(rows, batch)
    for index, end in enumerate((3, 1, 2)):
        teacher = torch.softmax(wanted[index, 0] / temperature, 0)
        student = torch.softmax(rows[index, end] / temperature, 0)
        soft = temperature**2 * float((teacher * (teacher / student).log()).sum())
        right = alpha * soft + (1 - alpha) * float(hard[index])
        assert found[index].item() == pytest.approx(right, rel=1e-3, abs=1e-4)


def test_a_student_that_says_what_its_teacher_says_has_arrived() -> None:
    rows = log_probs(2, 3, 5).requires_grad_()
    wanted = rows.detach()[[0, 1], [2, 1]][:, None].numpy()
    aim = Distilled(ClassifyObjective(), "classify", DistilSpec(1.0, 3.0))
    found = aim(rows, taught([3, 2], [[1], []], wanted))
    (slope,) = torch.autograd.grad(found.sum(), rows)
    assert found.abs().max() < 1e-5 and slope.abs().max() < 1e-5


@pytest.mark.parametrize("head", ["classify", "ctc"])
@given(some=st.sets(st.integers(0, 3)))
def test_labels_count_only_where_they_are(head: Head, some: set[int]) -> None:
    targets = [[] if n in some else [n] for n in range(4)]
    rows, wanted = log_probs(4, 6, 5), log_probs(4, 6, 5, 1)
    hard = ClassifyObjective() if head == "classify" else CtcObjective()
    own = wanted[:, :1] if head == "classify" else wanted
    found = Distilled(hard, head, DistilSpec(0.4))(rows, taught([6] * 4, targets, own.numpy()))
    every = Distilled(hard, head, DistilSpec(0.4))(
        rows, taught([6] * 4, [[n] for n in range(4)], own.numpy())
    )
    soft = Distilled(hard, head, DistilSpec(1.0))(
        rows, taught([6] * 4, [[n] for n in range(4)], own.numpy())
    )
    for index in range(4):
        right = 0.4 * soft[index] if index in some else every[index]
        assert found[index].item() == pytest.approx(right.item(), rel=1e-5)


def test_one_answer_that_is_the_label_is_the_label() -> None:
    rows = log_probs(2, 6, 5)
    said: tuple[Alternatives, ...] = ((((1, 0), 1.0),), (((2,), 1.0),))
    batch = taught([6, 4], [[1, 0], [2]], said=said)
    found = Distilled(CtcObjective(), "ctc", DistilSpec(0.7))(rows, batch)
    assert torch.allclose(found, CtcObjective()(rows, batch))


def test_several_answers_are_weighed() -> None:
    rows = log_probs(2, 6, 5)
    said: tuple[Alternatives, ...] = ((((1, 0), 0.75), ((1,), 0.25)), ())
    batch = taught([6, 4], [[3], [2]], said=said)
    found = Distilled(CtcObjective(), "ctc", DistilSpec(0.5))(rows, batch)

    def alone(target: list[int]) -> float:
        return float(CtcObjective()(rows[:1], batch_of([6], [target]))[0])

    expected = 0.5 * (0.75 * alone([1, 0]) + 0.25 * alone([1])) + 0.5 * alone([3])
    assert found[0].item() == pytest.approx(expected, rel=1e-5)
    label = CtcObjective()(rows, batch)[1].item()
    assert found[1].item() == pytest.approx(0.5 * label, rel=1e-5)  # no answer teaches nothing


@pytest.mark.parametrize("values", [{"alpha": -0.1}, {"alpha": 1.1}, {"temperature": 0.0}])
def test_shares_that_are_none(values: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match=r"alpha from 0 to 1"):
        DistilSpec(**values)  # type: ignore[arg-type]


def test_processes_share_a_batch(tmp_path: Path, single: Bundle) -> None:
    made = passes(tmp_path, labelled([1, 4]))
    told = lessons(tmp_path, single, made=made)
    data = TaughtSet(made, batch_size=8, stack=4, seed=1, lessons=told)
    batch = data.batch(2, data.plan(2)[0])
    rows = log_probs(len(batch.lengths), batch.features.shape[1] // 4, 3)
    aim = Distilled(ClassifyObjective(), "classify", DistilSpec())
    whole = aim(rows, batch)
    for rank in range(3):
        share = slice(rank, None, 3)
        assert torch.allclose(aim(rows[share], batch.part(share)), whole[share])


# Whole trainings


def student(
    folder: Path,
    told: Callable[[int], object] = tiny.nobody,
    *,
    bundle: Bundle | None = None,
    distil: DistilSpec = DistilSpec(keep=2),  # noqa: B008 - frozen
    examples: Sequence[Example] = (),
    spec: TrainSpec = FEW,
) -> dict[str, Tensor]:
    """Train a student of labels and give its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    made = passes(folder, examples)
    teacher = None
    if bundle is not None:
        teacher = Lessons(made, Posteriors(bundle), folder / "said", distil.keep)
    data = TaughtSet(made, batch_size=spec.batch_size, stack=4, seed=5, lessons=teacher)

    def progress(what: str, done: int, total: int | None) -> None:
        told(done)

    aim = Distilled(tiny.fresh_aim(LABELS), "classify", distil)
    model = teachers.fresh_student()
    best = train(model, aim, data, tiny.dev(), spec, folder, progress=progress)
    return best.state_dict()


def test_without_a_share_the_teacher_changes_no_bit(tmp_path: Path, single: Bundle) -> None:
    wanted = tiny.weights(tmp_path / "plain", spec=FEW, shape=LABELS)
    nobody = DistilSpec(alpha=0.0)
    assert_same(student(tmp_path / "a", bundle=single, distil=nobody), wanted)
    assert_same(student(tmp_path / "b", distil=nobody), wanted)
    logs = [rows_of(tmp_path / name) for name in ("plain", "a")]
    for name in ("loss", "dev"):
        assert [row[name] for row in logs[0]] == [row[name] for row in logs[1]]


def test_a_student_comes_nearer_to_its_teacher_than_labels_would_bring_it(
    tmp_path: Path, single: Bundle
) -> None:
    spec = replace(FEW, epochs=12)
    made = passes(tmp_path)
    rows = lessons(tmp_path, single, keep=3, made=made).get(2)

    def apart(weights: dict[str, Tensor]) -> float:
        model = teachers.fresh_student().eval()
        model.load_state_dict(weights)
        total = 0.0
        for index in range(12):
            frames = made.get(2).utterance(index)
            frames = frames[: len(frames) // 4 * 4]
            own = model(torch.from_numpy(frames)[None], model.start(1))[0][0, -1].detach().numpy()
            wanted = rows.rows(index)[0]
            total += float((np.exp(wanted) * (wanted - own)).sum())
        return total

    nobody = [replace(one, targets=()) for one in labelled()]
    soft = student(
        tmp_path / "soft", bundle=single, distil=DistilSpec(1.0, 1.0, 3), examples=nobody, spec=spec
    )
    assert apart(soft) < 0.5 * apart(tiny.weights(tmp_path / "hard", spec=spec, shape=LABELS))


@pytest.mark.usefixtures("saving_always")
def test_stopped_anywhere_and_damaged_it_ends_the_same(tmp_path: Path, single: Bundle) -> None:
    some = labelled([0, 3, 5])
    wanted = student(tmp_path / "undisturbed", bundle=single, examples=some)
    folder = tmp_path / "run"
    for count, stop in enumerate(sorted(random.Random(3).sample(range(1, 9), 3))):

        def told(done: int, stop: int = stop) -> None:
            if done == stop:
                raise Stopped

        with pytest.raises(Stopped):
            student(folder, told, bundle=single, examples=some)
        kept = sorted((folder / "said").glob("said-*/"))
        if count == 0:
            cut(kept[0] / "logs.npy")
        if count == 1:
            shutil.rmtree(folder / "said")
    assert_same(student(folder, bundle=single, examples=some), wanted)


@pytest.fixture
def saving_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimass.training.loop.SAVE_SECONDS", 0.0)


def test_an_utterance_with_a_part_that_nobody_labelled_has_no_label(
    tmp_path: Path, digits: Bundle
) -> None:
    made = passes(tmp_path, labelled([0, 1]), tiny.AUGMENT)
    told = Lessons(made, Posteriors(digits), tmp_path / "said", 5)
    data = TaughtSet(made, batch_size=12, stack=4, seed=1, lessons=told, frame_seconds=0.04)
    seen = 0
    for utterances in data.plan(3):
        batch = data.batch(3, utterances)
        groups = [made.get(3).groups[one] for one in utterances]
        assert batch.tokens is not None
        for group, count, tokens in zip(groups, batch.target_lengths, batch.tokens, strict=True):
            seen += {0, 1} & set(group) != set()
            assert count == (0 if {0, 1} & set(group) else len(group))
            assert tokens >= max(1, count)
        aim = Distilled(CtcObjective(), "ctc", DistilSpec())
        rows = log_probs(len(utterances), batch.features.shape[1] // 4, 11)
        assert torch.isfinite(aim(rows, batch)).all()
    assert seen


def test_answers_of_joined_utterances_are_joined(tmp_path: Path) -> None:
    made = passes(tmp_path, augment=tiny.AUGMENT)
    first, second = made.examples[0].name, made.examples[1].name
    answers: dict[str, Alternatives] = {
        example.name: ((example.targets, 1.0),) for example in made.examples
    }
    answers[first] = (((2,), 0.6), ((0,), 0.4))
    del answers[second]
    data = TaughtSet(made, batch_size=12, stack=4, seed=1, answers=answers)
    data.prepare(3)
    assert data.batch(3, data.plan(3)[0]).wanted is None
    for utterances in data.plan(3):
        batch = data.batch(3, utterances)
        for names, said in zip(batch.names, batch.said, strict=True):
            if second in names:
                assert said == ()
            elif first in names:
                own = names.index(first)
                assert [tokens[own] for tokens, _ in said] == [2, 0]
                assert [share for _, share in said] == pytest.approx([0.6, 0.4])
                assert all(len(tokens) == len(names) for tokens, _ in said)
            else:
                assert len(said) == 1 and said[0][1] == 1


def test_plain_batches_have_the_plain_loss() -> None:
    rows, batch = log_probs(2, 3, 4), batch_of([3, 2], [[1], [2]])
    assert type(batch) is Batch
    aim = Distilled(ClassifyObjective(), "classify", DistilSpec())
    assert torch.equal(aim(rows, batch), ClassifyObjective()(rows, batch))


def test_a_member_that_is_damaged_ends_the_teaching(tmp_path: Path) -> None:
    whole = teachers.massive(tmp_path)
    (whole.folder / "members/fine/model.onnx").write_bytes(b"nothing")
    with pytest.raises(BundleError):
        Posteriors(bundles.load_outside(whole.folder))


def test_what_is_kept_is_said_in_plain_words(tmp_path: Path, single: Bundle) -> None:
    told = lessons(tmp_path, single)
    said = told.get(1)
    about = json.loads((told.target(1) / ABOUT).read_text())
    assert about["residual"] == pytest.approx(said.residual)
    assert (about["outputs"], about["row_seconds"]) == (3, 0.0)

"""Many models as one: laws of combination, of streams, and of members that die."""

import itertools
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.base.contract import Engine, Hypothesis, RecognizeOptions, Samples, StreamingEngine
from aimass.base.errors import BundleError, IntegrityError, RequestError
from aimass.decoding.combine import Method
from aimass.registry import bundle as bundles
from aimass.registry import pretrained
from aimass.registry.bundle import Bundle
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.load import shipped
from aimass.runtime.massive import MassiveEngine, StreamingMassiveEngine, open_bundle, whole

from . import digits
from .digits import RATE, speech
from .massives import digits_three, engine, massive, resealed

WORDS = RecognizeOptions(word_times=True)
ON_ROWS: tuple[Method, ...] = ("arithmetic", "geometric")
METHODS: tuple[Method, ...] = (*ON_ROWS, "vote", "mbr", "choose")
WEIGHTS = (0.5, 0.3, 0.2)


@pytest.fixture(scope="module")
def babblers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Three models that say different things; one hears at another rate."""
    folder = tmp_path_factory.mktemp("members")
    return {
        f"b{seed}": digits.babbling(folder / f"b{seed}", seed, rate)
        for seed, rate in ((4, RATE), (5, RATE), (6, 2 * RATE))
    }


@pytest.fixture(scope="module")
def guessers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("members")
    return {f"g{s}": digits.guessing(folder / f"g{s}", s) for s in range(5)}


Made = Callable[..., MassiveEngine]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Pack and open a massive model."""
    numbers = itertools.count()

    def make(*arguments: Any, threads: int = 2, **changes: Any) -> MassiveEngine:
        return engine(massive(tmp_path / f"many{next(numbers)}", *arguments, **changes), threads)

    return make


def streamed(found: MassiveEngine, samples: Samples, cuts: list[int]) -> Hypothesis:
    assert isinstance(found, StreamingMassiveEngine)
    stream = found.stream(WORDS)
    for piece in np.split(samples, sorted(cuts)):
        stream.accept(piece)
    return stream.finish()


def assert_same(found: Hypothesis, wanted: Hypothesis, tolerance: float = 2e-3) -> None:
    assert found.text == wanted.text
    for one, other in zip(found.segments, wanted.segments, strict=True):
        assert (one.start, one.end, one.tokens) == (other.start, other.end, other.tokens)
        assert [w.text for w in one.words] == [w.text for w in other.words]
        for word, twin in zip(one.words, other.words, strict=True):
            assert (word.start, word.end) == pytest.approx((twin.start, twin.end), abs=1e-6)
        assert one.confidence == pytest.approx(other.confidence, abs=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_in_any_pieces_is_the_whole(
    made: Made, babblers: dict[str, Bundle], method: Method
) -> None:
    found = made(method, babblers, WEIGHTS)
    assert found.sample_rate == 2 * RATE

    @settings(max_examples=8)
    @given(st.lists(st.integers(0, 4 * RATE), max_size=12), st.integers(0, 4 * RATE))
    def law(cuts: list[int], count: int) -> None:
        samples = speech()[:count]
        assert_same(streamed(found, samples, cuts), found.recognize(samples, WORDS))

    law()
    assert len(found.recognize(speech(), WORDS).segments[0].words) > 1


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_members_does_not_matter(
    made: Made, babblers: dict[str, Bundle], method: Method
) -> None:
    wanted = made(method, babblers, WEIGHTS).recognize(speech(), WORDS)
    for order in ([2, 0, 1], [1, 2, 0], [2, 1, 0]):
        names = [list(babblers)[n] for n in order]
        members = {name: babblers[name] for name in names}
        turned = made(method, members, [WEIGHTS[n] for n in order])
        assert_same(turned.recognize(speech(), WORDS), wanted)


@pytest.mark.parametrize("method", METHODS)
def test_one_member_is_itself(made: Made, babblers: dict[str, Bundle], method: Method) -> None:
    alone = BundleEngine(babblers["b4"])
    found = made(method, {"b4": babblers["b4"]}).recognize(speech(), WORDS)
    wanted = alone.recognize(speech(), WORDS)
    assert found.text == wanted.text
    assert [w.start for s in found.segments for w in s.words] == pytest.approx(
        [w.start for s in wanted.segments for w in s.words]
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_copy_that_shares_its_weight_changes_nothing(
    made: Made, babblers: dict[str, Bundle], method: Method
) -> None:
    pair = {name: babblers[name] for name in ("b4", "b5")}
    wanted = made(method, pair, (0.6, 0.4)).recognize(speech(), WORDS)
    copied = made(method, pair | {"copy": babblers["b4"]}, (0.4, 0.4, 0.2))
    assert_same(copied.recognize(speech(), WORDS), wanted)


@pytest.mark.parametrize("method", ["arithmetic", "geometric", "vote", "choose"])
def test_labels(made: Made, guessers: dict[str, Bundle], method: Method) -> None:
    """The label of all, the same in any pieces and whether or not all were asked."""
    weights = (0.3, 0.25, 0.2, 0.15, 0.1)
    early = made(method, guessers, weights, threads=1)
    late = made(method, guessers, weights, massive={"stop_early": False})
    said = set()
    for count in range(RATE // 4, 4 * RATE, RATE // 2):
        samples = speech()[:count]
        wanted = late.recognize(samples, WORDS)
        assert early.recognize(samples, WORDS).text == wanted.text
        assert_same(streamed(late, samples, [count // 3, count // 2]), wanted)
        assert streamed(early, samples, [100]).text == wanted.text
        said.add(wanted.text)
    assert said <= set(late.symbols.symbols) and len(said) > 1


def count_steps(found: MassiveEngine) -> list[str]:
    """Notes the members that are run from now on."""
    ran: list[str] = []
    for name, member in found.members.items():
        assert isinstance(member, BundleEngine)
        step = member.graph.step

        def noted(*given: Any, name: str = name, step: Any = step) -> Any:
            ran.append(name)
            return step(*given)

        member.graph.step = noted  # type: ignore[assignment, method-assign]
    return ran


@pytest.mark.parametrize("method", ["arithmetic", "vote"])
def test_who_cannot_change_the_label_is_not_asked(
    made: Made, guessers: dict[str, Bundle], method: Method
) -> None:
    sounds = [speech()[: n * RATE] for n in (1, 2, 3, 4)]
    confidence, name, heard = max(
        (BundleEngine(own).recognize(sound, WORDS).segments[0].confidence, name, number)
        for name, own in guessers.items()
        for number, sound in enumerate(sounds)
    )
    assert confidence > 0.75
    same = dict.fromkeys("abcd", guessers[name])
    found = made(method, same, (0.4, 0.3, 0.2, 0.1), threads=1)
    ran = count_steps(found)
    found.recognize(sounds[heard], WORDS)
    assert list(dict.fromkeys(ran)) in (["a", "b"], ["a", "b", "c"])  # the weightiest first


@pytest.mark.parametrize(("votes", "asked"), [({"alpha": 1.0}, 2), ({}, 3)])
def test_who_cannot_change_the_words_is_not_asked(
    made: Made, votes: dict[str, float], asked: int
) -> None:
    member = bundles.load(shipped()["digits"])
    same = dict.fromkeys("abcd", member)
    weights = (0.3, 0.3, 0.3, 0.1)
    found = made("vote", same, weights, threads=1, massive={"vote": votes})
    clip = digits.clips()[0]
    ran = count_steps(found)
    assert found.recognize(digits.samples(clip.path), WORDS).text == clip.text
    assert len(set(ran)) == asked and "d" not in ran


def assert_threads_change_nothing(found: list[MassiveEngine], samples: Samples) -> int:
    """Also says how many members the engine with one thread ran."""
    ran = count_steps(found[0])
    first, *others = [one.recognize(samples, WORDS) for one in found]
    for other in others:
        assert_same(other, first, 1e-6)
    return len(set(ran))


@pytest.mark.parametrize("method", ["arithmetic", "geometric", "vote"])
def test_threads_change_no_label_and_no_confidence(
    made: Made, guessers: dict[str, Bundle], method: Method
) -> None:
    weights = (0.9, 0.04, 0.03, 0.02, 0.01)
    found = [made(method, guessers, weights, threads=count) for count in (1, 2, 5)]
    sounds = [speech()[: n * RATE] for n in (1, 2, 3, 4)]
    asked = {assert_threads_change_nothing(found, samples) for samples in sounds}
    assert min(asked) < 5


def test_threads_change_no_word_and_no_confidence(made: Made, babblers: dict[str, Bundle]) -> None:
    members = {"good": bundles.load(shipped()["digits"])} | babblers
    weights = (0.9, 0.05, 0.03, 0.02)
    found = [made("vote", members, weights, threads=count) for count in (1, 2, 4)]
    for clip in digits.clips()[:20:10]:
        assert assert_threads_change_nothing(found, digits.samples(clip.path)) == 1


def test_digits_are_heard_as_well_by_any_method(made: Made) -> None:
    member = bundles.load(shipped()["digits"])
    clips = digits.clips()[::10]
    for method in METHODS:
        found = made(method, {"a": member, "b": member}, (0.7, 0.3))
        texts = [found.recognize(digits.samples(clip.path), WORDS).text for clip in clips]
        assert texts == [clip.text for clip in clips]
        assert found.recognize(np.zeros(RATE, np.float32), WORDS).segments == ()


def test_words_are_where_they_were_said(made: Made) -> None:
    member = bundles.load(shipped()["digits"])
    samples, starts = digits.in_a_row(digits.clips()[:40:8], pause=0.7)
    for method in ("geometric", "vote"):
        found = made(method, {"a": member, "b": member}).recognize(samples, WORDS)
        words = found.segments[0].words
        assert [w.text for w in words] == [clip.text for clip in digits.clips()[:40:8]]
        for word, start in zip(words, starts, strict=True):
            assert start - 0.1 <= word.start <= word.end <= start + 1.3


def damaged(bundle: Bundle, name: str) -> Bundle:
    """Change a byte of a member's graph."""
    path = bundle.folder / bundles.MEMBERS / name / bundles.GRAPH
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    return bundle


@pytest.mark.parametrize("method", METHODS)
def test_a_dead_member_is_told_and_the_rest_answer(
    tmp_path: Path,
    babblers: dict[str, Bundle],
    caplog: pytest.LogCaptureFixture,
    method: Method,
) -> None:
    bundle = damaged(massive(tmp_path / "many", method, babblers, WEIGHTS), "b5")
    found = engine(bundle)
    assert list(found.dead) == ["b5"] and "changed after it was packed" in found.dead["b5"]
    assert "member 'b5' of 'many' is left out" in caplog.text
    assert list(found.members) == ["b4", "b6"]
    rest = {name: babblers[name] for name in found.members}
    wanted = engine(massive(tmp_path / "rest", method, rest, (5 / 7, 2 / 7)))
    assert_same(found.recognize(speech(), WORDS), wanted.recognize(speech(), WORDS))
    with pytest.raises(BundleError, match=r"b5: .* was changed"):
        whole(found)


def test_a_member_with_another_golden_output_is_dead(tmp_path: Path) -> None:
    bundle = digits_three(tmp_path / "many")
    member = bundles.load(bundle.folder / bundles.MEMBERS / "two")
    content = member.manifest.model_dump(mode="json", exclude={"format", "files"})
    golden = member.golden()
    other = bundles.Golden(golden.samples, golden.log_probs, "eleven")
    bundles.write(member.folder, content, other)
    resealed(bundle.folder)
    found = open_bundle(bundle.folder)
    assert isinstance(found, MassiveEngine)
    assert list(found.dead) == ["two"] and "in its golden input" in found.dead["two"]
    clip = digits.clips()[0]
    assert found.recognize(digits.samples(clip.path), WORDS).text == clip.text


def test_all_dead(tmp_path: Path, babblers: dict[str, Bundle]) -> None:
    bundle = massive(tmp_path / "many", "geometric", babblers)
    for name in babblers:
        damaged(bundle, name)
    with pytest.raises(BundleError, match=r"no member of 'many' answers: b4: .*; b5: .*; b6: "):
        engine(bundle)


class Planted(Exception):
    """What a member is made to raise."""


def failing(found: MassiveEngine, name: str, fails: list[bool]) -> None:
    """Let a member fail while the last of `fails` says so."""
    member = found.members[name]
    assert isinstance(member, BundleEngine)
    step = member.graph.step

    def odd(*given: Any) -> Any:
        if fails[-1]:
            raise Planted("out of order")
        return step(*given)

    member.graph.step = odd  # type: ignore[assignment, method-assign]


@pytest.mark.parametrize("method", METHODS)
def test_a_member_that_fails_is_left_out_of_that_answer(
    made: Made, tmp_path: Path, babblers: dict[str, Bundle], method: Method
) -> None:
    found, fails = made(method, babblers, WEIGHTS), [False]
    before = found.recognize(speech(), WORDS)
    failing(found, "b5", fails)
    fails.append(True)
    rest = {name: babblers[name] for name in ("b4", "b6")}
    wanted = made(method, rest, (5 / 7, 2 / 7)).recognize(speech(), WORDS)
    assert_same(found.recognize(speech(), WORDS), wanted)
    assert_same(streamed(found, speech(), [RATE, 2 * RATE]), wanted)
    assert found.dead == {"b5": "out of order"}
    fails.append(False)
    assert_same(found.recognize(speech(), WORDS), before)
    assert found.dead == {}


@pytest.mark.parametrize("method", ["geometric", "vote"])
def test_a_member_that_fails_within_a_stream(
    made: Made, babblers: dict[str, Bundle], method: Method
) -> None:
    found, fails = made(method, babblers, WEIGHTS), [False]
    failing(found, "b4", fails)
    assert isinstance(found, StreamingMassiveEngine)
    stream = found.stream(WORDS)
    stream.accept(speech()[:RATE])
    said = stream.results().text
    fails.append(True)
    stream.accept(speech()[RATE : 2 * RATE])
    fails.append(False)  # too late: it has not heard all
    stream.accept(speech()[2 * RATE :])
    assert said and stream.finish().text
    assert found.dead == {"b4": "out of order"}
    assert_same(
        found.recognize(speech(), WORDS), made(method, babblers, WEIGHTS).recognize(speech(), WORDS)
    )


def test_all_fail(made: Made, babblers: dict[str, Bundle]) -> None:
    for method in METHODS:
        found = made(method, babblers)
        for name in babblers:
            failing(found, name, [True])
        with pytest.raises(BundleError, match="b4: out of order; b5: out of order; b6: out of"):
            found.recognize(speech(), WORDS)


def test_threads_share_an_engine(made: Made, babblers: dict[str, Bundle]) -> None:
    for method in ("geometric", "vote"):
        found = made(method, babblers, WEIGHTS, threads=3)
        sounds = [speech()[n * 2000 :] for n in range(6)]
        alone = [found.recognize(samples, WORDS) for samples in sounds]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(found.recognize, sounds, [WORDS] * len(sounds)))
        assert together == alone


def test_it_keeps_the_contract(made: Made, babblers: dict[str, Bundle]) -> None:
    found = made("vote", babblers)
    assert isinstance(found, StreamingMassiveEngine)
    assert all(isinstance(found, kind) for kind in (Engine, StreamingEngine))
    assert (found.name, found.invents_on_silence) == ("many", False)
    assert found.bundle.manifest.massive is not None
    assert found.bundle.manifest.parameters == 3
    with pytest.raises(RequestError, match="language 'de' for the model 'many'") as caught:
        found.recognize(speech(), RecognizeOptions(language="de"))
    assert caught.value.param == "language"
    with pytest.raises(RequestError):
        found.stream(RecognizeOptions(language="de"))
    assert found.recognize(speech()[:RATE], RecognizeOptions(language="en-GB")).language == "en"
    assert not any(s.words for s in found.recognize(speech(), RecognizeOptions()).segments)
    found.close()


@pytest.mark.parametrize("count", [0, 1, 79, 400, 1000])
@pytest.mark.parametrize("method", METHODS)
def test_next_to_nothing(
    tmp_path: Path, babblers: dict[str, Bundle], method: Method, count: int
) -> None:
    found = engine(massive(tmp_path / "many", method, babblers))
    samples = speech()[:count]
    assert_same(streamed(found, samples, [count // 2]), found.recognize(samples, WORDS))


def test_the_golden_output_of_the_whole(tmp_path: Path, babblers: dict[str, Bundle]) -> None:
    for method in ("geometric", "vote"):
        bundle = massive(tmp_path / method, method, babblers, WEIGHTS)
        folder = Path(shutil.copytree(bundle.folder, tmp_path / f"{method}-changed"))
        content = bundle.manifest.model_dump(mode="json", exclude={"format", "files"})
        golden = bundle.golden()
        assert golden.text and len(golden.log_probs) == (0 if method == "vote" else 23)
        other = bundles.Golden(golden.samples, golden.log_probs, "nothing of this")
        bundles.write(folder, content, other)
        with pytest.raises(IntegrityError, match="'nothing of this'"):
            open_bundle(folder)


def test_members_that_do_not_go_together(
    tmp_path: Path, babblers: dict[str, Bundle], guessers: dict[str, Bundle]
) -> None:
    member = bundles.load(shipped()["digits"])
    with pytest.raises(BundleError, match=r"2 different tables of outputs.*by voting"):
        massive(tmp_path / "a", "geometric", babblers | {"digits": member})
    with pytest.raises(BundleError, match="'g1' is there to classify"):
        massive(tmp_path / "b", "vote", babblers | {"g1": guessers["g1"]})
    with pytest.raises(BundleError, match="voiceprints do not combine"):
        massive(tmp_path / "c", "vote", {"v": digits.voices(tmp_path / "v")})
    inner = massive(tmp_path / "d", "geometric", babblers)
    with pytest.raises(BundleError, match="'many' is a massive model itself"):
        massive(tmp_path / "e", "vote", {"many": inner})
    mixed = massive(tmp_path / "f", "vote", {"b": babblers["b4"], "digits": member})
    assert engine(mixed).recognize(speech(), WORDS).text


def test_a_pretrained_member(tmp_path: Path, test_home: Path) -> None:
    pretrained.pull("whisper-tiny.en", home=test_home)
    whisper = pretrained.find(test_home, "whisper-tiny.en")
    assert whisper is not None
    member = bundles.load(shipped()["digits"])
    clip = digits.clips()[0]
    samples = digits.samples(clip.path)
    bundle = massive(
        tmp_path / "many",
        "vote",
        {"digits": member, "whisper": whisper},
        (0.6, 0.4),
        member.golden().samples,
        home=test_home,
        massive={"sample_rate": 16000},
    )
    assert not (bundle.folder / bundles.MEMBERS / "whisper").exists()
    found = engine(bundle, home=test_home)
    assert type(found) is MassiveEngine and not isinstance(found, StreamingEngine)
    assert (found.max_seconds, found.invents_on_silence, found.sample_rate) == (30, True, 16000)
    at_16k = np.repeat(samples, 2)
    assert found.recognize(at_16k, WORDS).text == clip.text

    lonely = engine(bundle, home=tmp_path / "elsewhere")
    assert "'whisper-tiny.en' is not installed" in lonely.dead["whisper"]
    assert isinstance(lonely, StreamingMassiveEngine)
    assert lonely.recognize(at_16k, WORDS).text == clip.text


def test_another_combination_than_members(babblers: dict[str, Bundle], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="one weight for each"):
        massive(tmp_path / "many", "vote", babblers, (0.5, 0.5))

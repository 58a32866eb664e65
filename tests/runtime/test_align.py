"""Recordings of known words and pauses, aligned by the shipped digits model and by Whisper."""

import io
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from aimass.audio.decode import load as load_audio
from aimass.audio.decode import probe
from aimass.base.contract import Samples, Word
from aimass.base.errors import DataError, RequestError
from aimass.data.corpus import Clip, read
from aimass.registry import bundle as bundles
from aimass.registry import pretrained
from aimass.runtime.align import Alignment, Unit, align, beside, units
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.cut import CutPlan, Cuts, cut, lines
from aimass.runtime.load import shipped
from aimass.runtime.whisper import WhisperEngine
from aimass.text.tokens import TokenSet

SAMPLES = Path(__file__).parents[2] / "samples"
RATE = 8000
SAID = (
    "And so, my fellow Americans: ask not what your country can do for you "
    "— ask what you can do for your country."
)
TOLERANCE = 0.35  # seconds: a weak "th" is heard late, a voice that dies away long


@cache
def digits() -> BundleEngine:
    return BundleEngine(bundles.load(shipped()["digits"]))


@pytest.fixture(scope="session")
def whisper(test_home: Path) -> WhisperEngine:
    folder = pretrained.pull("whisper-tiny.en", home=test_home)
    return WhisperEngine.open(folder, name="whisper-tiny.en", workers=1, threads=1)


def joined(seed: int, count: int = 8) -> tuple[io.BytesIO, list[str], list[tuple[float, float]]]:
    """Different digits with pauses: the recording, its words, and where each clip lies."""
    rng = np.random.default_rng(seed)
    clips = read(SAMPLES / "digits").split("test").clips
    mixed = [clips[number] for number in rng.permutation(len(clips))]
    chosen = list({clip.text: clip for clip in mixed}.values())[:count]
    parts: list[Samples] = [np.zeros(RATE // 2, np.float32)]
    spans = []
    for clip in chosen:
        start = sum(map(len, parts))
        parts += [sound(clip), np.zeros(int(rng.uniform(0.5, 1.0) * RATE), np.float32)]
        spans.append((start / RATE, (start + len(parts[-2])) / RATE))
    return wav(np.concatenate(parts)), [clip.text for clip in chosen], spans


@cache
def sound(clip: Clip) -> Samples:
    return load_audio(clip.path, rate=RATE).mono()


def wav(samples: Samples) -> io.BytesIO:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV")
    return file


def aligned(recording: io.BytesIO, words: list[str]) -> Alignment:
    return align(recording, " ".join(words), digits(), language="en")


# A bundle: forced alignment


@pytest.mark.parametrize("seed", range(4))
def test_words_are_found_where_they_were_put(seed: int) -> None:
    recording, words, spans = joined(seed)
    found = aligned(recording, words)
    assert [found.text[p.unit.begin : p.unit.stop] for p in found.placed] == words
    for one, (start, end) in zip(found.placed, spans, strict=True):
        assert one.start == pytest.approx(start, abs=TOLERANCE)
        assert one.end == pytest.approx(end, abs=TOLERANCE)
    assert min(one.confidence for one in found.placed) > 0.3
    assert min(*(one.gap for one in found.placed), found.gap) > 0.3


@pytest.mark.parametrize("seed", range(4))
def test_cuts_fall_into_the_pauses(seed: int) -> None:
    recording, words, spans = joined(seed)
    cuts = cut(aligned(recording, words), CutPlan(shortest=0))
    assert (cuts.doubtful, cuts.unwritten) == ((), ())
    assert [one.text for one in cuts.sure] == words
    for one, (start, end) in zip(cuts.sure, spans, strict=True):
        middle = (start + end) / 2
        assert one.start < middle < one.start + one.duration
        overlap = min(end, one.start + one.duration) - max(start, one.start)
        assert overlap > 0.7 * (end - start)
    for one, after in pairwise(cuts.sure):
        assert one.start + one.duration <= after.start + 0.001


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_word_that_nobody_said_has_no_confidence(seed: int, at: int) -> None:
    recording, words, _ = joined(seed)
    extra = next(w for w in ("seven", "two", "one") if w not in words[max(0, at - 1) : at + 1])
    found = aligned(recording, [*words[:at], extra, *words[at:]])
    sure = [one.confidence > 0.3 for one in found.placed]
    assert not sure[at]
    assert all(sure[: max(0, at - 1)] + sure[at + 2 :])  # it may crowd out a neighbour
    assert sum(sure) >= len(words) - 1
    cuts = cut(found, CutPlan(shortest=0))
    assert extra in [doubt for one in cuts.doubtful for doubt in one.doubts]
    assert len(cuts.sure) >= len(words) - 2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_word_that_nobody_wrote_is_told(seed: int, at: int) -> None:
    recording, words, spans = joined(seed)
    found = aligned(recording, [*words[:at], *words[at + 1 :]])
    assert min(one.confidence for one in found.placed) > 0.3
    gaps = [one.gap > 0.3 for one in found.placed] + [found.gap > 0.3]
    assert gaps == [number != at for number in range(len(words))]
    cuts = cut(found, CutPlan(shortest=0))
    assert len(cuts.sure) == len(words) - 1
    assert cuts.unwritten
    middle = sum(cuts.unwritten[0]) / 2
    assert spans[at][0] < middle < spans[at][1]


def test_a_clip_of_several_words_is_marked_for_the_one_nobody_wrote() -> None:
    recording, words, _ = joined(1)
    cuts = cut(aligned(recording, [*words[:3], *words[4:]]), CutPlan(shortest=60, longest=90))
    assert cuts.sure == ()
    assert [one.doubts for one in cuts.doubtful] == [("+",)]


def test_every_word_is_in_one_clip_whatever_the_plan() -> None:
    recording, words, _ = joined(2)
    found = aligned(recording, words)
    for plan in (CutPlan(longest=0.2, shortest=0.1), CutPlan(longest=2.5), CutPlan(pause=9.0)):
        cuts = cut(found, plan)
        clips = sorted(cuts.sure + cuts.doubtful, key=lambda one: one.start)
        assert [word for one in clips for word in one.text.split()] == words
        assert all(one.duration > 0 for one in clips)
        if plan.longest > 1:
            assert all(one.duration <= plan.longest + 0.5 for one in clips)


def test_a_word_that_the_model_cannot_spell_is_marked() -> None:
    recording, words, _ = joined(3)
    found = aligned(recording, [*words[:4], "rhubarb", *words[4:]])
    assert [one.confidence > 0.3 for one in found.placed] == [n != 4 for n in range(9)]


def test_text_for_another_recording_is_refused_or_doubted() -> None:
    recording, words, _ = joined(0, count=2)
    with pytest.raises(DataError, match="belong together"):
        aligned(recording, words * 200)
    wrong = [word for word in ("one", "two", "six", "nine", "four") if word not in words][:2]
    cuts = cut(aligned(recording, wrong), CutPlan(shortest=0))
    assert cuts.sure == ()


def test_noise_without_speech_still_aligns_and_is_doubted() -> None:
    noise = 0.01 * np.random.default_rng(1).standard_normal(3 * RATE).astype(np.float32)
    assert cut(aligned(wav(noise), ["one", "two"])).sure == ()


# Any other engine: what it heard beside the text


def test_whisper_aligns_what_was_said(whisper: WhisperEngine) -> None:
    found = align(SAMPLES / "jfk.wav", SAID, whisper, language="en")
    times = {SAID[p.unit.begin : p.unit.stop]: (p.start, p.end) for p in found.placed}
    assert times["not"] == pytest.approx((4.0, 4.4), abs=0.3)
    assert times["country."][1] == pytest.approx(10.6, abs=0.3)
    cuts = cut(found, CutPlan(longest=6, shortest=0.5))
    assert cuts.doubtful == ()
    assert [one.text for one in cuts.sure] == [
        "And so, my fellow Americans:",
        "ask not",
        "what your country can do for you —",
        "ask what you can do for your country.",
    ]


@pytest.mark.parametrize(
    ("change", "doubts"),
    [(("my fellow ", ""), ("+",)), (("country can", "lovely country can"), ("lovely",))],
)
def test_whisper_doubts_what_was_not_said(
    whisper: WhisperEngine, change: tuple[str, str], doubts: tuple[str, ...]
) -> None:
    text = SAID.replace(*change)
    found = align(SAMPLES / "jfk.wav", text, whisper, language="en")
    cuts: Cuts = cut(found, CutPlan(longest=6, shortest=0.5))
    assert [one.doubts for one in cuts.doubtful] == [doubts]
    assert len(cuts.sure) == 3


def heard(*words: str) -> list[Word]:
    return [Word(word, float(n), n + 0.5, 0.9) for n, word in enumerate(words)]


def test_spelling_apart_is_half_sure() -> None:
    placed, gap = beside(units("my colour", "xx"), heard("my", "color"))
    assert [one.confidence for one in placed] == pytest.approx([0.9, 0.5 * 5 / 6])
    assert gap == 1


def test_a_number_takes_all_its_words() -> None:
    (one, two), _ = beside(units("page 25", "en"), heard("page", "twenty", "five"))
    assert (one.start, one.end) == (0, 0.5)
    assert (two.start, two.end, two.confidence) == (1, 2.5, 0.9)


# Text


def test_units_of_a_text_keep_its_marks() -> None:
    text = "Well — 25 items, 你好world!"
    found = units(text, "en")
    written = [text[unit.begin : unit.stop] for unit in found]
    assert written == ["Well —", "25", "items,", "你", "好", "world!"]
    assert [unit.joined for unit in found] == [False, False, False, False, True, True]
    assert found[1].spoken == "twenty five"


def test_chinese_words_are_spelled_by_character() -> None:
    from aimass.runtime.align import _tokens

    symbols = TokenSet.from_texts(["你好 世界", "好"])
    written = units("你好世界 好", "zh")
    assert _tokens(units("你好 好", "zh"), symbols) == [
        [symbols.symbols.index("你")],
        [symbols.symbols.index("好")],
        [symbols.symbols.index("好")],
    ]
    assert len(written) == 5
    assert isinstance(written[0], Unit)


@pytest.mark.parametrize("text", ["", " — ... ", "word " * 20_001])
def test_texts_of_no_use(text: str) -> None:
    with pytest.raises(DataError, match="the text has"):
        units(text, "en")


@pytest.mark.parametrize(
    "plan", [CutPlan(longest=1, shortest=2), CutPlan(pause=0), CutPlan(longest=float("nan"))]
)
def test_plans_of_no_use(plan: CutPlan) -> None:
    recording, words, _ = joined(0, count=2)
    with pytest.raises(RequestError, match="shortest below the longest"):
        cut(aligned(recording, words), plan)


# Manifests


def test_clips_are_written_as_cuts_that_read_back(tmp_path: Path) -> None:
    recording, words, _ = joined(0)
    path = tmp_path / "long.wav"
    path.write_bytes(recording.getvalue())
    cuts = cut(aligned(recording, words), CutPlan(shortest=0))
    whole = Clip("long", path, " ".join(words), "eva", language="en")
    (tmp_path / "cuts.jsonl").write_text("".join(lines(cuts.sure, whole, probe(path), "free")))
    corpus = read(tmp_path / "cuts.jsonl")
    assert [clip.text for clip in corpus.clips] == words
    assert [(clip.start, clip.duration) for clip in corpus.clips] == [
        (one.start, one.duration) for one in cuts.sure
    ]
    assert {(clip.speaker, clip.language) for clip in corpus.clips} == {("eva", "en")}
    assert corpus.licence == "free"
    loaded = list(CutSet.from_jsonl(tmp_path / "cuts.jsonl"))
    assert [one.custom["confidence"] > 0.3 for one in loaded] == [True] * len(words)
    assert loaded[2].load_audio().shape == (1, round(cuts.sure[2].duration * RATE))

"""Transcript formats read back by independent parsers."""

import json
import math
import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aimass.base.contract import Segment, Transcript, Word
from aimass.text.formats import timestamp, to_json, to_srt, to_text, to_verbose_json, to_vtt

TIMES = st.floats(0, 400_000, allow_nan=False)
TEXTS = st.text(min_size=1, max_size=300) | st.sampled_from(
    ["a --> b", "1\n\n2\n00:00:01,000 --> 00:00:02,000\nx", "<b>&amp;", "word " * 60, "x" * 200]
)
CUE = re.compile(r"(\d{2,}):(\d\d):(\d\d)[.,](\d{3}) --> (\d{2,}):(\d\d):(\d\d)[.,](\d{3})")


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    edges = sorted(draw(st.lists(TIMES, max_size=8)))
    segments = tuple(Segment(a, b, draw(TEXTS)) for a, b in pairwise(edges))
    return Transcript(segments, edges[-1] if edges else 0.0, "model", "en")


def seconds(hours: str, minutes: str, whole: str, thousandths: str) -> float:
    return int(hours) * 3600 + int(minutes) * 60 + int(whole) + int(thousandths) / 1000


@given(TIMES)
def test_timestamps_are_exact_to_the_millisecond(time: float) -> None:
    text = timestamp(time, ".")
    match = re.fullmatch(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})", text)
    assert match is not None
    assert math.isclose(seconds(*match.groups()), time, abs_tol=0.000501)


def test_timestamps_carry_over() -> None:
    assert timestamp(59.9996, ",") == "00:01:00,000"
    assert timestamp(3599.9999, ".") == "01:00:00.000"
    assert timestamp(100 * 3600, ".") == "100:00:00.000"
    assert timestamp(-1, ".") == "00:00:00.000"


@given(transcripts())
def test_cues_are_ordered_numbered_and_hold_every_word(transcript: Transcript) -> None:
    blocks = [block for block in to_srt(transcript).split("\n\n") if block.strip()]
    said, edges = [], []
    for number, block in enumerate(blocks, 1):
        head, times, *lines = block.strip("\n").split("\n")
        assert head == str(number)
        match = CUE.fullmatch(times)
        assert match is not None
        edges += [seconds(*match.groups()[:4]), seconds(*match.groups()[4:])]
        assert 1 <= len(lines) <= 2
        assert all(len(line) <= 42 for line in lines)
        assert not any("-->" in line for line in lines)
        said += lines
    assert edges == sorted(edges)
    neutral = re.sub(r"--+>", "→", transcript.text)
    assert "".join("".join(said).split()) == "".join(
        re.sub(r"[\x00-\x1f\x7f\x85]", "", neutral).split()
    )


@given(transcripts())
def test_vtt_has_the_cues_of_srt(transcript: Transcript) -> None:
    vtt = to_vtt(transcript)
    assert vtt.startswith("WEBVTT\n")
    arrows = CUE.findall(to_srt(transcript))
    assert CUE.findall(vtt) == arrows
    assert vtt.count("-->") == len(arrows)


def test_markup_is_escaped_in_vtt_only() -> None:
    transcript = Transcript((Segment(0, 1, "<b> & co"),), 1, "m")
    assert "&lt;b&gt; &amp; co" in to_vtt(transcript)
    assert "<b> & co" in to_srt(transcript)


def test_long_segments_share_their_time_by_characters() -> None:
    text = " ".join(["abcd"] * 40)
    times = CUE.findall(to_srt(Transcript((Segment(10, 20, text),), 20, "m")))
    assert len(times) == 3
    assert (seconds(*times[0][:4]), seconds(*times[-1][4:])) == (10, 20)


def test_json_shapes() -> None:
    word = Word("hello", 0.1, 0.5, 0.9)
    segment = Segment(0, 1.5, "hello", (word,), 0.5, (1, 2), 0.2, 1.1, 0.01)
    transcript = Transcript((segment,), 1.5, "m", "en")
    assert to_text(transcript) == "hello\n"
    assert to_json(transcript) == {"text": "hello", "usage": {"type": "duration", "seconds": 2}}
    both = to_verbose_json(transcript, ("word", "segment"))
    assert list(both) == ["task", "duration", "language", "text", "segments", "words", "usage"]
    assert both["words"] == [{"word": "hello", "start": 0.1, "end": 0.5}]
    assert both["segments"] == [
        {
            "id": 0,
            "seek": 0,
            "start": 0,
            "end": 1.5,
            "text": "hello",
            "tokens": [1, 2],
            "temperature": 0.2,
            "avg_logprob": math.log(0.5),
            "compression_ratio": 1.1,
            "no_speech_prob": 0.01,
        }
    ]
    assert "words" not in to_verbose_json(transcript)
    assert "segments" not in to_verbose_json(transcript, ("word",))


def test_no_confidence_is_still_json() -> None:
    transcript = Transcript((Segment(0, 1, "x", confidence=0.0),), 1, "m")
    json.dumps(to_verbose_json(transcript), allow_nan=False)


@given(transcripts())
def test_the_official_client_accepts_the_shapes(transcript: Transcript) -> None:
    from openai.types.audio import Transcription, TranscriptionVerbose

    assert Transcription.model_validate(to_json(transcript), strict=True).text == transcript.text
    verbose = to_verbose_json(transcript, ("word", "segment"))
    assert TranscriptionVerbose.model_validate(verbose).text == transcript.text

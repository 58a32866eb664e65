"""Transcripts as text, subtitles and the JSON of OpenAI's transcription API."""

import math
import re
import textwrap
from collections.abc import Collection, Iterator
from typing import Any

from aimass.base.contract import Segment, Transcript

_LINE = 42  # characters; two lines of this width are the broadcasters' usual subtitle
_FLOOR = 1e-10  # confidence below which the logarithm is not taken further

TIMED = ("verbose_json", "srt", "vtt")
"""The formats that give the times of segments."""


def to_text(transcript: Transcript) -> str:
    """The words alone, ended by a line break."""
    return transcript.text + "\n"


def to_srt(transcript: Transcript) -> str:
    """SubRip subtitles: numbered cues, times as ``00:01:02,345``."""
    cues = (
        f"{number}\n{timestamp(start, ',')} --> {timestamp(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(_cues(transcript), 1)
    )
    return "\n".join(cues)


def to_vtt(transcript: Transcript) -> str:
    """WebVTT subtitles: the header, then cues with times as ``00:01:02.345``."""
    cues = (
        f"{timestamp(start, '.')} --> {timestamp(end, '.')}\n{_escape(text)}\n"
        for start, end, text in _cues(transcript)
    )
    return "\n".join(["WEBVTT\n", *cues])


def to_json(transcript: Transcript) -> dict[str, Any]:
    """The ``json`` shape: the text and the seconds that were read."""
    return {"text": transcript.text, "usage": _usage(transcript)}


def to_verbose_json(
    transcript: Transcript, granularities: Collection[str] = ("segment",)
) -> dict[str, Any]:
    """The ``verbose_json`` shape.

    Args:
        granularities: ``segment`` adds ``segments``, ``word`` adds ``words``.
    """
    answer: dict[str, Any] = {
        "task": "transcribe",
        "duration": transcript.duration,
        "language": transcript.language or "",
        "text": transcript.text,
    }
    if "segment" in granularities:
        answer["segments"] = [_segment(i, s) for i, s in enumerate(transcript.segments)]
    if "word" in granularities:
        answer["words"] = [
            {"word": word.text, "start": word.start, "end": word.end} for word in transcript.words
        ]
    return answer | {"usage": _usage(transcript)}


def timestamp(seconds: float, point: str) -> str:
    """Hours, minutes, seconds and milliseconds, rounded once so that no field overflows."""
    milliseconds = round(max(seconds, 0.0) * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": number,
        "seek": round(segment.start * 100),  # Whisper counts frames of 10 ms
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": math.log(max(segment.confidence, _FLOOR)),
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(transcript.duration)}


def _cues(transcript: Transcript) -> Iterator[tuple[float, float, str]]:
    """Start, end and wrapped text of each cue, in order and never running backwards.

    A segment that needs more than two lines becomes several cues, its time shared out by the
    number of characters: word times are often absent, and speech rate varies little within one
    segment.
    """
    earliest = 0.0
    for segment in transcript.segments:
        lines = textwrap.wrap(_neutral(segment.text), _LINE)
        blocks = ["\n".join(lines[i : i + 2]) for i in range(0, len(lines), 2)]
        start = max(segment.start, earliest)
        end = max(segment.end, start)
        total, done = sum(map(len, blocks)), 0
        for block in blocks:
            begin = start + (end - start) * done / total
            done += len(block)
            earliest = end if done == total else start + (end - start) * done / total
            yield begin, earliest, block


def _neutral(text: str) -> str:
    """Text that cannot be mistaken for the format: no line breaks, no arrow, no controls."""
    text = re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", " ", text)
    return re.sub(r"--+>", "→", text)


def _escape(text: str) -> str:
    """WebVTT reads ``&``, ``<`` and ``>`` as markup (W3C WebVTT, section 4.2.2)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def logprobs(transcript: Transcript) -> list[dict[str, Any]]:
    """The ``logprobs`` list of OpenAI's ``json`` format, one entry a word.

    Engines of different token sets serve side by side, so words stand for tokens.
    """
    return [
        {
            "token": word.text,
            "logprob": math.log(max(word.confidence, _FLOOR)),
            "bytes": list(word.text.encode()),
        }
        for word in transcript.words
    ]

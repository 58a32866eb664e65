"""The fields of a transcription request, checked one by one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile

from aimass.base.contract import RecognizeOptions
from aimass.base.errors import RequestError
from aimass.text.formats import TIMED

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
STREAMED = ("json", "text")
GRANULARITIES = ("word", "segment")
MAX_KEYWORDS = 1000
MAX_LIMIT = 1e9


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for.

    Args:
        format: of the answer, one of `FORMATS`.
        granularities: which times ``verbose_json`` gives.
        stream: answer with server-sent events.
        logprobs: add the log-probability of each word.
    """

    model: str
    format: str
    granularities: tuple[str, ...]
    stream: bool
    logprobs: bool
    options: RecognizeOptions


def parse(form: FormData, default_model: str) -> Asked:
    """Check every field.

    Raises:
        RequestError: names the field that is missing, wrong or not offered.
    """
    if not isinstance(form.get("file"), UploadFile):
        raise _wrong("file", "no uploaded file", "a file with a name, such as -F file=@a.wav")
    answer = _one_of(form, "response_format", "json", FORMATS)
    stream = _flag(form, "stream")
    if stream and answer not in STREAMED:
        raise _wrong("stream", f"response_format {answer}", "json or text with stream=true")
    granularities = _many(form, "timestamp_granularities", GRANULARITIES)
    if granularities and answer != "verbose_json":
        raise _wrong("timestamp_granularities", f"response_format {answer}", "verbose_json")
    logprobs = "logprobs" in _many(form, "include", ("logprobs",))
    if logprobs and answer != "json":
        raise _wrong("include", f"response_format {answer}", "json with include[]=logprobs")
    _check_chunking(form)
    for name in ("known_speaker_names", "known_speaker_references"):
        if _texts(form, name):
            raise _wrong(name, "a value", "no such field: speakers are not told apart yet")
    granularities = granularities or ("segment",)
    return Asked(
        model=_text(form, "model") or default_model,
        format=answer,
        granularities=granularities,
        stream=stream,
        logprobs=logprobs,
        options=_options(
            form,
            segments=answer in TIMED and "segment" in granularities,
            words="word" in granularities or logprobs,
        ),
    )


def _options(form: FormData, *, segments: bool, words: bool) -> RecognizeOptions:
    languages = [text for text in (_text(form, "language"), *_texts(form, "languages")) if text]
    keywords = _texts(form, "keywords")
    if len(keywords) > MAX_KEYWORDS:
        raise _wrong("keywords", f"{len(keywords)} keywords", f"at most {MAX_KEYWORDS}")
    return RecognizeOptions(
        # One language is taken as given; of several the engine finds out which is spoken.
        language=languages[0] if len(set(languages)) == 1 else None,
        prompt=_text(form, "prompt") or None,
        hotwords=tuple(keywords),
        temperature=_number(form, "temperature", 0.0, 1.0),
        segment_times=segments,
        word_times=words,
        quality=_text(form, "quality") or None,
        max_latency_ms=_limit(form, "max_latency_ms"),
        max_error=_limit(form, "max_error"),
    )


def _wrong(name: str, found: str, expected: str) -> RequestError:
    return RequestError(
        f"field '{name}' has {found}",
        expected=expected,
        fix="docs/serving.md lists every field",
        param=name,
    )


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(name, "a file", "text")
    return value.strip()


def _texts(form: FormData, name: str) -> list[str]:
    """A list field; the official client adds brackets to its name, others repeat it."""
    values = [*form.getlist(f"{name}[]"), *form.getlist(name)]
    if not all(isinstance(value, str) for value in values):
        raise _wrong(name, "a file", "text")
    return [str(value).strip() for value in values if str(value).strip()]


def _many(form: FormData, name: str, known: Sequence[str]) -> tuple[str, ...]:
    values = _texts(form, name)
    for value in values:
        if value not in known:
            raise _wrong(name, f"'{value[:80]}'", f"one of {', '.join(known)}")
    return tuple(dict.fromkeys(values))


def _one_of(form: FormData, name: str, default: str, known: Sequence[str]) -> str:
    value = _text(form, name) or default
    if value not in known:
        raise _wrong(name, f"'{value[:80]}'", f"one of {', '.join(known)}")
    return value


def _flag(form: FormData, name: str) -> bool:
    value = _text(form, name).lower() or "false"
    if value not in ("true", "false", "1", "0"):
        raise _wrong(name, f"'{value[:80]}'", "true or false")
    return value in ("true", "1")


def _number(form: FormData, name: str, low: float, high: float) -> float:
    text = _text(form, name) or str(low)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise _wrong(name, f"'{text[:80]}'", f"a number from {low:g} to {high:g}")
    return value


def _limit(form: FormData, name: str) -> float | None:
    """A limit, where one is set; whether a model keeps it is known when the model is."""
    return _number(form, name, 0.0, MAX_LIMIT) if _text(form, name) else None


def _check_chunking(form: FormData) -> None:
    """Both strategies mean cutting at pauses, which is done in any case."""
    text = _text(form, "chunking_strategy")
    if text in ("", "auto"):
        return
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):  # brackets nested a thousand deep
        value = None
    if not isinstance(value, dict) or value.get("type") != "server_vad":
        raise _wrong("chunking_strategy", f"'{text[:80]}'", 'auto, or {"type": "server_vad", ...}')

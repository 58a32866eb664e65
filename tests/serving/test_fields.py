"""Every field of a request is checked, and the answer names the one at fault."""

import io
from typing import Any

import httpx
import pytest
from starlette.datastructures import FormData, UploadFile

from aimass.base.contract import RecognizeOptions
from aimass.base.errors import RequestError
from aimass.serving.fields import FORMATS, MAX_KEYWORDS, STREAMED, Asked, parse
from serving.sounds import digit


def asked(*fields: tuple[str, Any]) -> Asked:
    return parse(FormData([("file", UploadFile(io.BytesIO(), filename="a.wav")), *fields]), "house")


def refused(*fields: tuple[str, Any]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        asked(*fields)
    assert caught.value.status == 400
    return caught.value


def test_a_file_alone_is_enough() -> None:
    options = RecognizeOptions(segment_times=False, word_times=False)
    assert asked() == Asked("house", "json", ("segment",), False, False, options)


@pytest.mark.parametrize(
    ("fields", "segments", "words"),
    [
        ([("response_format", "text")], False, False),
        ([("response_format", "srt")], True, False),
        ([("response_format", "vtt")], True, False),
        ([("response_format", "verbose_json")], True, False),
        ([("include[]", "logprobs")], None, True),
        ([("response_format", "verbose_json"), ("timestamp_granularities[]", "word")], None, True),
    ],
)
def test_times_are_asked_of_the_engine_only_where_the_answer_shows_them(
    fields: list[tuple[str, str]], segments: bool | None, words: bool
) -> None:
    options = asked(*fields).options
    assert options.word_times is words
    assert segments is None or options.segment_times is segments


def test_all_fields_together() -> None:
    found = asked(
        ("model", " digits@production "),
        ("language", "en"),
        ("prompt", "Names: Ada."),
        ("keywords[]", "Ada"),
        ("keywords[]", "Byron"),
        ("response_format", "verbose_json"),
        ("temperature", "0.5"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("chunking_strategy", "auto"),
        ("stream", "false"),
    )
    options = RecognizeOptions(
        "en", "Names: Ada.", ("Ada", "Byron"), 0.5, segment_times=True, word_times=True
    )
    assert found == Asked(
        "digits@production", "verbose_json", ("word", "segment"), False, False, options
    )


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name: str) -> None:
    assert asked(("response_format", name)).format == name


@pytest.mark.parametrize(
    ("text", "meant"),
    [("true", True), ("True", True), ("1", True), ("false", False), ("0", False), ("", False)],
)
def test_flags(text: str, meant: bool) -> None:
    assert asked(("stream", text)).stream is meant


@pytest.mark.parametrize(
    ("fields", "language"),
    [
        ([("language", "en")], "en"),
        ([("languages[]", "de")], "de"),
        ([("languages", "de")], "de"),
        ([("language", "en"), ("languages[]", "en")], "en"),
        ([("languages[]", "de"), ("languages[]", "fr")], None),
        ([("language", "")], None),
    ],
)
def test_one_language_is_taken_and_several_are_left_to_the_engine(
    fields: list[tuple[str, str]], language: str | None
) -> None:
    assert asked(*fields).options.language == language


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("response_format", [("response_format", "xml")]),
        ("response_format", [("response_format", "diarized_json")]),
        ("response_format", [("response_format", UploadFile(io.BytesIO(), filename="b"))]),
        ("stream", [("stream", "maybe")]),
        *[
            ("stream", [("stream", "true"), ("response_format", name)])
            for name in FORMATS
            if name not in STREAMED
        ],
        ("timestamp_granularities", [("timestamp_granularities[]", "word")]),
        (
            "timestamp_granularities",
            [("timestamp_granularities[]", "letter"), ("response_format", "verbose_json")],
        ),
        ("include", [("include[]", "everything")]),
        ("include", [("include[]", "logprobs"), ("response_format", "text")]),
        ("temperature", [("temperature", "warm")]),
        ("temperature", [("temperature", "-0.1")]),
        ("temperature", [("temperature", "1.01")]),
        ("temperature", [("temperature", "nan")]),
        ("temperature", [("temperature", "inf")]),
        ("chunking_strategy", [("chunking_strategy", "sometimes")]),
        ("chunking_strategy", [("chunking_strategy", '{"type": "other"}')]),
        ("chunking_strategy", [("chunking_strategy", "[1]")]),
        ("chunking_strategy", [("chunking_strategy", "{")]),
        ("chunking_strategy", [("chunking_strategy", "[" * 50_000)]),
        ("keywords", [("keywords[]", "a")] * (MAX_KEYWORDS + 1)),
        ("keywords", [("keywords[]", UploadFile(io.BytesIO(), filename="b"))]),
        ("known_speaker_names", [("known_speaker_names[]", "Ada")]),
        ("known_speaker_references", [("known_speaker_references[]", "data:,")]),
        ("model", [("model", UploadFile(io.BytesIO(), filename="b"))]),
    ],
)
def test_a_wrong_field_is_named(param: str, fields: list[tuple[str, Any]]) -> None:
    error = refused(*fields)
    assert error.param == param
    assert param in error.found and error.expected and error.fix
    assert len(str(error)) < 400  # long values are cut


@pytest.mark.parametrize("fields", [[], [("file", "not a file")]])
def test_no_file(fields: list[tuple[str, Any]]) -> None:
    with pytest.raises(RequestError) as caught:
        parse(FormData(fields), "house")
    assert caught.value.param == "file"


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("response_format", {"response_format": "xml"}),
        ("stream", {"stream": "true", "response_format": "srt"}),
        ("timestamp_granularities", {"timestamp_granularities[]": "word"}),
        ("temperature", {"temperature": "2"}),
        ("model", {"model": "no/such"}),
        ("model", {"model": "../../etc/passwd"}),
        ("model", {"model": "spoken@nothing"}),
        ("model", {"model": "x" * 5000}),
    ],
)
def test_over_http_a_wrong_field_is_a_problem_with_its_name(
    http: httpx.Client, param: str, fields: dict[str, str]
) -> None:
    files = {"file": ("a.flac", digit("one"))}
    answer = http.post("/v1/audio/transcriptions", files=files, data={"model": "digits"} | fields)
    problem = answer.json()["error"]
    assert answer.status_code == (404 if param == "model" else 400)
    assert problem["param"] == param and problem["type"] == "invalid_request_error"


def test_a_language_the_model_lacks_is_refused(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/audio/transcriptions",
        files={"file": ("a.flac", digit("one"))},
        data={"model": "whisper-base", "language": "xx"},
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "language")

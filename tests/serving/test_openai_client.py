"""The official client is the judge of the protocol."""

import asyncio
import re
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.audio import (
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionVerbose,
)

from aimass.text.normalise import normalise
from serving.process import Server
from serving.sounds import JFK, digit, digits, long_wav

JFK_SAID = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for "
    "your country"
)


def ask(client: openai.OpenAI, sound: bytes | Path, **fields: Any) -> Any:
    return client.audio.transcriptions.create(
        file=sound if isinstance(sound, Path) else ("a.flac", sound),
        **({"model": "digits"} | fields),
    )


def test_whisper_gives_the_inaugural_address_word_for_word(client: openai.OpenAI) -> None:
    found = ask(
        client,
        JFK,
        model="whisper-base",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert normalise(found.text, "en") == JFK_SAID
    assert found.language == "en"
    assert found.duration == pytest.approx(11.0)
    assert " ".join(word.word for word in found.words) == found.text
    assert [len(segment.tokens) > 0 for segment in found.segments] == [True] * len(found.segments)


def test_digits_are_heard(client: openai.OpenAI) -> None:
    heard = [(ask(client, path).text, said) for path, said in digits()[::5]]
    right = sum(found == said for found, said in heard)
    assert right >= len(heard) * 0.9, heard


def test_json(client: openai.OpenAI) -> None:
    found = ask(client, digit("seven"))
    assert found.text == "seven"
    assert found.usage.type == "duration" and found.usage.seconds == 1
    assert found.logprobs is None


def test_text(client: openai.OpenAI) -> None:
    assert ask(client, digit("seven"), response_format="text") == "seven\n"


def test_srt(client: openai.OpenAI) -> None:
    found = ask(client, digit("seven"), response_format="srt")
    assert re.fullmatch(r"1\n00:00:00,000 --> 00:00:00,\d{3}\nseven\n", found)


def test_vtt(client: openai.OpenAI) -> None:
    found = ask(client, digit("seven"), response_format="vtt")
    assert re.fullmatch(r"WEBVTT\n\n00:00:00\.000 --> 00:00:00\.\d{3}\nseven\n", found)


def test_verbose_json_times_words_and_segments(client: openai.OpenAI) -> None:
    sound = long_wav(20)
    found = ask(
        client, sound, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert isinstance(found, TranscriptionVerbose)
    assert found.words and found.segments
    assert found.duration == pytest.approx(20)
    assert " ".join(word.word for word in found.words) == found.text
    assert " ".join(segment.text for segment in found.segments) == found.text
    assert [segment.id for segment in found.segments] == list(range(len(found.segments)))
    ends = [time for word in found.words for time in (word.start, word.end)]
    assert ends == sorted(ends) and ends[0] >= 0 and ends[-1] <= found.duration


@pytest.mark.parametrize(
    ("granularities", "words", "segments"),
    [(None, False, True), (["segment"], False, True), (["word"], True, False)],
)
def test_verbose_json_gives_the_granularities_asked_for(
    client: openai.OpenAI, granularities: list[str] | None, words: bool, segments: bool
) -> None:
    fields = {"timestamp_granularities": granularities} if granularities else {}
    found = ask(client, digit("two"), response_format="verbose_json", **fields)
    assert (found.words is not None, found.segments is not None) == (words, segments)


def test_logprobs(client: openai.OpenAI) -> None:
    found = ask(client, digit("three"), include=["logprobs"])
    assert [p.token for p in found.logprobs] == ["three"]
    assert -5 < found.logprobs[0].logprob <= 0
    assert found.logprobs[0].bytes == list(b"three")


def test_a_stream_of_typed_events_adds_up_to_the_whole(client: openai.OpenAI) -> None:
    sound = long_wav(150)  # several stretches
    whole = ask(client, sound)
    events = list(ask(client, sound, stream=True, include=["logprobs"]))
    *deltas, done = events
    assert len(deltas) > 1
    assert all(isinstance(event, TranscriptionTextDeltaEvent) for event in deltas)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert "".join(event.delta for event in deltas) == done.text == whole.text
    tokens = [p.token for event in deltas for p in event.logprobs or []]
    assert tokens == [p.token for p in done.logprobs or []] == done.text.split()


def test_a_short_stream_is_one_delta_and_the_end(client: openai.OpenAI) -> None:
    events = list(ask(client, digit("six"), stream=True))
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]


def test_a_bad_file_is_refused_before_the_stream_begins(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        list(ask(client, digit("six")[:50], stream=True))


def test_every_field_the_client_knows_is_taken(client: openai.OpenAI) -> None:
    found = ask(
        client,
        digit("one"),
        language="en",
        prompt="Digits.",
        temperature=0.0,
        chunking_strategy={"type": "server_vad", "threshold": 0.5},
        extra_body={"keywords[]": ["one", "two"]},
    )
    assert found.text == "one"


def test_models_are_listed_and_told(client: openai.OpenAI) -> None:
    ids = [model.id for model in client.models.list()]
    assert len(ids) == len(set(ids))
    assert {"digits", "whisper-base", "spoken", "spoken@1", "spoken@production"} <= set(ids)
    for name in ids:
        assert client.models.retrieve(name).id == name


def test_errors_are_the_clients_own_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(client, digit("one"), model="nothing")
    assert (unknown.value.code, unknown.value.param) == ("unknown_model", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")
    with pytest.raises(openai.BadRequestError) as wrong:
        ask(client, digit("one"), temperature=2)
    assert (wrong.value.code, wrong.value.param) == ("request_error", "temperature")
    assert wrong.value.type == "invalid_request_error"
    with pytest.raises(openai.APIStatusError) as other:
        ask(client, b"hello, this is no audio")
    assert (other.value.status_code, other.value.code) == (415, "not_audio")


def test_the_asynchronous_client(server: Server) -> None:
    words = ("zero", "four", "nine", "five")

    async def all_at_once() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            tasks = [
                client.audio.transcriptions.create(file=("a.flac", digit(word)), model="digits")
                for word in words
            ]
            return [found.text for found in await asyncio.gather(*tasks)]

    assert tuple(asyncio.run(all_at_once())) == words


def test_the_asynchronous_client_streams(server: Server) -> None:
    async def deltas() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            stream = await client.audio.transcriptions.create(
                file=("a.flac", digit("four")), model="digits", stream=True
            )
            return [event.type async for event in stream]

    assert asyncio.run(deltas()) == ["transcript.text.delta", "transcript.text.done"]

"""`POST /v1/audio/transcriptions`, as the official OpenAI client speaks it."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any, BinaryIO

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from aimass.audio.decode import Source
from aimass.base.contract import Engine
from aimass.base.errors import AimassError, Cancelled, RequestError, ServiceError, TimedOut
from aimass.runtime.dial import check
from aimass.runtime.scheduler import Ticket
from aimass.runtime.transcribe import Heard, hear, put_together
from aimass.serving.fields import Asked, parse
from aimass.serving.service import Service
from aimass.text import formats

log = logging.getLogger(__name__)
router = APIRouter()

MAX_FIELDS = 1200  # room for every keyword
MAX_FIELD_BYTES = 64 << 10


@router.post("/v1/audio/transcriptions")
async def transcriptions(request: Request) -> Response:
    """Recognise one uploaded recording."""
    service: Service = request.app.state.service
    ticket = service.scheduler.admit()
    try:
        form = await _form(request, service.config.upload_timeout_s)
        try:
            asked = parse(form, service.config.default_model)
            engine = await service.engine(asked.model)
            check(engine, asked.options, service.config.home)
        except BaseException:
            await form.close()
            raise
    except BaseException:
        ticket.release()
        raise
    heard = _recognised(service, ticket, engine, asked, form)
    if asked.stream:
        # The first stretch is awaited here, so that a bad file is answered with a 4xx.
        first = await _first(heard, request)
        events = _events(first, heard, asked, service)
        return StreamingResponse(events, media_type="text/event-stream")
    async with aclosing(heard):
        found = await _unless_gone(_collected(heard), request)
    return _answer(found, asked)


async def _form(request: Request, seconds: float) -> Any:
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise RequestError(
            f"a body of type '{kind[:80]}'",
            expected="multipart/form-data with the fields file and model",
            fix="Send the recording as a form, as curl -F does",
        )
    try:
        async with asyncio.timeout(seconds):
            return await request.form(
                max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
            )
    except TimeoutError as error:
        raise TimedOut(
            f"the upload was not complete after {seconds:g} s",
            expected="a faster upload",
            fix="Send a smaller or compressed file, or raise AIMASS_UPLOAD_TIMEOUT_S",
        ) from error
    except ClientDisconnect as error:
        raise _gone() from error
    except (HTTPException, MultiPartException, ValueError, KeyError) as error:
        what = getattr(error, "detail", None) or getattr(error, "message", None) or str(error)
        raise RequestError(
            f"a form that does not parse: {what}",
            expected="multipart/form-data with one file and short text fields",
            fix="Send the recording as a form, as curl -F does",
        ) from error


async def _recognised(
    service: Service, ticket: Ticket, engine: Engine, asked: Asked, form: Any
) -> AsyncGenerator[Heard]:
    """Stretches of the upload as the workers finish them; owns the ticket and the form."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[Heard | BaseException | None] = asyncio.Queue()

    def tell(value: Heard | BaseException | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(arrived.put_nowait, value)

    source: BinaryIO = form["file"].file
    steps = _counted(service, engine, asked, source)
    deadline = loop.time() + service.config.request_timeout_s
    ended = False
    try:
        ticket.run(steps, tell, tell)
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    value = await arrived.get()
            except TimeoutError as error:
                raise TimedOut(
                    f"the request took over {service.config.request_timeout_s:g} s",
                    expected="an answer within it",
                    fix="Split the recording, or raise AIMASS_REQUEST_TIMEOUT_S",
                ) from error
            if value is None:
                ended = True
                return
            if isinstance(value, AimassError):
                ended = True
                raise value
            if isinstance(value, BaseException):
                ended = True
                log.error("model '%s' failed", engine.name, exc_info=value)
                raise ServiceError(
                    f"model '{engine.name}' failed",
                    expected="words or an audio error",
                    fix="The service's log says more",
                ) from value
            yield value
    finally:
        ticket.release()
        while not ended:  # the worker may still be reading the file
            ended = not isinstance(await arrived.get(), Heard)
        await form.close()


def _counted(service: Service, engine: Engine, asked: Asked, source: Source) -> Iterator[Heard]:
    """The stretches of a recording, with their cost counted."""
    steps = hear(source, engine, asked.options)
    audio = service.metrics.audio.labels(engine.name)
    compute = service.metrics.compute.labels(engine.name)
    try:
        while True:
            started = time.perf_counter()
            step = next(steps, None)
            compute.inc(time.perf_counter() - started)
            if step is None:
                return
            audio.inc(step.end - step.start)
            yield step
    finally:
        steps.close()  # type: ignore[attr-defined]  # it is a generator


async def _collected(heard: AsyncIterator[Heard]) -> list[Heard]:
    return [step async for step in heard]


async def _first(heard: AsyncGenerator[Heard], request: Request) -> Heard | None:
    """The first stretch; the iterator is closed when there is none or the client went away."""
    try:
        found: Heard | None = await _unless_gone(anext(heard, None), request)
        return found
    except BaseException:
        await heard.aclose()
        raise


async def _unless_gone(work: Any, request: Request) -> Any:
    """The result of `work`, or `Cancelled` as soon as the client has gone away."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise _gone()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


def _gone() -> Cancelled:
    return Cancelled(
        "the client went away",
        expected="it to wait for the answer",
        fix="Send the request again",
    )


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(heard: list[Heard], asked: Asked) -> Response:
    found = put_together(heard, asked.model)
    match asked.format:
        case "text":
            return PlainTextResponse(formats.to_text(found))
        case "srt":
            return PlainTextResponse(formats.to_srt(found))
        case "vtt":
            return PlainTextResponse(formats.to_vtt(found), media_type="text/vtt")
        case "verbose_json":
            return JSONResponse(formats.to_verbose_json(found, asked.granularities))
    answer = formats.to_json(found)
    if asked.logprobs:
        answer["logprobs"] = formats.logprobs(found)
    return JSONResponse(answer)


async def _events(
    first: Heard | None, rest: AsyncGenerator[Heard], asked: Asked, service: Service
) -> AsyncIterator[str]:
    """Server-sent events: one delta for each stretch with words, then the whole text."""
    heard: list[Heard] = []

    def delta(step: Heard) -> str | None:
        before = put_together(heard, asked.model).text
        heard.append(step)
        text = step.hypothesis.text
        if not text:
            return None
        event: dict[str, Any] = {"type": "transcript.text.delta"}
        event["delta"] = f" {text}" if before else text
        if asked.logprobs:
            event["logprobs"] = formats.logprobs(put_together([step], asked.model))
        return _event(event)

    async with aclosing(rest):
        try:
            if first is not None and (event := delta(first)):
                yield event
            async for step in rest:
                if event := delta(step):
                    yield event
        except AimassError as error:  # the status line has gone out: tell it in the stream
            service.report(error, "a stream that had begun")
            yield _event(error.problem())
            return
    done = put_together(heard, asked.model)
    last = {"type": "transcript.text.done"} | formats.to_json(done)
    if asked.logprobs:
        last["logprobs"] = formats.logprobs(done)
    yield _event(last)


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"

"""`aimass transcribe`: what recordings say."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aimass.base.contract import RecognizeOptions, Transcript
from aimass.base.errors import AimassError, RequestError
from aimass.cli.common import MaxError, MaxLatency, ModelName, Quality, print_json
from aimass.cli.progress import shown
from aimass.text.formats import TIMED

app = typer.Typer()

FORMATS = ("text", "json", *TIMED)


@app.command()
def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Recordings of any common format.")],
    model: ModelName = None,
    output: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = "text",
    language: Annotated[str | None, typer.Option(help="ISO 639-1 code, such as en.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Text that precedes the speech.")] = None,
    words: Annotated[bool, typer.Option("--words", help="Give the time of each word.")] = False,
    quality: Quality = None,
    max_error: MaxError = None,
    max_latency: MaxLatency = None,
    split: Annotated[
        bool, typer.Option("--split-channels", help="One transcript for each channel.")
    ] = False,
) -> None:
    """Write what recordings say."""
    from aimass.audio.decode import probe
    from aimass.runtime.dial import check
    from aimass.runtime.load import load
    from aimass.runtime.transcribe import transcribe as transcribe_file

    if output not in FORMATS:
        raise RequestError(
            f"format '{output}'",
            expected=f"one of {', '.join(FORMATS)}",
            fix="Correct --format",
            param="format",
        )
    options = RecognizeOptions(
        language=language,
        prompt=prompt,
        segment_times=output in TIMED,
        word_times=words,
        quality=quality,
        max_error=max_error,
        max_latency_ms=max_latency,
    )
    engine = load(model)
    check(engine, options)
    if output in ("srt", "vtt") and (split or len(files) > 1):
        raise RequestError(
            f"format {output} for more than one transcript",
            expected="one file, its channels mixed",
            fix="Write the files one by one, or choose text or json",
            param="format",
        )
    failed: AimassError | None = None
    found_json: list[dict[str, Any]] = []
    for file in files:
        try:
            channels = range(probe(file).channels) if split else [None]
            for channel in channels:
                with shown() as progress:
                    found = transcribe_file(
                        file, engine, options, channel=channel, progress=progress
                    )
                label = file if len(files) > 1 else None
                if output in ("json", "verbose_json"):
                    found_json.append(_as_json(found, output, label, words))
                else:
                    _print_transcript(found, output, label)
        except AimassError as error:
            if len(files) == 1:
                raise
            typer.echo(f"{file}: {error}", err=True)  # the other files are still worth doing
            failed = error
    if found_json:
        several = split or len(files) > 1
        print_json(found_json if several else found_json[0])
    if failed is not None:
        sys.exit(failed.exit_code)


def _as_json(found: Transcript, output: str, file: Path | None, words: bool) -> dict[str, Any]:
    from aimass.text import formats

    about: dict[str, Any] = {} if file is None else {"file": str(file)}
    if found.channel is not None:
        about["channel"] = found.channel
    if output == "json":
        return about | formats.to_json(found)
    return about | formats.to_verbose_json(found, ("segment", "word") if words else ("segment",))


def _print_transcript(found: Transcript, output: str, file: Path | None) -> None:
    from aimass.text import formats

    write = {"text": formats.to_text, "srt": formats.to_srt, "vtt": formats.to_vtt}[output]
    label = "" if file is None else f"{file}: "
    if found.channel is not None:
        label += f"channel {found.channel}: "
    typer.echo(label + write(found).rstrip("\n"))

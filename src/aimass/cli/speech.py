"""`aimass data speak`, `voices` and `align`: recordings from text, and clips from recordings."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from aimass.base.errors import DataError, RequestError
from aimass.base.settings import settings
from aimass.cli.progress import shown

if TYPE_CHECKING:
    from aimass.data.voices.contract import VoiceEngine
    from aimass.runtime.cut import Cuts

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Engine = Annotated[str, typer.Option("--engine", help="A voice engine, such as espeak or kokoro.")]
Language = Annotated[str, typer.Option("--language", help="Language of the texts, as in zh.")]
_MOST_BYTES = 20_000_000  # of a text file
_SHOWN = 10


def speak(
    output: Annotated[Path, typer.Argument(help="The folder; what is spoken there is kept.")],
    text: Annotated[
        list[str] | None, typer.Option("--text", help="A text to speak; repeatable.")
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option("--texts", help="A file with a text a line, or a data set's train texts."),
    ] = None,
    language: Language = "en",
    count: Annotated[int, typer.Option("--count", help="Utterances of each text.")] = 10,
    engine: Engine = "espeak",
    voices: Annotated[
        str | None, typer.Option("--voices", help="Voices by name, parted by commas; else all.")
    ] = None,
    blend: Annotated[
        float, typer.Option("--blend", help="Share spoken by means of two voices, 0 to 1.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Other draws of voices and speeds.")] = 1,
    as_json: Json = False,
) -> None:
    """Speak texts with many voices, for training; the recordings are marked as synthetic."""
    from aimass.data.synthesis import SpeechPlan, synthesise

    wanted = [*(text or ()), *(_texts(texts) if texts else ())]
    if not wanted:
        raise RequestError(
            "there is no text to speak",
            expected="--text, or --texts with a file",
            fix="Type: aimass data speak --help",
            param="text",
        )
    names = tuple(name.strip() for name in (voices or "").split(",") if name.strip())
    plan = SpeechPlan(language, count=count, voices=names, blend=blend, seed=seed)
    with shown() as progress:
        done = synthesise(wanted, _engine(engine), plan, output, progress)
    if as_json:
        about = {"folder": str(done.folder), "spoken": done.spoken, "kept": done.kept}
        _print_json(about | {"seconds": round(done.seconds, 3)})
        return
    console = Console(soft_wrap=True)
    console.print(
        f"{done.spoken:,} utterances spoken ({done.seconds / 60:.1f} min), {done.kept:,} were there"
    )
    console.print(f"Try: aimass data show {output}", markup=False)


def list_voices(
    engine: Annotated[str | None, typer.Option("--engine", help="Only of this engine.")] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Only of this language.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The voices that can speak, by engine."""
    from aimass.data.voices.contract import engines

    found, absent = [], []
    for name in [engine] if engine else engines():
        if engine is None and not _is_here(name):
            absent.append(name)
            continue
        opened = _engine(name)
        found += [(name, v.id, v.language, v.description) for v in opened.voices(language)]
    if as_json:
        keys = ("engine", "voice", "language", "description")
        _print_json([dict(zip(keys, row, strict=True)) for row in found])
        return
    table = Table("engine", "voice", "language", "description")
    for row in found:
        table.add_row(*row)
    console = Console(soft_wrap=True)
    console.print(table)
    for name in absent:
        console.print(f"{name} is not fetched; type: aimass models pull {name}", markup=False)


def align(
    audio: Annotated[Path, typer.Argument(help="A long recording.")],
    text: Annotated[Path, typer.Argument(help="A file with all that is said in it.")],
    output: Annotated[Path, typer.Argument(help="The manifest to write, such as x.jsonl.")],
    model: Annotated[
        str | None, typer.Option("--model", help="A model that transcribes the language.")
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Language of the text; reads its numbers.")
    ] = None,
    longest: Annotated[float, typer.Option("--longest", help="Seconds of a clip.")] = 20.0,
    shortest: Annotated[
        float, typer.Option("--shortest", help="Seconds before a pause ends a clip.")
    ] = 2.0,
    pause: Annotated[float, typer.Option("--pause", help="Seconds that end a clip.")] = 0.3,
    as_json: Json = False,
) -> None:
    """Cut a long recording with its text into clips; what does not match is kept apart."""
    from aimass.audio.decode import probe
    from aimass.runtime import align as aligning
    from aimass.runtime import cut as cutting
    from aimass.runtime.load import load

    if output.suffix != ".jsonl":
        raise RequestError(
            f"the output {output.name}",
            expected="a Lhotse manifest ending in .jsonl",
            fix=f"Name it {output.stem}.jsonl",
            param="output",
        )
    written = _read(text)
    with shown() as progress:
        found = aligning.align(audio, written, load(model), language=language, progress=progress)
    plan = cutting.CutPlan(longest=longest, shortest=shortest, pause=pause)
    cuts = cutting.cut(found, plan)
    apart = output.with_suffix(".doubtful.jsonl")
    output.parent.mkdir(parents=True, exist_ok=True)
    info = probe(audio)
    cutting.write(cuts.sure, output, audio, info, language)
    apart.unlink(missing_ok=True)
    if cuts.doubtful:
        cutting.write(cuts.doubtful, apart, audio, info, language)
    if as_json:
        _print_json(_told(cuts, output, apart))
    else:
        _show(cuts, output, apart)


def _show(cuts: "Cuts", output: Path, apart: Path) -> None:
    console = Console(soft_wrap=True)
    seconds = sum(one.duration for one in cuts.sure)
    lines = [f"{output} holds {len(cuts.sure):,} clips, {seconds / 60:.1f} min"]
    if cuts.doubtful:
        lines.append(f"{apart} holds {len(cuts.doubtful):,} whose text and sound do not agree:")
        for one in cuts.doubtful[:_SHOWN]:
            lines.append(f"  {one.start:.1f} s: {one.text[:60]} (doubts: {', '.join(one.doubts)})")
    if cuts.unwritten:
        where = ", ".join(f"{a:.1f} to {b:.1f} s" for a, b in cuts.unwritten[:_SHOWN])
        lines.append(f"{len(cuts.unwritten):,} stretches of speech are not in the text: {where}")
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _told(cuts: "Cuts", output: Path, apart: Path) -> dict[str, Any]:
    return {
        "manifest": str(output),
        "clips": len(cuts.sure),
        "seconds": round(sum(one.duration for one in cuts.sure), 3),
        "doubtful_manifest": str(apart) if cuts.doubtful else None,
        "doubtful": [
            {"start": one.start, "text": one.text, "doubts": list(one.doubts)}
            for one in cuts.doubtful
        ],
        "unwritten": [[round(a, 3), round(b, 3)] for a, b in cuts.unwritten],
    }


def _engine(name: str) -> "VoiceEngine":
    """An engine with the weights that were pulled under its name, if it needs any."""
    from aimass.data.voices.contract import open_engine
    from aimass.registry import pretrained

    found = pretrained.find(settings().home, name)
    return open_engine(name, found.folder if found and found.kind == "voice" else None)


def _is_here(name: str) -> bool:
    """Whether an engine's weights are there, if it is one of those that are pulled."""
    from aimass.registry import pretrained

    return name not in pretrained.catalogue() or pretrained.find(settings().home, name) is not None


def _texts(source: Path) -> list[str]:
    """Lines of a text file, or the texts that a data set has for training."""
    from aimass.data.corpus import read

    if source.is_dir() or source.name.endswith((".jsonl", ".jsonl.gz", ".tsv", ".csv")):
        corpus = read(source).split("train")
        return list(dict.fromkeys(clip.text for clip in corpus.clips))
    return [line.strip() for line in _read(source).splitlines() if line.strip()]


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        return path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}",
            expected=f"a text file in UTF-8 of at most {_MOST_BYTES} bytes",
            fix="Check the path, or save it again as UTF-8",
        ) from error


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))

"""`aimass data speak`, `voices` and `align`: recordings from text, and clips from recordings."""

import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from aimass.base.errors import AimassError, AudioError, DataError, RequestError
from aimass.base.settings import settings
from aimass.cli.progress import shown

if TYPE_CHECKING:
    from aimass.audio.types import AudioInfo
    from aimass.base.contract import Engine as Recogniser
    from aimass.base.contract import Progress
    from aimass.data.corpus import Clip
    from aimass.data.voices.contract import VoiceEngine
    from aimass.runtime.cut import CutPlan, Cuts

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
    source: Annotated[
        list[Path],
        typer.Argument(
            help="A long recording and the file with all that is said in it; or one folder or "
            "table of recordings with their texts."
        ),
    ],
    output: Annotated[Path, typer.Argument(help="The manifest to write, such as x.jsonl.")],
    model: Annotated[
        str | None, typer.Option("--model", help="A model that transcribes the language.")
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", help="Of texts that name none, as in zh; reads their numbers."),
    ] = None,
    speaker: Annotated[
        str | None, typer.Option("--speaker", help="Who speaks, where the data does not say.")
    ] = None,
    longest: Annotated[float, typer.Option("--longest", help="Seconds of a clip.")] = 20.0,
    shortest: Annotated[
        float, typer.Option("--shortest", help="Seconds before a pause ends a clip.")
    ] = 2.0,
    pause: Annotated[float, typer.Option("--pause", help="Seconds that end a clip.")] = 0.3,
    as_json: Json = False,
) -> None:
    """Cut long recordings with their texts into clips; what does not match is kept apart."""
    from aimass.base.files import write_bytes
    from aimass.runtime import cut as cutting
    from aimass.runtime.load import load

    if output.suffix != ".jsonl":
        raise RequestError(
            f"the output {output.name}",
            expected="a Lhotse manifest ending in .jsonl",
            fix=f"Name it {output.stem}.jsonl",
            param="output",
        )
    recordings, licence = _recordings(source)
    nameless = {one.id for one in recordings if not (one.speaker or speaker)}
    # Splits hold out whole speakers: what is cut from one recording stays in one of them.
    recordings = [
        replace(one, speaker=one.speaker or speaker or one.id, language=one.language or language)
        for one in recordings
    ]
    plan = cutting.CutPlan(longest=longest, shortest=shortest, pause=pause)
    with shown() as progress:
        done = _align(recordings, load(model), plan, progress)
    apart = output.with_suffix(".doubtful.jsonl")
    output.parent.mkdir(parents=True, exist_ok=True)
    sure: list[str] = []
    doubtful: list[str] = []
    for one, info, cuts in done.cut:
        sure += cutting.lines(cuts.sure, one, info, licence)
        doubtful += cutting.lines(cuts.doubtful, one, info, licence)
    write_bytes(output, "".join(sure).encode())
    apart.unlink(missing_ok=True)
    if doubtful:
        write_bytes(apart, "".join(doubtful).encode())
    told = _told(done, output, apart) | {
        "without_speaker": [one.id for one, _, _ in done.cut if one.id in nameless]
    }
    if as_json:
        _print_json(told)
    else:
        _show(told)


@dataclass(frozen=True, slots=True)
class _Aligned:
    """Long recordings with their clips, and why others have none."""

    cut: "list[tuple[Clip, AudioInfo, Cuts]]"
    failed: list[tuple[str, AimassError]]


def _align(
    recordings: "list[Clip]", engine: "Recogniser", plan: "CutPlan", progress: "Progress"
) -> _Aligned:
    """Align and cut recordings; one that cannot be aligned takes no other with it.

    Raises:
        AudioError, DataError: none of them can be aligned.
        RequestError: a plan or an engine that fits none.
    """
    from aimass.audio.decode import probe
    from aimass.runtime import align as aligning
    from aimass.runtime import cut as cutting

    done = _Aligned([], [])
    for one in recordings:
        try:
            info = probe(one.path)
            found = aligning.align(
                one.path, one.text, engine, language=one.language, progress=progress
            )
        except (AudioError, DataError) as error:
            done.failed.append((one.id, error))
        else:
            done.cut.append((one, info, cutting.cut(found, plan)))
    if not done.cut:
        raise done.failed[0][1]
    return done


def _recordings(source: list[Path]) -> "tuple[list[Clip], str]":
    """Long recordings with their texts, each under a name of its own, and their licence."""
    from aimass.data.corpus import Clip, read
    from aimass.data.sources.files import inside, is_file, licence_of, transcript

    if len(source) > 2:
        raise RequestError(
            f"{len(source)} files before the manifest",
            expected="a recording and its text, or one folder or table of recordings",
            fix="Put the recordings with their texts into a folder, and name that",
            param="source",
        )
    if len(source) == 2:
        audio, text = source
        return [Clip(audio.stem, audio, _read(text))], licence_of(audio.parent)
    corpus = read(source[0]).whole()
    folder = source[0] if source[0].is_dir() else source[0].parent
    names = [str(PurePosixPath(clip.id).with_suffix("")) for clip in corpus.clips]
    if len(set(names)) < len(names):  # a.wav and a.flac
        names = [clip.id for clip in corpus.clips]
    found = []
    for name, clip in zip(names, corpus.clips, strict=True):
        if clip.start or clip.duration is not None:
            raise RequestError(
                f"{source[0]} holds {clip.id}, a part of {clip.path.name}",
                expected="whole recordings with all that is said in them",
                fix="Name another folder or table; keep manifests of clips elsewhere",
                param="source",
            )
        said = clip.text
        if said.endswith(".txt") and is_file(folder / said):  # a column of names
            said = transcript(inside(folder, said, str(source[0])))
        found.append(replace(clip, id=name, text=said))
    return found, corpus.licence


def _told(done: _Aligned, output: Path, apart: Path) -> dict[str, Any]:
    sure = [clip for _, _, cuts in done.cut for clip in cuts.sure]
    doubtful = [
        {"recording": one.id, "start": clip.start, "text": clip.text, "doubts": list(clip.doubts)}
        for one, _, cuts in done.cut
        for clip in cuts.doubtful
    ]
    return {
        "manifest": str(output),
        "recordings": len(done.cut),
        "clips": len(sure),
        "seconds": round(sum(clip.duration for clip in sure), 3),
        "doubtful_manifest": str(apart) if doubtful else None,
        "doubtful": doubtful,
        "unwritten": [
            {"recording": one.id, "start": round(a, 3), "end": round(b, 3)}
            for one, _, cuts in done.cut
            for a, b in cuts.unwritten
        ],
        "failed": [{"recording": name, "error": str(error)} for name, error in done.failed],
    }


def _show(told: dict[str, Any]) -> None:
    console = Console(soft_wrap=True)
    clips, count = told["clips"], told["recordings"]
    of = f"{clips:,} clip{'s' * (clips != 1)} of {count:,} recording{'s' * (count != 1)}"
    lines = [f"{told['manifest']} holds {of}, {told['seconds'] / 60:.1f} min"]
    if told["doubtful"]:
        count = len(told["doubtful"])
        lines.append(
            f"{told['doubtful_manifest']} holds {count:,} whose text and sound do not agree:"
        )
    for one in told["doubtful"][:_SHOWN]:
        at, doubts = f"{one['recording']} at {one['start']:.1f} s", ", ".join(one["doubts"])
        lines.append(f"  {at}: {one['text'][:60]} (doubts: {doubts})")
    if told["unwritten"]:
        lines.append(f"{len(told['unwritten']):,} stretches of speech are not in the texts:")
    for one in told["unwritten"][:_SHOWN]:
        lines.append(f"  {one['recording']} at {one['start']:.1f} to {one['end']:.1f} s")
    lines += [f"{one['recording']} could not be aligned: {one['error']}" for one in told["failed"]]
    if told["without_speaker"]:
        count = len(told["without_speaker"])
        lines.append(
            f"nobody said who speaks in {count:,}: the name of each recording stands for its "
            "speaker, so that its clips stay in one split; --speaker or a column names people"
        )
    lines.append(f"Try: aimass data show {told['manifest']}")
    for line in lines:
        console.print(line, markup=False, highlight=False)


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

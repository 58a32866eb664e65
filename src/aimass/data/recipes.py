"""Corpora that Lhotse has a recipe for, prepared by name from a folder that is already on disk."""

import inspect
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lhotse.recipes
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from aimass.base.contract import Progress, no_progress
from aimass.base.errors import DataError
from aimass.data.sources.files import licence_of, some
from aimass.data.types import split_named

_PREFIX = "prepare_"
_OUTPUT = "output_dir"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One corpus that Lhotse knows.

    Args:
        needs: what must be given beside the folder, each as an option NAME=VALUE.
        options: what may be given.
    """

    name: str
    needs: tuple[str, ...]
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import wrote: clips by split, and supervisions without a text, which it left out."""

    splits: Mapping[str | None, int]
    without_text: int


def recipes() -> list[Recipe]:
    """Every recipe of the installed Lhotse, in the order of their names."""
    return [_recipe(name) for name in sorted(_functions())]


def prepare(
    name: str,
    source: Path,
    output: Path,
    options: Mapping[str, str] | None = None,
    progress: Progress = no_progress,
) -> Imported:
    """Run a recipe on a folder and write its utterances as a manifest of Lhotse cuts.

    Args:
        output: the manifest to write, ending in ``.jsonl`` or ``.jsonl.gz``.
        options: further arguments of the recipe, as they are typed.

    Raises:
        DataError: no recipe of that name, an option that it does not take or that it needs, a
            folder that it cannot prepare, or recordings that are not plain files.
    """
    function = _function(name)
    if not output.name.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(
            f"{output} does not say what it is",
            expected="a manifest whose name ends in .jsonl or .jsonl.gz",
            fix=f"Type: aimass data import {name} {source} {output}.jsonl.gz",
        )
    arguments = _arguments(name, function, source, options or {})
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".recipe-", dir=output.parent) as scratch:
        if _OUTPUT in inspect.signature(function).parameters:
            arguments.setdefault(_OUTPUT, Path(scratch))
        found = _run(name, function, arguments, source)
        parts = list(_parts(found, ()))
        if not parts:
            raise _failed(name, source, "it gave no recordings with supervisions")
        return _write(name, parts, output, licence_of(source), progress)


def _functions() -> dict[str, Callable[..., Any]]:
    return {
        name.removeprefix(_PREFIX): getattr(lhotse.recipes, name)
        for name in dir(lhotse.recipes)
        if name.startswith(_PREFIX)
    }


def _function(name: str) -> Callable[..., Any]:
    functions = _functions()
    if name not in functions:
        near = sorted(known for known in functions if name.lower() in known) or sorted(functions)
        raise DataError(
            f"there is no recipe called '{name}'",
            expected=f"a name such as {some(near, 5)}",
            fix="Type: aimass data corpora",
        )
    return functions[name]


def _recipe(name: str) -> Recipe:
    function = _functions()[name]
    parameters = inspect.signature(function).parameters.values()
    folder = _folder(function)
    others = [p for p in parameters if p.name not in (folder, _OUTPUT) and p.kind != p.VAR_KEYWORD]
    needs = tuple(p.name for p in others if p.default is p.empty)
    return Recipe(name, needs, tuple(p.name for p in others if p.default is not p.empty))


def _folder(function: Callable[..., Any]) -> str:
    """The argument that takes the corpus."""
    names = list(inspect.signature(function).parameters)
    return "corpus_dir" if "corpus_dir" in names else names[0]


def _arguments(
    name: str, function: Callable[..., Any], source: Path, options: Mapping[str, str]
) -> dict[str, Any]:
    if not source.exists():
        raise DataError(
            f"{source} is not there",
            expected="the corpus, unpacked on this machine",
            fix="Check the path",
        )
    recipe = _recipe(name)
    known = (*recipe.needs, *recipe.options)
    unknown = [option for option in options if option not in known]
    if unknown:
        raise DataError(
            f"the recipe {name} has no option {unknown[0]}",
            expected=f"one of {', '.join(known) or 'none at all'}",
            fix="Correct --option",
        )
    absent = [need for need in recipe.needs if need not in options]
    if absent:
        raise DataError(
            f"the recipe {name} also needs {', '.join(absent)}",
            expected="an option for each",
            fix=f"Add --option {absent[0]}=VALUE",
        )
    kinds = {p.name: p.annotation for p in inspect.signature(function).parameters.values()}
    values = {option: _value(text, kinds[option]) for option, text in options.items()}
    return {_folder(function): source} | values


def _value(text: str, kind: object) -> Any:
    """An option's value: text where the recipe wants text, else what JSON makes of it."""
    if kind is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _run(
    name: str, function: Callable[..., Any], arguments: Mapping[str, Any], source: Path
) -> object:
    """What a recipe gives; its bars and its chatter go to a terminal's error stream or nowhere."""
    told = sys.stderr if sys.stderr.isatty() else io.StringIO()
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(told))
        stack.enter_context(redirect_stderr(told))
        try:
            return function(**arguments)
        except Exception as error:  # recipes assert and index freely; whatever it is, it is theirs
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise _failed(name, source, what) from error


def _failed(name: str, source: Path, what: str) -> DataError:
    return DataError(
        f"the recipe {name} cannot prepare {source}: {what}",
        expected=f"the corpus {name} as it is distributed, unpacked",
        fix="Check that the path is the top folder of the corpus",
    )


def _parts(found: object, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Recordings and supervisions, however deep below languages, parts and microphones."""
    if not isinstance(found, Mapping):
        return
    if "recordings" in found and "supervisions" in found:
        yield keys, found["recordings"], found["supervisions"]
        return
    for key, value in found.items():
        yield from _parts(value, (*keys, str(key)))


def _write(
    name: str,
    parts: list[tuple[tuple[str, ...], Any, Any]],
    output: Path,
    licence: str,
    progress: Progress,
) -> Imported:
    splits: dict[str | None, int] = {}
    without_text = 0
    ids: set[str] = set()
    with CutSet.open_writer(output, overwrite=True) as writer:
        for keys, recordings, supervisions in parts:
            split = next((s for key in reversed(keys) if (s := split_named(key))), None)
            sounds = {recording.id: recording for recording in recordings}
            channels: dict[str, Any] = {}
            for segment in supervisions:
                if not (segment.text or "").strip():
                    without_text += 1
                    continue
                heard = channels.setdefault(segment.recording_id, segment.channel)
                recording = _plain(name, sounds.get(segment.recording_id), segment, heard)
                unique = segment.id if segment.id not in ids else "/".join((*keys, segment.id))
                ids.add(unique)
                writer.write(_cut(unique, recording, segment, split, licence))
                splits[split] = splits.get(split, 0) + 1
                progress("import", sum(splits.values()), None)
    if not splits:
        raise _failed(name, output, "none of its recordings has a text")
    return Imported(splits, without_text)


def _plain(
    name: str, recording: Recording | None, segment: SupervisionSegment, channel: object
) -> Recording:
    """A recording that our readers hear as Lhotse does."""
    if recording is None:
        fault = "is not there"
    elif any(source.type != "file" for source in recording.sources):
        fault = "is not a file"
    elif recording.transforms:
        fault = "is to be changed when it is read"
    elif segment.channel != channel:
        fault = "has speech on several channels, which would be mixed"
    else:
        return recording
    raise DataError(
        f"the recipe {name} gives the utterance {segment.id}, whose recording {fault}",
        expected="plain recordings in files, one channel of each in use",
        fix="Write its cuts to files with lhotse CutSet.save_audios, and name that manifest",
    )


def _cut(
    name: str, recording: Recording, segment: SupervisionSegment, split: str | None, licence: str
) -> MonoCut:
    channel = segment.channel[0] if isinstance(segment.channel, list) else segment.channel
    return MonoCut(
        id=name,
        start=segment.start,
        duration=segment.duration,
        channel=channel,
        supervisions=[
            SupervisionSegment(
                id=name,
                recording_id=recording.id,
                start=0.0,
                duration=segment.duration,
                channel=channel,
                text=segment.text,
                speaker=segment.speaker,
                language=segment.language,
            )
        ],
        recording=recording,
        custom={"split": split, "licence": licence, "synthetic": False},
    )

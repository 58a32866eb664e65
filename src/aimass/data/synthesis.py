"""More samples from text: voice engines speak it, and the folder that results is a corpus.

Every recording is marked as synthetic and belongs to the train split. What is drawn for an
utterance depends on the seed, the engine, the text and its turn alone, and its file is named by
the digest of what was asked. So a run that was stopped goes on where it stopped, and more texts
or a higher count only speak what is new.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from aimass.audio.resample import resample
from aimass.audio.types import Audio
from aimass.base import digests
from aimass.base.contract import Progress, Samples, no_progress
from aimass.base.errors import DataError, RequestError
from aimass.base.files import write_bytes
from aimass.base.randomness import generator
from aimass.data.voices.contract import Delivery, VoiceEngine, speakable

METADATA = "metadata.tsv"
LICENCE = "LICENSE_NOTE.txt"
COLUMNS = ("file", "text", "speaker", "lang", "split", "synthetic", "speed", "pitch")
MOST_UTTERANCES = 200_000  # of one run: its table is held in memory
_MARGIN = 0.06  # seconds kept around the speech
_QUIET = 0.003  # of the peak (-50 dB); what is below it at either end is silence
_PEAK = 0.95
_HEAD = "Synthetic speech. Each recording was spoken by the voice engine that its speaker names."


@dataclass(frozen=True, slots=True)
class SpeechPlan:
    """What to speak each text with.

    Args:
        language: of the texts.
        count: utterances of each text.
        voices: ids of the engine; all that were made for the language when empty. Each text
            goes through them in an order of its own.
        blend: share of utterances that the mean of two voices speaks, where the engine can.
        speeds: lowest and highest; drawn so that halves are as likely as doubles.
        pitches: the same of the pitch, where the engine has one.
        rate: samples per second of the recordings.
        spoken: how a text is written for the voices, where that is another way; several ways
            take turns.
    """

    language: str
    count: int = 10
    voices: tuple[str, ...] = ()
    blend: float = 0.0
    speeds: tuple[float, float] = (0.85, 1.2)
    pitches: tuple[float, float] = (0.8, 1.25)
    rate: int = 16000
    seed: int = 1
    spoken: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Synthesis:
    """What a run did: utterances spoken now, those that were there, and seconds spoken now."""

    folder: Path
    spoken: int
    kept: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording to be: the text of its label, what the engine is given, and how."""

    text: str
    said: str
    delivery: Delivery

    def file(self, engine: str, rate: int) -> str:
        """Its name in the folder, by the digest of all that decides the sound."""
        asked = [engine, self.text, self.said, rate, *_told(self.delivery)]
        return f"audio/{engine}-{digests.of_value(asked)[:20]}.wav"


def synthesise(
    texts: Sequence[str],
    engine: VoiceEngine,
    plan: SpeechPlan,
    folder: Path,
    progress: Progress = no_progress,
) -> Synthesis:
    """Speak texts into a folder that `aimass.data.corpus.read` reads.

    Several engines may speak into one folder, one after the other; what is there stays.

    Args:
        progress: told utterances.

    Raises:
        RequestError: a text, voice, language or bound that the engine cannot honour.
        DataError: the folder holds recordings that are not synthetic.
    """
    wanted = list(utterances(texts, engine, plan))
    table = _table(folder)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    spoken, seconds = 0, 0.0
    for done, one in enumerate(wanted):
        progress(f"speaking with {engine.name}", done, len(wanted))
        name = one.file(engine.name, plan.rate)
        if not (folder / name).is_file():
            samples = _finished(engine.speak(one.said, one.delivery), plan.rate, one)
            write_bytes(folder / name, _wav(samples, plan.rate))
            spoken, seconds = spoken + 1, seconds + len(samples) / plan.rate
        table[name] = _row(name, engine.name, one)
    progress(f"speaking with {engine.name}", len(wanted), len(wanted))
    _note(folder, engine)
    _write(folder, table)
    return Synthesis(folder, spoken, len(wanted) - spoken, seconds)


def utterances(texts: Sequence[str], engine: VoiceEngine, plan: SpeechPlan) -> Iterator[Utterance]:
    """What a plan asks of an engine, in order.

    Raises:
        RequestError: a plan out of bounds, a text that cannot be spoken, or no voice.
    """
    texts = list(dict.fromkeys(text.strip() for text in texts))
    _check(plan, len(texts))
    voices = plan.voices or tuple(voice.id for voice in engine.voices(plan.language))
    if not voices:
        raise RequestError(
            f"{engine.name} has no voice for language '{plan.language[:20]}'",
            expected=f"a language of its own, or voices by name; it has {_languages(engine)}",
            fix="Choose another engine, or name voices that shall speak with an accent",
            param="language",
        )
    for text in texts:
        ways = [speakable(way) for way in plan.spoken.get(text, (text,))]
        for turn in range(plan.count):
            yield Utterance(text, ways[turn % len(ways)], _draw(engine, plan, voices, text, turn))


def _draw(
    engine: VoiceEngine, plan: SpeechPlan, voices: Sequence[str], text: str, turn: int
) -> Delivery:
    """The delivery of one turn of a text; turns before and after it do not matter."""
    name = ("synthesis", engine.name, plan.language, text)
    order = generator(plan.seed, *name, "round", turn // len(voices)).permutation(len(voices))
    voice = voices[int(order[turn % len(voices)])]
    draw = generator(plan.seed, *name, "turn", turn)
    blended, other = draw.random() < plan.blend, voices[int(draw.integers(len(voices)))]
    speed, pitch = (
        float(np.exp(draw.uniform(*np.log(given)))) for given in (plan.speeds, plan.pitches)
    )
    if engine.blends and blended and other != voice:
        voice = "+".join(sorted((voice, other)))
    return Delivery(voice, plan.language, round(speed, 3), round(pitch, 3) if engine.pitches else 1)


def _check(plan: SpeechPlan, texts: int) -> None:
    for name, (low, high) in (("speeds", plan.speeds), ("pitches", plan.pitches)):
        if not 0.5 <= low <= high <= 2:
            raise _wrong(f"{name} {low} to {high}", "from 0.5 to 2, the lower one first", name)
    if not 0 <= plan.blend <= 1:
        raise _wrong(f"blend {plan.blend}", "a share from 0 to 1", "blend")
    if not 8000 <= plan.rate <= 48000:
        raise _wrong(f"rate {plan.rate}", "8000 to 48000", "rate")
    if not 0 < texts * plan.count <= MOST_UTTERANCES:
        found = f"{texts} texts times {plan.count}"
        raise _wrong(found, f"1 to {MOST_UTTERANCES} utterances in one run", "count")


def _finished(audio: Audio, rate: int, utterance: Utterance) -> Samples:
    """Mono at the rate wanted, silence at both ends cut down, never clipped."""
    samples = resample(audio.mono(), audio.rate, rate)
    peak = float(np.abs(samples).max(initial=0.0))
    if not np.isfinite(peak) or peak < 1e-3:
        raise RequestError(
            f"the voice {utterance.delivery.voice} says nothing to {utterance.said[:40]!r}",
            expected="sound",
            fix="Correct the text or its language, or choose another voice",
            param="text",
        )
    loud = np.flatnonzero(np.abs(samples) > _QUIET * peak)
    margin = round(_MARGIN * rate)
    kept: Samples = samples[max(0, loud[0] - margin) : loud[-1] + margin]
    return kept * np.float32(min(1.0, _PEAK / peak))


def _wav(samples: Samples, rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _row(name: str, engine: str, utterance: Utterance) -> tuple[str, ...]:
    voice, language, speed, pitch = _told(utterance.delivery)
    return (name, utterance.text, f"{engine}:{voice}", language, "train", "true", speed, pitch)


def _told(delivery: Delivery) -> tuple[str, str, str, str]:
    return (delivery.voice, delivery.language, f"{delivery.speed:g}", f"{delivery.pitch:g}")


def _table(folder: Path) -> dict[str, tuple[str, ...]]:
    """The rows of earlier runs, by file."""
    path = folder / METADATA
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        lines = [tuple(row) for row in csv.reader(file, delimiter="\t")]
    head, rows = lines[:1], lines[1:]
    if head != [COLUMNS] or any(len(row) != len(COLUMNS) or row[5] != "true" for row in rows):
        raise DataError(
            f"{path} is not a table of synthetic speech",
            expected=f"the columns {', '.join(COLUMNS)}, and nothing that people said",
            fix="Choose a folder of its own for synthetic speech",
        )
    return {row[0]: row for row in rows}


def _write(folder: Path, table: Mapping[str, tuple[str, ...]]) -> None:
    text = io.StringIO()
    rows = [table[name] for name in sorted(table, key=lambda name: (*table[name][1:3], name))]
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows([COLUMNS, *rows])
    write_bytes(folder / METADATA, text.getvalue().encode())


def _note(folder: Path, engine: VoiceEngine) -> None:
    """Name the licence of each engine that spoke; those of earlier runs stay."""
    path = folder / LICENCE
    before = path.read_text("utf-8").splitlines() if path.is_file() else []
    lines = {line for line in before if line and line != _HEAD} | {
        f"{engine.name}: {engine.licence}"
    }
    write_bytes(path, "\n".join([_HEAD, *sorted(lines), ""]).encode())


def _languages(engine: VoiceEngine) -> str:
    return ", ".join(sorted({voice.language for voice in engine.voices()}))


def _wrong(found: str, expected: str, param: str) -> RequestError:
    return RequestError(found, expected=expected, fix="Correct it", param=param)

"""Students for phones: trained on what sherpa-onnx hears, exported, and run there clip by clip.

    python benchmarks/bench_sherpa.py digits PATH/fsdd [--output sherpa_digits.json]
    python benchmarks/bench_sherpa.py commands PATH/commands20 --noise PATH/noise --rooms PATH/rir
        [--epochs 10] [--home HOME] [--output sherpa_commands.json]

``digits`` are the official split of FSDD at 8 kHz, ``commands`` fold 0 of build_commands.py as a
scenario that transcribes: nobody who speaks in the test was heard in training. Every test clip goes
through our runtime and through the sherpa-onnx package, and the transcripts are held against each
other: at the exported windows, at windows of a single output row, in blocks of 100 ms, and with the
streams of sherpa-onnx in batches of 16. A bundle in dynamic int8 is exported with other arithmetic
(compression/settle.py); its settled form, for a server that must agree with phones, then goes
through our runtime as well. Times are processor seconds of one thread.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import sherpa_onnx
from bench_robust import digit_splits

from aimass.base.contract import RecognizeOptions, Samples
from aimass.base.settings import Settings
from aimass.cli.progress import shown
from aimass.compression.settle import depends_on_runs
from aimass.compression.sherpa import Exported, export_sherpa, settled_bundle
from aimass.data import corpus as corpora
from aimass.data import manifest
from aimass.data.corpus import Clip, Corpus
from aimass.data.sound import sound_of
from aimass.data.split import rotation
from aimass.evaluation.interval import error_interval
from aimass.lifecycle.build import Built, build
from aimass.lifecycle.scenario import Scenario
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.runtime.bundled import BundleEngine, decoder
from aimass.runtime.graph import LogProbs, StreamingGraph
from aimass.text.normalise import normalise
from aimass.text.spacing import respaced

GROUPS = 6
BATCH = 16
OPTIONS = RecognizeOptions(word_times=False)
EPOCHS = {"digits": 30, "commands": 10}
PARAMETERS = {"digits": 280_000, "commands": 300_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("digits", "commands"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--noise", type=Path)
    parser.add_argument("--rooms", type=Path)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--home", type=Path, help="keep builds here, so that they resume")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = (given.home or Path(scratch)).resolve()
        home.mkdir(parents=True, exist_ok=True)
        result = {"student": about(built := trained(given, home))}
        split = corpora.read(home / f"{given.kind}.jsonl.gz").split("test")
        test = Sounds(built.bundle, split.clips)
        result |= compared(built.bundle, test, home)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    print(text)
    tell(result)
    if given.output:
        given.output.write_text(text + "\n")


class Sounds:
    """The test clips, decoded, with what is said in them as models write it."""

    def __init__(self, bundle: Bundle, clips: Sequence[Clip]) -> None:
        self.sounds = [sound_of(clip, bundle.sample_rate) for clip in clips]
        self.seconds = sum(map(len, self.sounds)) / bundle.sample_rate
        self.texts = [normalise(clip.text, clip.language or "en") for clip in clips]
        self.speakers = [clip.speaker or clip.id for clip in clips]

    def wrong(self, said: Sequence[str]) -> dict[str, Any]:
        """Clips that were not heard exactly as they were said."""
        errors = [int(one != other) for one, other in zip(said, self.texts, strict=True)]
        return {
            "error_rate": sum(errors) / len(errors),
            "interval": error_interval(errors, [1] * len(errors), self.speakers),
        }


def about(built: Built) -> dict[str, Any]:
    manifest = built.bundle.manifest
    return {
        "parameters": manifest.parameters,
        "precision": built.bundle.form.precision,
        "graph_bytes": built.bundle.graph.stat().st_size,
        "features": built.bundle.features.to_dict(),
        "scores": manifest.scores,
    }


def compared(bundle: Bundle, test: Sounds, home: Path) -> dict[str, Any]:
    """How many transcripts are not ours, form by form."""
    ours, about_ours = through_runtime(bundle, test)
    result: dict[str, Any] = {
        "clips": len(ours),
        "speakers": len(set(test.speakers)),
        "ours": about_ours,
    }
    settled = ours  # what does not depend on what is run together is exported as it is
    if depends_on_runs(onnx.load(bundle.graph)):
        shutil.rmtree(home / "settled", ignore_errors=True)
        settled, about_settled = through_runtime(
            settled_bundle(bundle.folder, home / "settled"), test
        )
        result["settled"] = about_settled | {"differ_from_ours": differing(settled, ours)}
    engine = BundleEngine(bundle)
    for window in (None, bundle.form.stack):
        target = home / f"sherpa-{window}"
        shutil.rmtree(target, ignore_errors=True)
        exported = export_sherpa(bundle.folder, target, window)
        loaded = Theirs(bundle, exported)
        graph = StreamingGraph(target / bundles.GRAPH, bundle.form, bundle.features)
        same_graph = [heard(engine, graph.log_probs(sound)) for sound in test.sounds]
        said, seconds = timed(lambda: [loaded.alone(sound, 1) for sound in test.sounds])  # noqa: B023
        result[f"window {exported.window}"] = {
            "bytes": exported.size,
            "silence": exported.silence,
            "settled": exported.settled,
            "sherpa": test.wrong(said) | {"times_real_time": round(test.seconds / seconds)},
            "differ_from_ours": differing(said, ours),
            "differ_from_settled": differing(said, settled),
            "differ_from_the_same_graph_in_one_run": differing(said, same_graph),
            "blocks_of_100_ms_differ": differing(
                [
                    loaded.alone(sound, len(sound) * 10 // bundle.sample_rate + 1)
                    for sound in test.sounds
                ],
                said,
            ),
            "batches_of_16_differ": differing(loaded.batched(test.sounds), said),
        }
    return result


def through_runtime(bundle: Bundle, test: Sounds) -> tuple[list[str], dict[str, Any]]:
    """What our runtime hears by a bundle, and how wrong and how fast that is."""
    engine = BundleEngine(bundle)
    said, seconds = timed(lambda: [engine.recognize(s, OPTIONS).text for s in test.sounds])
    return said, test.wrong(said) | {"times_real_time": round(test.seconds / seconds)}


def tell(result: dict[str, Any]) -> None:
    """Print what is asked first: how many transcripts of sherpa-onnx are not those of ours."""
    kind = "the settled bundle" if "settled" in result else "that bundle, settled as it is,"
    for name, found in result.items():
        if name.startswith("window"):
            print(
                f"{name}: of {result['clips']} transcripts of sherpa-onnx "
                f"{found['differ_from_ours']} differ from our runtime with its own bundle, "
                f"{found['differ_from_settled']} from our runtime with {kind}"
            )


def differing(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def heard(engine: BundleEngine, rows: LogProbs) -> str:
    search = decoder(engine.symbols, engine.graph.frame_seconds)
    search.accept(rows)
    return search.text


def timed(work: Callable[[], list[str]]) -> tuple[list[str], float]:
    start = time.process_time()
    return work(), time.process_time() - start


class Theirs:
    """The sherpa-onnx package with an exported model."""

    def __init__(self, bundle: Bundle, exported: Exported) -> None:
        self._rate = bundle.sample_rate
        self._after = np.zeros(round(exported.silence * self._rate), np.float32)
        self._recognizer = sherpa_onnx.OnlineRecognizer.from_nemo_ctc(
            model=str(exported.folder / bundles.GRAPH),
            tokens=str(exported.folder / bundles.TOKENS),
            sample_rate=self._rate,
            feature_dim=bundle.features.bins,
            num_threads=1,
        )

    def alone(self, sound: Samples, pieces: int) -> str:
        """A stream of its own, fed in so many pieces."""
        stream = self._recognizer.create_stream()
        for piece in [*np.array_split(sound, pieces), self._after]:
            stream.accept_waveform(self._rate, piece)
            while self._recognizer.is_ready(stream):
                self._recognizer.decode_stream(stream)
        return self._text(stream)

    def batched(self, sounds: Sequence[Samples]) -> list[str]:
        """Sixteen streams at once, neighbours of any length."""
        said = []
        for first in range(0, len(sounds), BATCH):
            streams = []
            for sound in sounds[first : first + BATCH]:
                streams.append(self._recognizer.create_stream())
                streams[-1].accept_waveform(self._rate, np.concatenate([sound, self._after]))
            while ready := [one for one in streams if self._recognizer.is_ready(one)]:
                self._recognizer.decode_streams(ready)
            said += [self._text(stream) for stream in streams]
        return said

    def _text(self, stream: Any) -> str:
        return respaced(self._recognizer.get_result(stream))


def trained(given: argparse.Namespace, home: Path) -> Built:
    """The student, built from its scenario."""
    corpus, source = corpora.read(given.data.resolve()), home / f"{given.kind}.jsonl.gz"
    if not source.exists():
        clips = digit_splits(corpus) if given.kind == "digits" else command_splits(corpus)
        manifest.write(clips, source, licence=corpus.licence)
    digits = given.kind == "digits"
    scenario = Scenario.model_validate(
        {
            "name": f"phone-{given.kind}",
            "task": "transcribe",
            "language": "en" if digits else "zh+en",
            "data": {"train": source} | ({} if digits else {"exclude": ["silent"], "margin": 0.15}),
            "tokens": {"kind": "words"},
            "features": {"kind": "nemo"} | ({} if digits else {"bins": 64}),
            "augment": {"noise": given.noise, "rooms": given.rooms}
            | ({} if digits else {"joined": 1, "passes": 3}),
            "training": {"epochs": given.epochs or EPOCHS[given.kind]},
            "members": [{"parameters": PARAMETERS[given.kind]}],
        }
    )
    with shown() as progress:
        return build(scenario, config=Settings(home=home), progress=progress)


def command_splits(corpus: Corpus) -> list[Clip]:
    splits = rotation(corpus.clips, GROUPS, 0)
    parts: dict[str, Any] = {"train": splits.train, "dev": splits.dev, "test": splits.test}
    return [replace(clip, split=name) for name, clips in parts.items() for clip in clips]


if __name__ == "__main__":
    main()

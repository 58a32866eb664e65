"""PocketSphinx (Huggins-Daines et al. 2006): hidden Markov models and a trigram of English.

"Pocketsphinx: A free, real-time continuous speech recognition system for hand-held devices". Far
behind neural engines, and for that very reason it makes other mistakes than they do.
"""

import queue
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from aimass.base import digests
from aimass.base.contract import Hypothesis, RecognizeOptions, Samples, Segment, Word
from aimass.base.errors import BundleError, MissingExtra
from aimass.registry.catalogue import catalogue

_RATE = 16000
_FRAMES = 100  # a second
_ENTRY = "pocketsphinx"
_FILES = ("en-us/mdef", "en-us.lm.bin", "cmudict-en-us.dict")
_PRUNING = {"maxhmmpf": 3000, "maxwpf": 20}  # noise alone, which fits all words, would take minutes
_VARIANT = re.compile(r"\(\d+\)$")  # of a pronunciation: "the(2)"
_LOUDEST = 32767


class PocketSphinxEngine:
    """A model folder and as many decoders as calls may be under way.

    Its native code holds the interpreter's lock, about a fifth of the sound's length: calls do not
    run side by side, and a service that must answer others meanwhile should run it elsewhere.
    Short stretches bound how long.

    Args:
        decoders: loaded ``pocketsphinx.Decoder`` objects, each for one call at a time.
        name: what the model is called to users.
    """

    sample_rate = _RATE
    max_seconds = 12.0
    invents_on_silence = True

    def __init__(self, decoders: list[Any], name: str) -> None:
        self.name = name
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for decoder in decoders:
            self._free.put(decoder)

    @classmethod
    def open(cls, folder: Path, *, name: str, workers: int, threads: int) -> "PocketSphinxEngine":
        """Load the model that its package ships (``en-us/``, language model, dictionary).

        Args:
            workers: calls of `recognize` that may be under way at once.
            threads: of no effect; one decoder works in one.

        Raises:
            MissingExtra: pocketsphinx is not installed.
            BundleError: the folder does not hold its model.
        """
        try:
            import pocketsphinx
        except ImportError as error:
            raise MissingExtra(
                f"{name} needs pocketsphinx, which is not installed ({error})",
                expected="the pocketsphinx extra",
                fix="Type: pip install 'aimass[pocketsphinx]'",
            ) from error
        _check(folder, name)
        hmm, lm, words = (folder / file for file in _FILES)
        try:
            decoders = [
                pocketsphinx.Decoder(
                    hmm=str(hmm.parent), lm=str(lm), dict=str(words), loglevel="FATAL", **_PRUNING
                )
                for _ in range(workers)
            ]
        except Exception as error:  # its C core raises RuntimeError and ValueError
            raise _unloadable(name, folder, str(error)) from error
        return cls(decoders, name)

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        """Recognise one stretch of English, shape ``(samples,)`` at 16 kHz, at most 12 s.

        A word's confidence is its posterior in the lattice; none of the options but
        ``word_times`` changes anything.
        """
        if not len(samples):
            return Hypothesis(language="en")
        duration = len(samples) / _RATE
        with self._decoder() as decoder:
            _hear(decoder, samples)
            words = tuple(_words(decoder, duration))
        if not words:
            return Hypothesis(language="en")
        found = Segment(
            words[0].start,
            words[-1].end,
            " ".join(word.text for word in words),
            words if options.word_times else (),
            float(np.exp(np.mean(np.log([max(1e-9, word.confidence) for word in words])))),
        )
        return Hypothesis((found,), "en")

    def close(self) -> None:
        """Let go of the weights that no call is using."""
        while not self._free.empty():
            self._free.get()

    @contextmanager
    def _decoder(self) -> Iterator[Any]:
        decoder = self._free.get()
        try:
            yield decoder
        finally:
            self._free.put(decoder)


def _check(folder: Path, name: str) -> None:
    """Only the pinned files, since its C core ends the whole process on many a damaged one."""
    (known,) = catalogue()[_ENTRY].sets
    for file, digest in known.files.items():
        if not (folder / file).is_file():
            raise _unloadable(name, folder, f"there is no {file}")
        if digests.of_file(folder / file) != digest:
            raise _unloadable(name, folder, f"{file} is damaged, or of another model")


def _hear(decoder: Any, samples: Samples) -> None:
    """Give a decoder one whole utterance, whose own mean is taken off its spectrum.

    Bit by bit it would take the mean of what it heard before, from others too: 22 % errors
    instead of 13 % where that is forgotten.
    """
    sound = (np.clip(samples, -1, 1) * _LOUDEST).astype("<i2")
    decoder.reinit_feat()
    decoder.start_utt()
    try:
        decoder.process_raw(sound.tobytes(), full_utt=True)
    finally:
        decoder.end_utt()


def _words(decoder: Any, duration: float) -> Iterator[Word]:
    """The words of the best path; silence, noise and sentence ends are left out."""
    if decoder.hyp() is None:
        return
    for part in decoder.seg():
        if part.word.startswith(("<", "[", "++")):
            continue
        start = min(part.start_frame / _FRAMES, duration)
        end = min((part.end_frame + 1) / _FRAMES, duration)
        yield Word(_VARIANT.sub("", part.word), start, end, min(1.0, max(0.0, part.prob)))


def _unloadable(name: str, folder: Path, why: str) -> BundleError:
    return BundleError(
        f"{name} does not load from {folder}: {why}",
        expected="the files of the catalogue, as the package pocketsphinx ships them",
        fix=f"Fetch it again with: aimass models pull {name}",
    )

"""Moonshine models (Jeffries et al. 2024) as their authors ship them, through onnxruntime.

"Moonshine: Speech Recognition for Live Transcription and Voice Commands": an encoder that takes
the waveform as it is, and a decoder that writes pieces of words. The decoder tells no times.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from aimass.base.contract import Hypothesis, RecognizeOptions, Samples, Segment, Word
from aimass.base.errors import BundleError

Arrays = Mapping[str, npt.NDArray[Any]]
Rows = npt.NDArray[np.float32]

_RATE = 16000
_BEAM = 5
_START, _END = 1, 2
_TOKENS_A_SECOND = 6.5  # above it the model repeats itself, say its authors
_FIRST_TOKENS = 10  # that even the shortest sound may have
_SHORTEST = 1600  # samples; below, the convolutions of the encoder have nothing to give
_SPACE = "\u2581"
_FILES = ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin")
_MOST_BYTES = 4 << 20  # of a tokenizer


@dataclass(frozen=True, slots=True)
class _Beam:
    """A beginning of an answer, with the log probability of each of its tokens."""

    tokens: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()

    @property
    def total(self) -> float:
        return math.fsum(self.log_probs)

    @property
    def rank(self) -> float:
        """The mean over the tokens, so that short answers have no advantage."""
        return self.total / max(1, len(self.log_probs))

    def grown(self, token: int, log_prob: float) -> "_Beam":
        return _Beam((*self.tokens, token), (*self.log_probs, log_prob))


class MoonshineEngine:
    """Moonshine, shared between threads; onnxruntime lets them work side by side.

    Args:
        encoder, decoder: ``onnxruntime.InferenceSession`` of the two graphs.
        pieces: the bytes of each token.
        name: what the model is called to users.
    """

    sample_rate = _RATE
    max_seconds = 30.0
    invents_on_silence = True

    def __init__(self, encoder: Any, decoder: Any, pieces: Sequence[bytes], name: str) -> None:
        self.name = name
        self._encoder, self._decoder, self._pieces = encoder, decoder, pieces
        self._start = {
            given.name: _empty(given.shape)
            for given in decoder.get_inputs()
            if given.name.startswith("past_key_values")
        }
        self._outputs = [output.name for output in decoder.get_outputs()]

    @classmethod
    def open(cls, folder: Path, *, name: str, workers: int, threads: int) -> "MoonshineEngine":
        """Load a model folder (``encoder_model.ort``, ``decoder_model_merged.ort``, tokenizer).

        Args:
            workers: calls of `recognize` that run side by side; all share one set of weights.
            threads: cores used by each of them.

        Raises:
            BundleError: the folder does not hold a Moonshine model that loads.
        """
        for file in _FILES:
            if not (folder / file).is_file():
                raise _unloadable(name, folder, f"there is no {file}")
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 4
        try:
            encoder, decoder = (
                ort.InferenceSession(folder / file, options, providers=["CPUExecutionProvider"])
                for file in _FILES[:2]
            )
            pieces = read_pieces(folder / _FILES[2])
            return cls(encoder, decoder, pieces, name)
        except Exception as error:  # onnxruntime raises its own kinds, all below Exception
            raise _unloadable(name, folder, str(error)) from error

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        """Recognise one stretch of English, shape ``(samples,)`` at 16 kHz, at most 30 s.

        One segment without words, whose times this model does not tell; none of the options
        changes anything.
        """
        found = self.n_best(samples, options, 1)
        return Hypothesis(tuple(_timeless(s) for s in found[0].segments), "en")

    def n_best(self, samples: Samples, options: RecognizeOptions, n: int) -> tuple[Hypothesis, ...]:
        """Up to n answers, the best first, whose words have confidences but no times.

        A beam search; a segment's confidence is the geometric mean over its tokens, the end among
        them.
        """
        if not len(samples):
            return (Hypothesis(language="en"),)
        duration = len(samples) / _RATE
        beams = self._search(samples, max(_BEAM, n), duration)
        return tuple(self._hypothesis(beam, duration) for beam in beams[:n])

    def close(self) -> None:
        """Let go of the weights."""
        self._encoder = self._decoder = None

    def _search(self, samples: Samples, width: int, duration: float) -> list[_Beam]:
        """Beam search: the answers that came to their end, the best first."""
        row = np.zeros((1, max(_SHORTEST, len(samples))), np.float32)
        row[0, : len(samples)] = samples
        mask = np.ones(row.shape, np.int64)
        (heard,) = self._encoder.run(None, {"input_values": row, "attention_mask": mask})
        state: Arrays = self._start
        beams, done = [_Beam()], list[_Beam]()
        for _ in range(round(duration * _TOKENS_A_SECOND) + _FIRST_TOKENS):
            rows, state = self._step(heard, mask, beams, state)
            alive = list[tuple[int, _Beam]]()
            for source, token in _likeliest(rows, beams, 2 * width):
                grown = beams[source].grown(token, float(rows[source, token]))
                if token == _END:
                    done.append(grown)
                elif len(alive) < width:
                    alive.append((source, grown))
            beams = [beam for _, beam in alive]
            if len(done) >= width:
                break
            chosen = [source for source, _ in alive]
            state = {key: np.ascontiguousarray(value[chosen]) for key, value in state.items()}
        return sorted(done or beams, key=lambda beam: (-beam.rank, beam.tokens))

    def _step(
        self, heard: Rows, mask: npt.NDArray[np.int64], beams: Sequence[_Beam], state: Arrays
    ) -> tuple[Rows, Arrays]:
        """Log probabilities of the next token, ``(beams, tokens)``, and the state after it.

        Args:
            heard: what the encoder gave, ``(1, frames, width)``.
            mask: of the samples, ``(1, samples)``; the graph makes it one of frames itself.
        """
        count, cached = len(beams), bool(beams[0].tokens)
        last = [beam.tokens[-1] if cached else _START for beam in beams]
        given = {
            "encoder_hidden_states": np.repeat(heard, count, axis=0),
            "encoder_attention_mask": np.repeat(mask, count, axis=0),
            "input_ids": np.array(last, np.int64)[:, None],
            "use_cache_branch": np.array([cached]),
        }
        found = self._decoder.run(None, given | dict(state))
        outputs = dict(zip(self._outputs, found, strict=True))
        logits = outputs.pop("logits")[:, -1].astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        rows = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        after = {key.replace("present", "past_key_values"): value for key, value in outputs.items()}
        if cached:  # what the encoder said is computed once and not given again
            after |= {key: value for key, value in state.items() if ".encoder." in key}
        return rows, after

    def _hypothesis(self, beam: _Beam, duration: float) -> Hypothesis:
        words = tuple(self._words(beam))
        if not words:
            return Hypothesis(language="en")
        text = " ".join(word.text for word in words)
        confidence = min(1.0, math.exp(beam.rank))
        found = Segment(0.0, duration, text, words, confidence, tuple(beam.tokens))
        return Hypothesis((found,), "en")

    def _words(self, beam: _Beam) -> Iterator[Word]:
        """Join pieces to words, each with the geometric mean probability of its pieces."""
        groups = list[list[int]]()
        for index, token in enumerate(beam.tokens):
            if token <= _END:
                continue
            if not groups or self._pieces[token].startswith(_SPACE.encode()):
                groups.append([])
            groups[-1].append(index)
        for group in groups:
            joined = b"".join(self._pieces[beam.tokens[index]] for index in group)
            text = joined.decode("utf-8", "replace").replace(_SPACE, " ").strip()
            if text:
                mean = math.fsum(beam.log_probs[index] for index in group) / len(group)
                yield Word(text, 0.0, 0.0, min(1.0, math.exp(mean)))


def read_pieces(path: Path) -> list[bytes]:
    """The bytes of each token: a length below 128 in one byte, above in two, then the bytes.

    Raises:
        ValueError: a file that ends early or is too large.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path.name} has more than {_MOST_BYTES} bytes")
    content, place, pieces = path.read_bytes(), 0, list[bytes]()
    while place < len(content):
        length, place = content[place], place + 1
        if length >= 128:
            if place >= len(content):
                raise ValueError(f"{path.name} ends early")
            length, place = content[place] * 128 + length - 128, place + 1
        if place + length > len(content):
            raise ValueError(f"{path.name} ends early")
        pieces.append(content[place : place + length])
        place += length
    return pieces


def _likeliest(rows: Rows, beams: Sequence[_Beam], count: int) -> Iterator[tuple[int, int]]:
    """The likeliest ways to go on, ``(beam, token)``, the best first."""
    totals = rows + np.array([[beam.total] for beam in beams], np.float32)
    flat = totals.reshape(-1)
    best = np.argpartition(-flat, count)[:count]
    for index in best[np.lexsort((best, -flat[best]))]:
        yield divmod(int(index), rows.shape[1])


def _empty(shape: Sequence[Any]) -> Rows:
    """A cache that holds nothing yet: ``(1, heads, 0, width)``."""
    return np.zeros((1, int(shape[1]), 0, int(shape[3])), np.float32)


def _timeless(segment: Segment) -> Segment:
    return Segment(
        segment.start,
        segment.end,
        segment.text,
        confidence=segment.confidence,
        tokens=segment.tokens,
    )


def _unloadable(name: str, folder: Path, why: str) -> BundleError:
    return BundleError(
        f"{name} does not load from {folder}: {why}",
        expected=f"{', '.join(_FILES)} of a Moonshine model",
        fix=f"Fetch it again with: aimass models pull {name}",
    )

"""Whisper models in CTranslate2's format, through faster-whisper."""

import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aimass.base.contract import Hypothesis, RecognizeOptions, Samples, Segment, Word
from aimass.base.errors import BundleError, MissingExtra, RequestError
from aimass.text.normalise import primary_language

_RATE = 16000
_BEAM = 5  # against greedy: no loss on base, 3 % fewer errors on tiny.en, up to 1.3 x the time
_PROMPT_TOKENS = 200  # faster-whisper fills up to 223 of the 448 with hotwords alone
_FALLBACK = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_OPENING, _CLOSING = (
    "\"'“¿([{-",
    "\"'.。,，!！?？:：”)]}、",
)  # punctuation of the word behind, before

# Thresholds of Radford et al. (2022), "Robust Speech Recognition via Large-Scale Weak
# Supervision", section 4.5; the last is ours.
_COMPRESSION = 2.4  # text more repetitive than this is a loop
_LOGPROB = -1.0  # mean log probability of a token below which a decoding has failed
_NO_SPEECH = 0.6  # probability of silence from which a failed decoding is taken for silence
_DOUBTFUL_LOGPROB = -0.7  # the same for single segments, where the whole window has passed


class WhisperEngine:
    """Whisper, shared between as many threads as it was opened with workers.

    Args:
        model: a loaded ``faster_whisper.WhisperModel``.
        name: what the model is called to users.
    """

    sample_rate = _RATE
    max_seconds = 30.0
    invents_on_silence = True

    def __init__(self, model: Any, name: str) -> None:
        self.name = name
        self._model = model
        self._languages: tuple[str, ...] = tuple(model.supported_languages)
        self._english_only = not model.model.is_multilingual

    @classmethod
    def open(cls, folder: Path, *, name: str, workers: int, threads: int) -> "WhisperEngine":
        """Load a model folder (``model.bin``, ``config.json``, ``tokenizer.json``, vocabulary).

        Args:
            workers: calls of `recognize` that run side by side.
            threads: cores used by each of them.

        Raises:
            MissingExtra: faster-whisper is not installed.
            BundleError: the folder does not hold a Whisper model that loads.
        """
        try:
            import ctranslate2
            import faster_whisper
        except ImportError as error:
            raise MissingExtra(
                f"{name} needs faster-whisper, which is not installed ({error})",
                expected="the whisper extra",
                fix="Type: pip install 'aimass[whisper]'",
            ) from error
        # Without its tokenizer faster-whisper would turn to the network.
        for file in ("model.bin", "config.json", "tokenizer.json"):
            if not (folder / file).is_file():
                raise _unloadable(name, folder, f"there is no {file}")
        fast = "int8" in ctranslate2.get_supported_compute_types("cpu")
        try:
            model = faster_whisper.WhisperModel(
                str(folder),
                device="cpu",
                compute_type="int8" if fast else "default",
                cpu_threads=threads,
                num_workers=workers,
                local_files_only=True,
            )
        except Exception as error:  # its C++ core raises RuntimeError, tokenizers bare Exception
            raise _unloadable(name, folder, str(error)) from error
        return cls(model, name)

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        """Recognise one stretch of speech, shape ``(samples,)`` at 16 kHz, at most 30 s.

        Raises:
            RequestError: a language that the model does not know.
        """
        language = self._language(options.language)
        if not len(samples):
            return Hypothesis(language=language)
        found, info = self._model.transcribe(
            samples,
            language=language,
            beam_size=_BEAM,
            temperature=_FALLBACK if options.temperature == 0 else options.temperature,
            initial_prompt=self._prompt(options.prompt),
            hotwords=", ".join(options.hotwords) or None,
            condition_on_previous_text=False,
            compression_ratio_threshold=_COMPRESSION,
            log_prob_threshold=_LOGPROB,
            no_speech_threshold=_NO_SPEECH,
            # Without times to tell, base makes a tenth fewer errors (RESULTS.md).
            without_timestamps=not (options.segment_times or options.word_times),
            word_timestamps=options.word_times,
            vad_filter=False,
        )
        duration = len(samples) / _RATE
        segments = (_segment(raw, duration) for raw in found if not _invented(raw, duration))
        return Hypothesis(tuple(s for s in segments if s.text), info.language)

    def n_best(self, samples: Samples, options: RecognizeOptions, n: int) -> tuple[Hypothesis, ...]:
        """Up to n answers with word times and confidences, the best first; one beam search.

        Without the fallback to sampling that `recognize` has: a list of alternatives is for those
        who weigh it. Of one stretch, shape ``(samples,)`` at 16 kHz, at most 30 s.

        Raises:
            RequestError: a language that the model does not know.
        """
        from faster_whisper.audio import pad_or_trim
        from faster_whisper.tokenizer import Tokenizer
        from faster_whisper.transcribe import get_suppressed_tokens

        language = self._language(options.language)
        if not len(samples):
            return (Hypothesis(language=language),)
        model, duration = self._model, len(samples) / _RATE
        features = model.feature_extractor(samples)[:, :-1]
        features = features[:, : model.feature_extractor.nb_max_frames]
        heard = model.encode(pad_or_trim(features))
        language = language or model.model.detect_language(heard)[0][0][0].strip("<|>")
        tokenizer = Tokenizer(
            model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=language
        )
        prompt = model.get_prompt(
            tokenizer,
            self._prompt(options.prompt) or [],
            without_timestamps=True,
            hotwords=", ".join(options.hotwords) or None,
        )
        (found,) = model.model.generate(
            heard,
            [prompt],
            beam_size=max(_BEAM, n),
            num_hypotheses=n,
            max_length=model.max_length,
            return_scores=True,
            suppress_tokens=list(get_suppressed_tokens(tokenizer, [-1])),
        )
        said = [[t for t in ids if t < tokenizer.eot] for ids in found.sequences_ids]
        aligned = [model.find_alignment(tokenizer, [own], heard, features.shape[1]) for own in said]
        return tuple(
            _alternative(placed[0] if placed else [], own, score, tokenizer, duration)
            for own, score, placed in zip(said, found.scores, aligned, strict=True)
        )

    def _prompt(self, text: str | None) -> list[int] | None:
        """The last tokens of a prompt, as many as fit beside the longest list of hotwords."""
        if not text:
            return None
        encoded = self._model.hf_tokenizer.encode(f" {text.strip()}", add_special_tokens=False)
        return list(encoded.ids[-_PROMPT_TOKENS:])

    def close(self) -> None:
        """Let go of the weights."""
        self._model.model.unload_model()

    def _language(self, asked: str | None) -> str | None:
        """The code that Whisper knows, None to detect it."""
        if asked is None:
            return "en" if self._english_only else None
        code = primary_language(asked)
        known = _all_languages()
        if code not in known:
            raise _unknown_language(asked, known)
        if self._english_only:
            return "en"
        if code not in self._languages:
            raise _unknown_language(asked, self._languages)
        return code


def _all_languages() -> tuple[str, ...]:
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    return tuple(_LANGUAGE_CODES)


def _invented(raw: Any, duration: float) -> bool:
    """Whether a segment is text without speech: after the end, a doubtful silence, or a loop."""
    if raw.start >= duration:
        return True
    if raw.no_speech_prob > _NO_SPEECH and raw.avg_logprob < _DOUBTFUL_LOGPROB:
        return True
    return bool(raw.compression_ratio > _COMPRESSION and raw.avg_logprob < _LOGPROB)


def _segment(raw: Any, duration: float) -> Segment:
    """Our segment; Whisper pads to 30 s and may place its ends behind the sound."""
    return Segment(
        start=min(float(raw.start), duration),
        end=min(float(raw.end), duration),
        text=raw.text.strip(),
        words=tuple(_word(word, duration) for word in raw.words or ()),
        confidence=min(1.0, math.exp(raw.avg_logprob)),
        tokens=tuple(raw.tokens),
        temperature=float(raw.temperature or 0.0),
        compression_ratio=float(raw.compression_ratio),
        no_speech_prob=float(raw.no_speech_prob),
    )


def _alternative(
    placed: list[dict[str, Any]], tokens: list[int], score: float, tokenizer: Any, duration: float
) -> Hypothesis:
    """One answer of a beam search, with its words where the cross attention finds them.

    Args:
        score: mean log probability of the tokens, as CTranslate2 gives it.
    """
    from faster_whisper.transcribe import merge_punctuations

    text = tokenizer.decode(tokens).strip()
    if not text:
        return Hypothesis(language=tokenizer.language_code)
    merge_punctuations(placed, _OPENING, _CLOSING)
    raw = [SimpleNamespace(**one) for one in placed if one["word"].strip()]
    words = tuple(_word(one, duration) for one in raw)
    confidence = min(1.0, math.exp(score))
    found = Segment(0.0, duration, text, words, confidence, tuple(tokens))
    return Hypothesis((found,), tokenizer.language_code)


def _word(raw: Any, duration: float) -> Word:
    start, end = min(float(raw.start), duration), min(float(raw.end), duration)
    return Word(raw.word.strip(), start, max(start, end), float(raw.probability))


def _unknown_language(asked: str, known: Sequence[str]) -> RequestError:
    near = difflib.get_close_matches(asked.lower(), known, n=3, cutoff=0)
    return RequestError(
        f"language {asked!r} is not one this model knows",
        expected=f"an ISO 639-1 code; the nearest are {', '.join(near)}",
        fix="Give one of its languages, or none to let the model find out",
        param="language",
    )


def _unloadable(name: str, folder: Path, why: str) -> BundleError:
    return BundleError(
        f"{name} does not load from {folder}: {why}",
        expected="model.bin, config.json, tokenizer.json and a vocabulary in CTranslate2's format",
        fix=f"Fetch it again with: aimass models pull {name}",
    )

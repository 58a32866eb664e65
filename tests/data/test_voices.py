"""Voice engines, each the real one: what they speak, and what they refuse."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.audio.types import Audio
from aimass.base.errors import BundleError, MissingExtra, RequestError
from aimass.data.voices import contract, espeak, kokoro, native, pinyin
from aimass.data.voices.contract import (
    Delivery,
    VoiceEngine,
    engines,
    open_engine,
    speakable,
)
from aimass.data.voices.kokoro import KokoroVoices
from aimass.registry import pretrained


@pytest.fixture(scope="session")
def weights(test_home: Path) -> Path:
    """Kokoro, pulled once for every run that shares the test home."""
    return pretrained.pull("kokoro", home=test_home)


@pytest.fixture(scope="session")
def opened(weights: Path) -> dict[str, VoiceEngine]:
    return {name: open_engine(name, weights if name == "kokoro" else None) for name in engines()}


ONE = [
    ("espeak", Delivery("f3", "en")),
    ("kokoro", Delivery("af_heart", "en-US")),
    ("nanotts", Delivery("en-GB", "en")),
]


def test_the_engines_are_found_by_name() -> None:
    assert engines() == ["espeak", "kokoro", "nanotts"]
    with pytest.raises(RequestError, match="espeak, kokoro, nanotts"):
        open_engine("parrot")


@pytest.mark.parametrize(("name", "delivery"), ONE)
def test_an_engine_speaks_and_says_the_same_again(
    opened: dict[str, VoiceEngine], name: str, delivery: Delivery
) -> None:
    engine = opened[name]
    assert isinstance(engine, VoiceEngine)
    assert (engine.name, bool(engine.licence)) == (name, True)
    audio = engine.speak("seven", delivery)
    assert audio.samples.dtype == np.float32
    assert audio.channels == 1
    assert 0.3 < audio.duration < 3
    assert 0.05 < np.abs(audio.samples).max() < 1.5
    assert np.array_equal(engine.speak("seven", delivery).samples, audio.samples)


@pytest.mark.parametrize(("name", "delivery"), ONE)
def test_speed_changes_the_length(
    opened: dict[str, VoiceEngine], name: str, delivery: Delivery
) -> None:
    text = "one two three four five"
    slow, fast = (
        opened[name].speak(text, Delivery(delivery.voice, delivery.language, speed)).duration
        for speed in (0.7, 1.6)
    )
    assert slow > 1.4 * fast


@pytest.mark.parametrize(("name", "delivery"), [one for one in ONE if one[0] != "kokoro"])
def test_pitch_is_heard(opened: dict[str, VoiceEngine], name: str, delivery: Delivery) -> None:
    assert opened[name].pitches
    low, high = (
        pitch_of(opened[name].speak("ma ma ma", Delivery(delivery.voice, "en", pitch=pitch)))
        for pitch in (0.7, 1.4)
    )
    assert high > 1.3 * low


def pitch_of(audio: Audio) -> float:
    """The median of the strongest periods of 40 ms each, where there is one, in Hz."""
    size, found = audio.rate // 25, []
    low, high = audio.rate // 450, audio.rate // 70
    for start in range(0, len(audio.mono()) - size, size // 2):
        part = audio.mono()[start : start + size]
        echo = np.correlate(part, part, "full")[size - 1 :]
        lag = low + int(echo[low:high].argmax())
        if echo[0] > 0.01 * size * 0.25 and echo[lag] > 0.6 * echo[0]:
            found.append(audio.rate / lag)
    return float(np.median(found))


@pytest.mark.parametrize(("name", "delivery"), ONE)
@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("", {}),
        (" - ", {}),
        ("a\nb", {}),
        ("nul\0", {}),
        ("word " * 101, {}),
        ("one", {"voice": "nobody"}),
        ("one", {"language": "tlh"}),
        ("one", {"speed": 9.0}),
        ("one", {"speed": float("nan")}),
        ("one", {"pitch": 0.0}),
    ],
)
def test_what_no_engine_speaks(
    opened: dict[str, VoiceEngine],
    name: str,
    delivery: Delivery,
    text: str,
    change: dict[str, str | float],
) -> None:
    given = {"voice": delivery.voice, "language": delivery.language} | change
    with pytest.raises(RequestError):
        opened[name].speak(text, Delivery(**given))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["espeak", "nanotts"])
def test_markup_is_no_command(opened: dict[str, VoiceEngine], name: str) -> None:
    delivery = dict(ONE)[name]
    sly = opened[name].speak('<play file="x.wav"/> [[h@l@U]] one', delivery)
    plain = opened[name].speak('play file="x.wav"/ h@l@U one', delivery)
    assert np.array_equal(sly.samples, plain.samples)


@given(st.text(max_size=600))
def test_a_speakable_text_is_short_plain_and_stays_so(text: str) -> None:
    try:
        found = speakable(text)
    except RequestError:
        return
    assert 0 < len(found) <= contract.MOST_CHARACTERS
    assert not set(found) & set("<>[]{}|\\\n\t\0")
    assert speakable(found) == found


def test_voices_of_a_language(opened: dict[str, VoiceEngine]) -> None:
    assert [v.id for v in opened["nanotts"].voices("en")] == ["en-GB", "en-US"]
    assert len(opened["kokoro"].voices()) == 54
    assert {v.id[0] for v in opened["kokoro"].voices("zh")} == {"z"}
    assert len(opened["kokoro"].voices("zh-CN")) == 8
    assert len(opened["espeak"].voices("zh")) > 50
    assert opened["espeak"].voices("tlh") == []
    assert not any("robo" in v.id.lower() for v in opened["espeak"].voices("en"))


def test_what_lasts_too_long_is_stopped(
    opened: dict[str, VoiceEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError, match="would last more than 120 s"):
        opened["espeak"].speak("111111111111111 " * 31, Delivery("f1", "en", speed=0.5))
    monkeypatch.setattr(native, "_TIME", 0.001)
    with pytest.raises(RequestError, match="takes more than 0 s"):
        opened["espeak"].speak("one", Delivery("f1", "en"))


def test_voices_of_espeak_differ(opened: dict[str, VoiceEngine]) -> None:
    sounds = {
        opened["espeak"].speak("seven", Delivery(v, "en")).samples.tobytes()
        for v in ("f1", "f4", "m2", "klatt2", "Alex")
    }
    assert len(sounds) == 5


# Kokoro


def test_the_mean_of_two_voices_is_a_third(opened: dict[str, VoiceEngine]) -> None:
    engine = opened["kokoro"]
    assert engine.blends
    sounds = [
        engine.speak("one", Delivery(voice, "en")).samples
        for voice in ("am_adam", "af_sky", "am_adam+af_sky", "af_sky+am_adam", "am_adam+am_adam")
    ]
    assert np.array_equal(sounds[2], sounds[3])
    assert np.array_equal(sounds[4], sounds[0])
    assert not np.array_equal(sounds[2], sounds[0])
    assert not np.array_equal(sounds[2], sounds[1])


@pytest.mark.parametrize(
    ("text", "language", "said"),
    [
        ("Speaker", "en", "spˈikəɹ"),
        ("Open", "en-US", "ˈOpən"),
        ("project", "en-GB", "pɹˈɑːʤɛkt"),
        ("商行", "zh", "ʂa→ŋxa↗ŋ"),
        ("行李", "zh", "ɕi↗ŋli↓"),
        ("语音识别", "zh-CN", "y↓i→nʂɨ↗pje↗"),
    ],
)
def test_phonemes_are_those_of_the_model(text: str, language: str, said: str) -> None:
    assert kokoro.phonemes(text, language) == said
    assert set(said) <= set(kokoro._NUMBERS)


def test_every_syllable_has_phonemes() -> None:
    from pypinyin import Style, lazy_pinyin
    from pypinyin.pinyin_dict import pinyin_dict

    common = [chr(code) for code in pinyin_dict if 0x4E00 <= code < 0x9FA6]
    read = set(lazy_pinyin(common, style=Style.TONE3, neutral_tone_with_five=True))
    assert len(read) > 1200
    odd = {one for one in read if pinyin.syllable(one) == one}
    assert odd <= {"n2", "n3", "n4", "m2", "m4", "hm5", "hng5"}  # grunts, which have no vowel
    told = {pinyin.syllable(one) for one in read - odd}
    assert set("".join(told)) <= set(kokoro._NUMBERS)


def test_weights_that_are_not_there_or_damaged(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="aimass models pull kokoro"):
        KokoroVoices.open(None)
    with pytest.raises(BundleError, match="does not hold the Kokoro model"):
        KokoroVoices.open(tmp_path)
    (tmp_path / "model.onnx").symlink_to(weights / "model.onnx")
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "af_heart.bin").write_bytes(b"1234" * 100)
    with pytest.raises(BundleError, match="100 numbers"):
        KokoroVoices.open(tmp_path)


@pytest.mark.parametrize(
    ("library", "name"), [("py_nanotts", "nanotts"), ("espeakng_loader", "espeak")]
)
def test_without_the_library(library: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    espeak._library.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"pip install 'aimass\[voices\]'"):
        open_engine(name)


def test_chinese_needs_pypinyin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    with pytest.raises(MissingExtra, match="pypinyin"):
        kokoro.phonemes("你好", "zh")

"""Laws and conventions of normalisation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from num2words import CONVERTER_CLASSES

from aimass.text.normalise import normalise, tokens

LANGUAGES = st.sampled_from([None, "en", "en-GB", "zh", "hi", "xx", *sorted(CONVERTER_CLASSES)])
TEXTS = (
    st.text()
    | st.text(alphabet="0123456789., -stndrhoae'’$€%&٣२½ªº")
    | st.from_regex(
        r"(Mr\. |to-day |every one |[0-9]{1,6}(st|s|,[0-9]{3})? |hundred and five |colour ){1,5}",
        fullmatch=True,
    )
)


@given(TEXTS, LANGUAGES)
def test_twice_is_once(text: str, language: str | None) -> None:
    once = normalise(text, language)
    assert normalise(once, language) == once


@given(TEXTS, LANGUAGES)
def test_case_and_outer_space_do_not_count(text: str, language: str | None) -> None:
    assert normalise(f"  {text}\n", language) == normalise(text, language)


@given(TEXTS, LANGUAGES)
def test_only_words_and_single_spaces_are_left(text: str, language: str | None) -> None:
    words = normalise(text, language).split(" ")
    assert words == [""] or all(word.strip("'") == word != "" for word in words)


@given(st.integers(0, 10**14), st.sampled_from(["en", "fr", "de", "es", "it", "ru", "pt-BR"]))
def test_no_digit_is_left_where_numbers_have_words(number: int, language: str) -> None:
    assert not any(char.isdigit() for char in normalise(str(number), language))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Margaret, said Mr. Hale,", "margaret said mister hale"),
        ("There’s iron — they say — in ALL our blood!", "there's iron they say in all our blood"),
        ("Dr. and Mrs. St. Clair", "doctor and missus saint clair"),
        ("to-day, to-night", "today tonight"),
        ("every one of the neighbours recognised it", "everyone of the neighbors recognized it"),
        ("1,234.5 of them", "one thousand two hundred thirty four point five of them"),
        ("two hundred and five", "two hundred five"),
        (
            "in 1863, the 1st of May 2024",
            "in eighteen sixty three the first of may twenty twenty four",
        ),
        ("the 1920s and 90s", "the nineteen twenties and nineties"),
        ("$5 & 10%", "five dollars and ten percent"),
        ("$1", "one dollar"),
        ("agent 007", "agent zero zero seven"),
        ("'tis rock 'n' roll, o'clock", "tis rock n roll o'clock"),
        ("hour four sour", "hour four sour"),
        ("promise the same advertise", "promise the same advertise"),
        ("ﬁne Ｗｉｄｅ e\u0301te\u0301", "fine wide été"),
        ("", ""),
        ("?!…", ""),
    ],
)
def test_english(text: str, expected: str) -> None:
    assert normalise(text, "en") == expected


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("fr", "L’homme, 1.234,5 !", "l'homme mille deux cent trente quatre virgule cinq"),
        ("fr", "le 1er", "le premier"),
        ("es", "1ª vez", "primera vez"),
        ("de", "Straße 21", "strasse einundzwanzig"),
        ("ru", "Дом 5.", "дом пять"),
        ("zh", "你好，20个！", "你好 20个"),
        ("hi", "क्या हाल है?", "क्या हाल है"),
        (None, "Mr. 5", "mr 5"),
    ],
)
def test_other_languages(language: str | None, text: str, expected: str) -> None:
    assert normalise(text, language) == expected


@given(TEXTS)
def test_characters_are_the_words_without_spaces(text: str) -> None:
    assert "".join(tokens(text, "char")) == "".join(tokens(text, "word"))


def test_units() -> None:
    assert tokens("你好 a b", "char") == ["你", "好", "a", "b"]
    assert tokens(" a  bc ", "word") == ["a", "bc"]

"""What is counted in each script, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.evaluation.scorecard import Scored, score
from aimass.evaluation.units import mixed_tokens, units, unspaced

LATIN = st.text("abc def", max_size=20)
HAN = st.text("你好北京 ひらカナー ไทย", max_size=20)


def test_code_switching_is_counted_in_characters_and_words() -> None:
    assert mixed_tokens("我想 go to 北京 by高铁") == [
        "我", "想", "go", "to", "北", "京", "by", "高", "铁",
    ]  # fmt: skip


@given(LATIN, HAN)
def test_one_script_alone_is_counted_as_ever(latin: str, han: str) -> None:
    assert units(latin, "mer", None) == units(latin, "wer", None)
    assert units(han, "mer", None) == units(han, "cer", None)


@given(LATIN, HAN)
def test_scripts_add_up(latin: str, han: str) -> None:
    both = mixed_tokens(f"{latin} {han}")
    assert both == mixed_tokens(latin) + mixed_tokens(han)


def test_a_mixed_error_rate_by_hand() -> None:
    rows = [
        Scored("a", None, "我想 go home", "我要 go home", language="zh"),  # 1 of 4
        Scored("b", None, "yes please", "yes", language="en"),  # 1 of 2
    ]
    card = score(rows, "mer")
    assert (card.errors.total, card.errors.length) == (2, 6)
    assert [(row.language, row.error_rate) for row in card.per_language] == [
        ("en", 0.5),
        ("zh", 0.25),
    ]
    assert score(rows, "wer").errors.length == 5


def test_each_utterance_is_folded_by_its_own_language() -> None:
    rows = [
        Scored("a", None, "5", "five", language="en"),
        Scored("b", None, "5", "fünf", language="de"),
        Scored("c", None, "5", "cinq"),
    ]
    assert score(rows, "wer").errors.total == 1  # the language of c is not told
    assert score(rows, "wer", "fr").errors.total == 0
    assert score(rows, "wer", "en").errors.total == 1


@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        ("zh", "ok", True),
        ("zh-CN", "ok", True),
        ("en", "ok", False),
        ("ko", "좋아요", False),
        (None, "ok", False),
        (None, "你好", True),
        (None, "ラーメン", True),
    ],
)
def test_who_writes_without_spaces(language: str | None, text: str, found: bool) -> None:
    assert unspaced(language, text) == found

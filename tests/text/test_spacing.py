"""Where spaces stand, and where none do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.text.spacing import mixed_tokens, respaced, runs, stands_alone

Written = st.text("ab' 1é你好カーไม่한글\u3099\u3000\n") | st.text()


@given(Written)
def test_spacing_twice_changes_nothing(text: str) -> None:
    assert respaced(respaced(text)) == respaced(text)


@given(Written)
def test_spacing_keeps_all_but_spaces(text: str) -> None:
    assert "".join(respaced(text).split()) == "".join(text.split())
    assert mixed_tokens(respaced(text)) == mixed_tokens(text)


@given(Written)
def test_runs_are_units_joined(text: str) -> None:
    parts = [unit for run in runs(text) for unit in mixed_tokens(run)]
    assert parts == mixed_tokens(text)
    assert all(len(mixed_tokens(run)) == 1 or stands_alone(run) for run in runs(text))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("我 想  go to北京", "我想 go to 北京"),
        ("ラーメン を2つ", "ラーメンを 2 つ"),
        ("ไม่ เป็นไร ok", "ไม่เป็นไร ok"),
        ("좋아요 그래요", "좋아요 그래요"),
        (" it's\tfine ", "it's fine"),
    ],
)
def test_by_hand(text: str, wanted: str) -> None:
    assert respaced(text) == wanted

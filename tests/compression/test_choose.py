"""The choice of a precision follows what was measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import TrainingError
from aimass.compression.choose import FASTER, LOSS, Candidate, choose


def one(name: str, error: float = 0.05, size: int = 300, **seconds: float) -> Candidate:
    times = {1: seconds.get("one", 1.0), 16: seconds.get("many", 10.0)}
    return Candidate(name, error, size, times)


FLOAT = one("float", size=1000)


def test_int8_is_taken_where_it_is_faster() -> None:
    assert choose([FLOAT, one("dynamic", one=0.8, many=8)]).name == "dynamic"
    assert choose(
        [FLOAT, one("dynamic", one=0.8, many=8), one("static", one=0.5, many=8)]
    ).name == ("static")


@pytest.mark.parametrize(
    "other",
    [one("int8", one=0.5, many=10.5), one("int8", one=1.2, many=5), one("int8")],
)
def test_it_is_not_where_it_is_slower_anywhere(other: Candidate) -> None:
    assert choose([FLOAT, other]).name == "float"


def test_nor_where_it_hears_worse() -> None:
    assert choose([FLOAT, one("int8", 0.05 + 1.01 * LOSS, one=0.1, many=1)]).name == "float"
    assert choose([FLOAT, one("int8", 0.05 + 0.99 * LOSS, one=0.1, many=1)]).name == "int8"


def test_a_size_decides_before_speed() -> None:
    slow = one("stored", one=1.1, many=11)
    choice = choose([FLOAT, slow], largest=500)
    assert choice.name == "stored"
    assert "30% of its size" in choice.reason
    assert choose([FLOAT, slow], largest=1000).name == "float"


def test_a_size_that_nothing_has_is_refused() -> None:
    poor = one("static", error=0.2, size=200)
    with pytest.raises(TrainingError, match=r"300 bytes.*'static' has 200 but loses") as caught:
        choose([FLOAT, one("stored"), poor], largest=250)
    assert caught.value.expected == "at most 250 bytes"


times = st.floats(0.1, 10)
candidates = st.builds(
    lambda e, s, a, b, n: Candidate(f"k{n}", e, s, {1: a, 16: b}),
    st.floats(0, 0.2), st.integers(1, 2000), times, times, st.integers(0, 99),
)  # fmt: skip


@given(others=st.lists(candidates, max_size=6))
def test_what_is_chosen_is_never_worse(others: list[Candidate]) -> None:
    name = choose([FLOAT, *others]).name
    if name != "float":
        (found, *_) = [c for c in others if c.name == name and c.error <= FLOAT.error + LOSS]
        assert any(
            c.seconds[1] <= FASTER and c.seconds[16] <= FASTER * 10
            for c in others if c.name == name
        )  # fmt: skip
        assert found.error <= FLOAT.error + LOSS

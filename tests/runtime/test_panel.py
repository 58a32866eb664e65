"""What a panel finds is the same however many of its members are asked at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.base.errors import BundleError
from aimass.decoding.combine import Combination, LogProbs, Method, decided, tempered
from aimass.registry import bundle as bundles
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.load import shipped
from aimass.runtime.panel import Panel, Seat
from aimass.runtime.team import Team

ENGINE = BundleEngine(bundles.load(shipped()["digits"]))


def panel(weights: list[float], method: Method, budget: int) -> Panel:
    seats = [Seat(f"m{n}", f"{n:064}", ENGINE) for n in range(len(weights))]
    shares = tuple(weight / sum(weights) for weight in weights)
    combination = Combination(method, shares, (1.0,) * len(shares))
    found = Panel("many", seats, combination, Team(budget), {})
    found.team.hire()
    return found


@pytest.mark.parametrize("method", ["arithmetic", "geometric"])
@settings(max_examples=25)
@given(
    weights=st.lists(st.sampled_from([0.1, 0.5, 2.0, 9.0]), min_size=1, max_size=6),
    failing=st.sets(st.integers(0, 5), max_size=2),
    seed=st.integers(0, 99),
)
def test_threads_do_not_change_who_is_counted(
    method: Method, weights: list[float], failing: set[int], seed: int
) -> None:
    scores = np.random.default_rng(seed).normal(0, 4, (len(weights), 1, 3))
    rows = [tempered(one.astype(np.float32), 1.0) for one in scores]

    def row(number: int) -> LogProbs:
        if number in failing:
            raise ValueError("out of order")
        return rows[number]

    def found(budget: int) -> list[int] | None:
        asked = panel(weights, method, budget)
        try:
            return list(asked.ask_until(row, lambda own: decided(own, asked.combination)))
        except BundleError:
            return None
        finally:
            asked.team.close()

    assert found(1) == found(2) == found(4) == found(6)

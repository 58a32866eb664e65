"""A draw is a record, a record is the augmentation, and a batch changes nothing."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.augment.noise import Noise
from aimass.augment.policy import POLICIES, STEPS, Policy, Record, apply, draw, named
from aimass.augment.spectrogram import Masks
from aimass.augment.step import Step
from aimass.base.contract import Samples
from aimass.base.errors import DataError, ScenarioError
from aimass.base.randomness import generator

from .sounds import RATE, sounds, utterances

EVERYTHING = Policy("everything", tuple(kind() for kind in STEPS.values()), Masks())


def records(policy: Policy, seed: int = 1) -> list[Record]:
    return [
        draw(policy, generator(seed, "augment", n), len(x) / RATE, sounds())
        for n, x in enumerate(utterances())
    ]


def heard(policy: Policy, seed: int = 1) -> list[Samples]:
    return apply(utterances(), records(policy, seed), RATE, sounds())


def close(first: list[Samples], second: list[Samples]) -> bool:
    return all(
        len(a) == len(b) and float(np.abs(a - b).max()) <= 1e-5
        for a, b in zip(first, second, strict=True)
    )


def all_policies() -> list[Policy]:
    return [*POLICIES.values(), EVERYTHING]


each_policy = pytest.mark.parametrize("policy", all_policies(), ids=lambda policy: policy.name)
each_step = pytest.mark.parametrize("kind", STEPS.values(), ids=lambda kind: kind.kind)


def test_the_names() -> None:
    assert list(POLICIES) == ["clean", "light", "standard", "strong", "telephone", "far"]
    assert all(named(name).name == name for name in POLICIES)
    assert all(kind.kind == name for name, kind in STEPS.items())


@each_policy
def test_a_record_replays(policy: Policy) -> None:
    drawn = records(policy)
    stored = json.loads(json.dumps(drawn))
    assert stored == drawn
    first = apply(utterances(), drawn, RATE, sounds())
    again = apply(utterances(), stored, RATE, sounds())
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@each_policy
def test_a_batch_is_its_utterances(policy: Policy) -> None:
    drawn = records(policy)
    together = apply(utterances(), drawn, RATE, sounds())
    alone = [apply([x], [r], RATE, sounds())[0] for x, r in zip(utterances(), drawn, strict=True)]
    assert close(together, alone)


@each_policy
def test_the_order_of_a_batch_does_not_matter(policy: Policy) -> None:
    drawn, order = records(policy), generator(3).permutation(len(utterances()))
    moved = apply([utterances()[n] for n in order], [drawn[n] for n in order], RATE, sounds())
    straight = apply(utterances(), drawn, RATE, sounds())
    assert close(moved, [straight[n] for n in order])


def test_records_of_different_policies_share_a_batch() -> None:
    mixed = [r for p in all_policies() for r in records(p)[:2]]
    mixed.append([*reversed(mixed[-1])])  # an order that no policy has
    batch = [utterances()[n % 7] for n in range(len(mixed))]
    together = apply(batch, mixed, RATE, sounds())
    alone = [apply([x], [r], RATE, sounds())[0] for x, r in zip(batch, mixed, strict=True)]
    assert close(together, alone)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
@each_policy
def test_sound_stays_sound(policy: Policy, seed: int) -> None:
    before = [x.copy() for x in utterances()]
    for out in heard(policy, seed):
        assert out.dtype == np.float32 and out.ndim == 1 and len(out)
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= 1
    assert all(np.array_equal(a, b) for a, b in zip(before, utterances(), strict=True))


@each_step
@pytest.mark.parametrize("length", [1, 2, 37, 400])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e-30])
def test_the_shortest_and_the_silent_survive(kind: type[Step], length: int, value: float) -> None:
    policy = Policy("one", (kind(),))
    record = draw(policy, generator(length), length / RATE, sounds())
    assert [entry["step"] for entry in record] == [kind.kind]
    out = apply([np.full(length, value, np.float32)], [record], RATE, sounds())[0]
    assert len(out) and np.isfinite(out).all() and np.abs(out).max() <= 1


@each_step
def test_without_recordings_all_is_simulated(kind: type[Step]) -> None:
    record = draw(Policy("one", (kind(),)), generator(0), 1.0)
    assert len(record) == (kind.kind != "babble")
    assert len(apply([utterances()[3]], [record], RATE)[0])


@each_policy
def test_no_strength_is_clean_and_full_strength_the_policy(policy: Policy) -> None:
    assert policy.at(1) == policy
    assert policy.at(7) == policy
    none = policy.at(0)
    assert records(none) == [[] for _ in utterances()]
    assert (none.masks.times, none.masks.bands) == (0, 0)
    assert all(a is b for a, b in zip(heard(none), utterances(), strict=True))


def test_strength_is_the_share_of_what_happens() -> None:
    half = POLICIES["strong"].at(0.5)
    counts = [
        sum(len(draw(p, generator(n), 1.0)) for n in range(400)) for p in (half, POLICIES["strong"])
    ]
    assert counts[0] / counts[1] == pytest.approx(0.5, abs=0.06)


@each_policy
def test_a_policy_survives_plain_data(policy: Policy) -> None:
    assert Policy.from_dict(json.loads(json.dumps(policy.to_dict()))) == policy


def test_what_is_left_out_keeps_its_default() -> None:
    own = Policy.from_dict({"name": "own", "steps": [{"step": "noise", "snr_db": [3, 9]}]})
    assert own.steps == (Noise(snr_db=(3, 9)),)
    assert own.masks == Masks(times=0, bands=0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"steps": [{"step": "echo"}]}, "step 'echo'.*reverb"),
        ({"steps": ["noise"]}, "step 'noise'.*fields"),
        ({"steps": [{"step": "noise", "snr": [1, 2]}]}, "field 'snr'.*snr_db"),
        ({"steps": [{"step": "noise", "snr_db": [20, 3]}]}, "lower first"),
        ({"steps": [{"step": "noise", "snr_db": 20}]}, "two numbers"),
        ({"steps": [{"step": "noise", "share": 1.5}]}, "from 0 to 1"),
        ({"steps": [{"step": "noise", "share": float("nan")}]}, "from 0 to 1"),
        ({"steps": [{"step": "noise", "share": "often"}]}, "a number"),
        ({"steps": [{"step": "speed", "factor": [0.9, 9]}]}, "from 0.5 to 2"),
        ({"steps": [{"step": "codec", "codecs": ["gsm"]}]}, "some of opus"),
        ({"steps": [{"step": "codec", "codecs": []}]}, "some of opus"),
        ({"steps": [{"step": "codec", "codecs": ["g722"], "bits": [6000, 9000]}]}, "64000"),
        ({"steps": [{"step": "telephone", "laws": "mulaw"}]}, "some of mulaw, alaw, none"),
        ({"masks": {"time": 3}}, "field 'time'.*times"),
        ({"masks": {"times": -1}}, "from 0 to 100"),
        ({"stepps": []}, "field 'stepps'"),
    ],
)
def test_mistakes_are_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        Policy.from_dict(values)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ScenarioError, match="one of clean, light, standard"):
        named("heavy")


def test_what_cannot_be_replayed_is_named() -> None:
    sound = [utterances()[0]]
    with pytest.raises(DataError, match="step 'echo'"):
        apply(sound, [[{"step": "echo"}]], RATE)
    with pytest.raises(DataError, match="which is not among the 0 loaded"):
        apply(sound, [[{"step": "noise", "snr_db": 1, "recording": "x.wav", "offset": 0}]], RATE)
    with pytest.raises(DataError, match="utterance 1 of the batch holds no samples"):
        apply([*sound, sound[0][:0]], [[], []], RATE)
    with pytest.raises(DataError, match="1 utterances and 2 records"):
        apply(sound, [[], []], RATE)


def test_policies_are_read_where_scipy_is_not_installed() -> None:
    program = """
import sys
sys.modules["scipy"] = None
from aimass.augment.policy import draw, named
from aimass.base.randomness import generator
print(len(draw(named("strong"), generator(2), 1.0)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert int(done.stdout) >= 0, done.stderr


def test_the_page_names_every_policy_step_and_field() -> None:
    page = (Path(__file__).parents[2] / "docs/augment.md").read_text("utf-8")
    rows = [line.split("|")[1:] for line in page.splitlines() if line.startswith("| `")]
    assert [row[0].strip(" `") for row in rows] == [*POLICIES, *STEPS]
    told = {row[0].strip(" `"): row for row in rows[len(POLICIES) :]}
    for name, kind in STEPS.items():
        own = {one.name for one in fields(kind)} - {"share"}
        assert own == set(re.findall(r"`(\w+)`", told[name][2])), name

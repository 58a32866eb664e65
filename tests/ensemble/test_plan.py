"""A plan: members that differ, the strong ones first; a longer plan begins with the shorter one."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aimass.augment import policy as policies
from aimass.base.contract import Task
from aimass.base.errors import ScenarioError
from aimass.ensemble.plan import MOST, OTHER_POLICY, planned
from aimass.features.spec import FeatureSpec
from aimass.lifecycle.scenario import Scenario, parse

BARE: dict[str, Any] = {"name": "x", "task": "classify", "data": {"train": "x"}}
numbers = st.integers(1, MOST)
tasks = st.sampled_from(list(Task))
sections = st.fixed_dictionaries(
    {},
    optional={
        "joint": st.sampled_from([0.0, 0.5]),
        "features": st.fixed_dictionaries({}, optional={"sample_rate": st.just(8000)}),
        "augment": st.fixed_dictionaries(
            {}, optional={"policy": st.sampled_from(list(policies.POLICIES)), "passes": st.just(2)}
        ),
        "training": st.fixed_dictionaries({}, optional={"seed": st.integers(0, 99)}),
        "tokens": st.fixed_dictionaries(
            {}, optional={"kind": st.sampled_from(["auto", "bpe", "characters", "words"])}
        ),
    },
)


def scenario(members: Any, **more: Any) -> Scenario:
    return parse(BARE | {"members": members} | more, Path("x.yaml"))


def heard(member: dict[str, Any]) -> str:
    """What tells the front ends of members apart."""
    return json.dumps([member["family"], member.get("features"), member.get("subsampling")])


@given(numbers, tasks, sections)
def test_every_plan_is_a_valid_scenario(number: int, task: Task, given: dict[str, Any]) -> None:
    plan = planned(number, task, given)
    built = scenario(plan, task=task.value, **given)
    assert len(built.resolved()) == number  # no name is there twice
    assert yaml.safe_load(yaml.safe_dump(plan)) == plan
    assert built == scenario(number, task=task.value, **given)  # a number means this very plan


@given(numbers, numbers, tasks, sections)
def test_a_longer_plan_begins_with_the_shorter_one(
    one: int, other: int, task: Task, given: dict[str, Any]
) -> None:
    short, long = sorted((one, other))
    assert planned(long, task, given)[:short] == planned(short, task, given)


@given(tasks, sections)
def test_the_first_member_is_what_the_scenario_trains_alone(
    task: Task, given: dict[str, Any]
) -> None:
    alone = parse(BARE | {"task": task.value} | given, Path("x.yaml")).resolved()[0]
    first = scenario(planned(3, task, given), task=task.value, **given).resolved()[0]
    assert first.model_copy(update={"name": alone.name}) == alone


@pytest.mark.parametrize("task", list(Task))
def test_the_first_six_differ_in_what_they_are_and_hear(task: Task) -> None:
    plan = planned(6, task)
    assert len({heard(member) for member in plan}) == 6
    assert [member["family"] for member in plan] == ["conv", "recurrent", "attention"] * 2
    assert len({member.get("seed", 0) for member in plan}) == 6
    features = [member.get("features", {}) for member in plan]
    assert {own.get("frame_length_ms", 25.0) for own in features} == {25.0, 50.0}
    by = {member["bag"]["by"] for member in plan if "bag" in member}
    assert by == {"speaker", "utterance"}
    assert any("augment" in member for member in plan)
    assert any(member.get("sampling_temperature", 1) > 1 for member in plan)


def test_no_two_members_of_a_long_plan_are_the_same() -> None:
    plan = planned(MOST, Task.TRANSCRIBE)
    bare = [json.dumps({k: v for k, v in one.items() if k != "name"}) for one in plan]
    assert len(set(bare)) == MOST


def test_tokens_differ_where_words_are_spelled() -> None:
    def kinds(task: Task, **given: Any) -> set[str]:
        plan = planned(6, task, given)
        return {member["tokens"]["kind"] for member in plan if "tokens" in member}

    assert kinds(Task.TRANSCRIBE) == {"bpe"}
    assert kinds(Task.TRANSCRIBE, tokens={"kind": "bpe"}) == {"characters"}
    assert kinds(Task.TRANSCRIBE, tokens={"kind": "words"}) == set()
    assert kinds(Task.CLASSIFY) == kinds(Task.EMBED) == set()


def test_joint_members_hear_and_spell_alike() -> None:
    for task in (Task.TRANSCRIBE, Task.CLASSIFY):
        for member in planned(12, task, {"joint": 0.5}):
            assert not {"bag", "tokens", "sampling_temperature"} & member.keys()
            assert task is Task.CLASSIFY or "augment" not in member


@pytest.mark.parametrize("policy", ["telephone", "far", {"name": "own", "steps": []}])
def test_where_a_scenario_is_used_stays(policy: Any) -> None:
    plan = planned(12, Task.CLASSIFY, {"augment": {"policy": policy}})
    assert not any("augment" in member for member in plan)


def test_what_all_share_is_kept() -> None:
    given = {"augment": {"policy": "light", "noise": "n", "passes": 2}, "training": {"seed": 7}}
    plan = planned(6, Task.CLASSIFY, given | {"features": {"sample_rate": 8000, "bins": 20}})
    others = [member["augment"] for member in plan if "augment" in member]
    assert others == [{"policy": "standard", "noise": "n", "passes": 2}]
    assert [member.get("seed") for member in plan] == [None, 8, 9, 10, 11, 12]
    assert all(member["features"]["sample_rate"] == 8000 for member in plan[1:])
    assert all(member["features"].get("bins") != 20 for member in plan[1:])


@pytest.mark.parametrize("rate", [8000, 16000])
def test_every_front_end_can_be_built(rate: int) -> None:
    for member in planned(24, Task.TRANSCRIBE):
        own = member.get("features", {})
        bins = own.get("bins") or {8000: 40, 16000: 80}[rate]
        FeatureSpec(
            rate, bins, kind=own.get("kind", "fbank"), compression=own.get("compression", "log")
        )


def test_neighbours_of_policies_are_policies() -> None:
    assert {*OTHER_POLICY, *OTHER_POLICY.values()} <= set(policies.POLICIES)


@pytest.mark.parametrize("number", [0, -1, MOST + 1])
def test_a_number_that_is_none(number: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 64 members"):
        planned(number, Task.CLASSIFY)
    with pytest.raises(ScenarioError) as caught:
        scenario(number)
    assert caught.value.param == "members" and "from 1 to 64" in caught.value.expected


def test_a_model_that_is_there_is_a_member_without_sections() -> None:
    plan = scenario([{}, {"engine": "whisper-tiny.en"}, {"engine": "digits@1", "name": "own"}])
    assert [member.name for member in plan.resolved()] == ["conv-1", "whisper-tiny.en", "own"]
    with pytest.raises(ScenarioError, match=r"members\.0"):
        scenario([{"engine": "digits", "family": "conv"}])


def test_ranges_need_members_that_are_spelled_out() -> None:
    ranges = {"members.0.parameters": {"choices": [40000, 60000]}}
    with pytest.raises(ScenarioError, match="ensemble grow"):
        scenario(3, tune=ranges)
    assert scenario(planned(3, Task.CLASSIFY), tune=ranges).tune

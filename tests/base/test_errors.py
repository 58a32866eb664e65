"""The error tree is the one drawn at the top of its module."""

import inspect
import re

import pytest

from aimass.base import errors
from aimass.base.errors import AimassError

ROW = re.compile(
    r"^ {4}(?P<indent>[ │]*)[├└]── (?P<name>\w+) +(?P<exit>\d+) +(?P<status>\d+) {2,}\S"
)
Drawn = dict[str, tuple[str, int, int]]


def drawn() -> Drawn:
    """``name: (parent, exit code, status)`` as the docstring draws it."""
    rows: Drawn = {}
    path = ["AimassError"]
    for line in (errors.__doc__ or "").splitlines():
        if match := ROW.match(line):
            depth = len(match["indent"]) // 4 + 1
            path[depth:] = [match["name"]]
            rows[match["name"]] = (path[depth - 1], int(match["exit"]), int(match["status"]))
    return rows


def own_classes() -> list[type]:
    """Every class that the module defines."""
    members = inspect.getmembers(errors, inspect.isclass)
    return [c for _, c in members if c.__module__ == errors.__name__]


def classes() -> list[type[AimassError]]:
    """Every class of the tree but its root."""
    return [c for c in own_classes() if issubclass(c, AimassError) and c is not AimassError]


def make(kind: type[AimassError]) -> AimassError:
    return kind("Found a cat.", expected="a dog.", fix="Bring a dog.")


def test_drawing_is_read_whole() -> None:
    branches = [line for line in (errors.__doc__ or "").splitlines() if "── " in line]
    assert len(drawn()) == len(branches) > 20


def test_classes_are_exactly_those_drawn() -> None:
    real = {c.__name__: (c.__mro__[1].__name__, c.exit_code, c.status) for c in classes()}
    assert real == drawn()


def test_every_class_of_the_module_is_an_error_of_the_tree() -> None:
    assert {AimassError, *classes()} == set(own_classes())
    assert all(len(c.__bases__) == 1 for c in classes())


def test_exit_codes_are_those_of_processes() -> None:
    assert AimassError.exit_code == 1
    assert all(1 < c.exit_code < 128 or c.exit_code == 130 for c in classes())
    assert AimassError.status == 500
    assert all(400 <= c.status < 600 for c in classes())


def test_codes_are_distinct_words() -> None:
    codes = [make(c).code for c in classes()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)
    assert errors.TruncatedAudio("", expected="", fix="").code == "truncated_audio"


@pytest.mark.parametrize("kind", [AimassError, *classes()], ids=lambda c: c.__name__)
def test_every_error_says_found_expected_and_fix(kind: type[AimassError]) -> None:
    error = make(kind)
    assert (error.found, error.expected, error.fix) == ("Found a cat", "a dog", "Bring a dog")
    assert str(error) == "Found a cat. Expected a dog. Bring a dog."
    assert kind.__doc__


@pytest.mark.parametrize("kind", [AimassError, *classes()], ids=lambda c: c.__name__)
@pytest.mark.parametrize("left_out", ["expected", "fix"])
def test_no_error_without_expected_and_fix(kind: type[AimassError], left_out: str) -> None:
    said = {"expected": "a dog", "fix": "Bring a dog"}
    del said[left_out]
    with pytest.raises(TypeError, match=left_out):
        kind("Found a cat", **said)


@pytest.mark.parametrize("kind", [AimassError, *classes()], ids=lambda c: c.__name__)
def test_problem_has_the_one_shape(kind: type[AimassError]) -> None:
    error = make(kind)
    problem = error.problem()["error"]
    assert list(problem) == ["message", "type", "param", "code"]
    assert problem["message"] == str(error)
    assert problem["code"] == error.code
    assert problem["param"] is None


def test_problem_names_the_field_at_fault() -> None:
    error = errors.RequestError("'x'", expected="a number", fix="Give one", param="temperature")
    assert error.problem()["error"]["param"] == "temperature"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (errors.RequestError, "invalid_request_error"),
        (errors.AudioTooLarge, "invalid_request_error"),
        (errors.Busy, "rate_limit_error"),
        (errors.ServiceError, "server_error"),
        (errors.DownloadError, "server_error"),
    ],
)
def test_type_is_that_of_the_status(kind: type[AimassError], expected: str) -> None:
    assert make(kind).type == expected


def test_busy_says_when_to_come_back() -> None:
    assert errors.Busy("full", expected="a place", fix="Wait").retry_after == 1
    assert errors.Busy("full", expected="a place", fix="Wait", retry_after=7).retry_after == 7


def test_a_branch_is_caught_by_its_parent() -> None:
    with pytest.raises(errors.AudioError):
        raise make(errors.SilentAudio)
    with pytest.raises(errors.BundleError):
        raise make(errors.IntegrityError)

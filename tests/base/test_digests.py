"""Digests name content: the same content the same way, other content another."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base import digests

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 19])
def test_of_file_is_sha256_of_the_content(size: int, tmp_path: Path) -> None:
    content = bytes(i % 251 for i in range(997)) * (size // 997 + 1)
    path = tmp_path / "file"
    path.write_bytes(content[:size])
    assert digests.of_file(path) == hashlib.sha256(content[:size]).hexdigest()


def test_of_file_does_not_depend_on_the_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
    assert digests.of_file(tmp_path / "a") == digests.of_file(tmp_path / "b")


def test_of_file_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digests.of_file(tmp_path / "absent")


def test_of_value_stays_as_it_is() -> None:
    """Builds are named by these digests: a change here makes every cached stage stale."""
    value = {"rate": 16000, "name": "é", "bins": [80, 1.5, None, True]}
    text = '{"bins":[80,1.5,null,true],"name":"é","rate":16000}'
    assert digests.of_value(value) == hashlib.sha256(text.encode()).hexdigest()


@given(st.dictionaries(st.text(), JSON, min_size=2))
def test_order_of_keys_does_not_matter(value: dict[str, Any]) -> None:
    turned = dict(reversed(value.items()))
    assert digests.of_value(turned) == digests.of_value(value)


@given(st.lists(JSON), JSON)
def test_one_item_more_changes_the_digest(value: list[Any], item: Any) -> None:
    assert digests.of_value([*value, item]) != digests.of_value(value)


@given(JSON)
def test_digest_is_hex(value: Any) -> None:
    digest = digests.of_value(value)
    assert len(digest) == 64
    assert set(digest) <= set("0123456789abcdef")


@pytest.mark.parametrize(("one", "other"), [(1, "1"), (True, "true"), (None, "null"), ([], {})])
def test_kinds_of_value_are_told_apart(one: Any, other: Any) -> None:
    assert digests.of_value(one) != digests.of_value(other)


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError):
        digests.of_value({"path": Path("x")})

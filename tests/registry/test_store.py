"""Names, versions and aliases: what is published once is found, whole, by everybody."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aimass.base.errors import UnknownModel
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle, load
from aimass.registry.store import PRODUCTION, Published, Registry

from .bundles import make


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """Three bundles of one name."""
    folder = tmp_path_factory.mktemp("bundles")
    return [make(folder / str(n), bias=-9 - n / 10) for n in range(3)]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables, which take seconds to make."""
    home = tmp_path_factory.mktemp("empty")
    Registry(home, f"sqlite:///{home / 'registry.db'}").names()
    return home / "registry.db"


@pytest.fixture
def registry(tmp_path: Path, empty: Path) -> Registry:
    (tmp_path / "home").mkdir()
    shutil.copy(empty, tmp_path / "home/registry.db")
    return Registry(tmp_path / "home")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, three: list[Bundle], empty: Path) -> Registry:
    """Three versions, the last in production, the first also ``old``."""
    home = tmp_path_factory.mktemp("shared")
    shutil.copy(empty, home / "registry.db")
    made = Registry(home)
    for bundle in three:
        made.publish(bundle)
    made.point("tiny", "old", 1)
    return made


def test_nothing_is_there_before_the_first(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "home")
    assert not registry.exists
    assert registry.names() == []
    assert registry.versions("tiny") == []
    assert registry.resolve("tiny") is None
    assert registry.resolve("tiny", "production") is None
    assert not (tmp_path / "home").exists()  # asking leaves nothing behind


def test_published_once_and_again(registry: Registry, three: list[Bundle], tmp_path: Path) -> None:
    one, two, _ = three
    first = registry.publish(one)
    home = tmp_path / "home"
    folder = home / "bundles" / one.digest[:16]
    assert first == Published("tiny", 1, (PRODUCTION,), folder, one.digest)
    assert load(first.folder).digest == one.digest
    assert registry.publish(one) == first

    second = registry.publish(two)
    assert (second.version, second.aliases) == (2, (PRODUCTION,))
    assert registry.resolve("tiny") == second
    assert registry.resolve("tiny", "1") == Published("tiny", 1, (), folder, one.digest)

    back = registry.publish(one)  # an earlier bundle keeps its version; the alias moves
    assert (back.version, back.aliases) == (1, (PRODUCTION,))
    assert [(v.version, v.aliases) for v in registry.versions("tiny")] == [
        (2, ()),
        (1, (PRODUCTION,)),
    ]

    tried = registry.publish(three[2], alias="candidate")
    assert (tried.version, tried.aliases) == (3, ("candidate",))
    assert registry.resolve("tiny") == back

    (folder / bundles.GRAPH).write_bytes(b"damaged")
    assert load(registry.publish(one).folder).digest == one.digest


def test_a_bundle_can_be_deleted_after_it_was_published(registry: Registry, tmp_path: Path) -> None:
    bundle = make(tmp_path / "made")
    published = registry.publish(bundle)
    for path in bundle.folder.iterdir():
        path.unlink()
    assert load(published.folder).digest == bundle.digest


def test_versions_and_names(shared: Registry) -> None:
    assert shared.exists
    assert shared.names() == ["tiny"]
    assert [v.version for v in shared.versions("tiny")] == [3, 2, 1]
    assert len({v.folder for v in shared.versions("tiny")}) == 3


@pytest.mark.parametrize(
    ("reference", "version"),
    [(None, 3), ("production", 3), ("old", 1), ("1", 1), ("2", 2), ("3", 3)],
)
def test_what_a_reference_means(shared: Registry, reference: str | None, version: int) -> None:
    found = shared.resolve("tiny", reference)
    assert found is not None and found.version == version


@pytest.mark.parametrize("reference", ["4", "0", "newest", "Old"])
def test_an_unknown_reference(shared: Registry, reference: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        shared.resolve("tiny", reference)
    error = caught.value
    assert error.found == f"model 'tiny' has no alias or version '{reference}'"
    assert error.expected == "one of old, production, 3, 2, 1"
    assert error.fix == "See: aimass models show tiny"
    assert error.param == "model"


def test_an_unknown_name(shared: Registry) -> None:
    assert shared.resolve("huge") is None
    assert shared.versions("huge") == []


def test_without_production_the_newest(registry: Registry, three: list[Bundle]) -> None:
    registry.publish(three[0], alias="a")
    registry.publish(three[1], alias="b")
    found = registry.resolve("tiny")
    assert found is not None and found.version == 2
    assert registry.resolve("tiny", PRODUCTION) is None


def test_an_alias_moves(shared: Registry, three: list[Bundle]) -> None:
    shared.point("tiny", "moving", 1)
    shared.point("tiny", "moving", 2)
    found = shared.resolve("tiny", "moving")
    assert found is not None and found.digest == three[1].digest
    assert ["moving" in v.aliases for v in shared.versions("tiny")] == [False, True, False]


def test_what_is_withdrawn_is_pointed_at_no_more(registry: Registry, three: list[Bundle]) -> None:
    one, two, _ = three
    registry.publish(one)
    registry.publish(two)
    registry.point("tiny", "old", 1)
    registry.withdraw("tiny", two.digest)
    assert [version.aliases for version in registry.versions("tiny")] == [(), ("old",)]
    registry.withdraw("tiny", two.digest)
    registry.withdraw("nobody", two.digest)


def test_a_registry_url(three: list[Bundle], tmp_path: Path, empty: Path) -> None:
    shutil.copy(empty, tmp_path / "elsewhere.db")
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    mine = Registry(tmp_path / "home", url)
    assert mine.exists
    published = mine.publish(three[0])
    assert not (tmp_path / "home/registry.db").exists()
    assert Registry(tmp_path / "home", url).resolve("tiny") == published
    assert Registry(tmp_path / "home").resolve("tiny") is None


PUBLISH = """
import json, sys
from pathlib import Path
from aimass.registry.bundle import load
from aimass.registry.store import Registry
bundles = [load(Path(folder)) for folder in sys.argv[2:]]
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([Registry(Path(sys.argv[1])).publish(b).version for b in bundles]))
"""


def test_two_processes_publish_at_once(three: list[Bundle], tmp_path: Path) -> None:
    folders = [str(bundle.folder) for bundle in three]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PUBLISH, str(tmp_path / "home"), *order],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for order in (folders, folders[::-1])
    ]
    for child in children:  # both have imported everything before either begins
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [json.loads(child.communicate(timeout=200)[0]) for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert said[0] == said[1][::-1]  # both say the same version of the same bundle
    found = Registry(tmp_path / "home").versions("tiny")
    assert [v.version for v in found] == [3, 2, 1]
    assert {v.digest for v in found} == {bundle.digest for bundle in three}
    assert sum(PRODUCTION in v.aliases for v in found) == 1
    assert all(load(v.folder).digest == v.digest for v in found)

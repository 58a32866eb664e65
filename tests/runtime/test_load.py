"""From a name to an engine: order, odd names, one load for many callers, damage that stays put."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from aimass.base.contract import RecognizeOptions
from aimass.base.errors import BundleError, IntegrityError, MissingExtra, UnknownModel
from aimass.base.settings import Settings
from aimass.registry import bundle as bundles
from aimass.registry import pretrained
from aimass.registry.store import Registry
from aimass.runtime import load as loading
from aimass.runtime.load import (
    Engines,
    Model,
    Parallelism,
    load,
    models,
    open_model,
    resolve,
    shipped,
)


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def repacked(target: Path, name: str, scores: int = 0) -> bundles.Bundle:
    """The shipped digits under another name; `scores` makes another version of it."""
    source = bundles.load(shipped()["digits"])
    target.mkdir()
    for file in (bundles.GRAPH, bundles.TOKENS, bundles.LICENCE):
        shutil.copy(source.folder / file, target)
    manifest = source.manifest.model_dump(mode="json", exclude={"format", "files"})
    manifest |= {"name": name, "scores": {"version": scores}}
    return bundles.write(target, manifest, source.golden())


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home whose registry knows ``spoken`` in two versions, and ``digits`` in one."""
    home = tmp_path_factory.mktemp("home")
    registry = Registry(home)
    for number in (1, 2):
        folder = tmp_path_factory.mktemp("bundles") / "b"
        registry.publish(repacked(folder, "spoken", number))
    registry.point("spoken", "trial", 1)
    registry.publish(repacked(tmp_path_factory.mktemp("bundles") / "b", "digits", 3))
    return Settings(home=home)


def test_the_shipped_bundle_needs_no_registry(config: Settings) -> None:
    found = resolve("digits", config)
    assert (found.kind, found.source, found.digest) == ("bundle", "shipped", None)
    assert not (config.home / "registry.db").exists()


def test_the_registry_comes_before_what_is_shipped(published: Settings) -> None:
    found = resolve("digits", published)
    assert (found.reference, found.source) == ("digits@1", "registry")
    assert found.folder != shipped()["digits"]


def test_what_is_pulled_comes_last(test_home: Path) -> None:
    pretrained.pull("whisper-base", home=test_home)
    found = resolve("whisper-base", Settings(home=test_home))
    assert (found.kind, found.source) == ("whisper", "pretrained")


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("spoken", "spoken@2"),  # production, where publishing puts it
        ("spoken@production", "spoken@2"),
        ("spoken@trial", "spoken@1"),
        ("spoken@1", "spoken@1"),
        ("spoken@2", "spoken@2"),
    ],
)
def test_aliases_and_versions(published: Settings, name: str, reference: str) -> None:
    assert resolve(name, published).reference == reference


def test_every_listed_name_resolves_to_what_the_list_says(published: Settings) -> None:
    for model in models(published):
        found = resolve(model.reference, published)
        if model.reference != "digits":  # shipped, but the registry comes first
            assert found == model


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../digits", "a/../digits", "/etc/passwd", "digits/", "C:\\digits",
        "digits@", "@production", "digits@a@b", "digits@../x", "digits ", " digits", "digits\n",
        "digits\0", "-digits", "x" * 65, "ä", "digits%2f..", "~", "$HOME", "file:///etc",
        "digits'; DROP TABLE models; --",
    ],
)  # fmt: skip
def test_odd_names_lead_nowhere(config: Settings, name: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        resolve(name, config)
    assert caught.value.param == "model" and len(str(caught.value)) < 400


def test_an_unknown_name_is_answered_with_those_there_are(published: Settings) -> None:
    with pytest.raises(UnknownModel) as caught:
        resolve("spokn", published)
    assert set(caught.value.expected.removeprefix("one of ").split(", ")) == {"spoken", "digits"}
    assert "aimass models list" in caught.value.fix


def test_a_model_that_can_be_pulled_is_answered_with_the_command(config: Settings) -> None:
    with pytest.raises(UnknownModel) as caught:
        resolve("whisper-base", config)
    assert caught.value.fix == "Type: aimass models pull whisper-base"


@pytest.mark.parametrize("name", ["spoken@nothing", "spoken@3", "digits@2"])
def test_an_unknown_version_or_alias(published: Settings, name: str) -> None:
    with pytest.raises(UnknownModel):
        resolve(name, published)


@pytest.mark.parametrize("cores", [1, 2, 4, 64])
def test_parallelism_keeps_two_workers_and_uses_no_more_than_there_is(
    monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    found = Parallelism.of_machine()
    assert 2 <= found.workers <= 8
    assert found.workers * found.threads <= max(cores, 2)
    assert Parallelism.of_machine(3).workers == 3


def test_a_loaded_model_hears_its_golden_input() -> None:
    engine = load("digits")
    golden = bundles.load(shipped()["digits"]).golden()
    assert engine.recognize(golden.samples, RecognizeOptions()).text == golden.text


def test_an_engine_that_is_not_installed_is_named(config: Settings) -> None:
    model = Model("a", "a", "nonesuch", "pretrained", config.home)
    with pytest.raises(MissingExtra, match="nonesuch"):
        open_model(model)


def test_sixteen_threads_load_a_model_once(published: Settings) -> None:
    opened: list[str] = []
    engines = Engines(published, lambda model: opened.append(model.reference))
    together = threading.Barrier(16)

    def get(number: int) -> int:
        together.wait()
        return id(engines.get(("spoken@1", "spoken@2")[number % 2]))

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(get, range(16)))
    assert sorted(opened) == ["spoken@1", "spoken@2"]
    assert len(set(found)) == 2 and len(set(found[::2])) == 1
    engines.close()


def test_names_of_one_version_share_its_engine(published: Settings) -> None:
    engines = Engines(published)
    assert engines.get("spoken") is engines.get("spoken@2") is engines.get("spoken@production")


def test_ready_gives_only_what_is_loaded_and_fresh(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = Engines(published)
    assert engines.ready("spoken") is None
    engine = engines.get("spoken")
    assert engines.ready("spoken") is engine
    monkeypatch.setattr(loading, "FRESH_SECONDS", -1.0)
    assert engines.ready("spoken") is None


class _Fake:
    def __init__(self, name: str) -> None:
        self.name, self.closed = name, 0

    def close(self) -> None:
        self.closed += 1


def _fakes(monkeypatch: pytest.MonkeyPatch, *failing: str) -> list[str]:
    """Replace loading by fakes, any name being a model; gives the list of what was loaded."""
    loaded: list[str] = []

    def opened(model: Model, *_: object) -> _Fake:
        loaded.append(model.name)
        if model.name in failing:
            raise RuntimeError("out of memory")
        return _Fake(model.name)

    def found(reference: str, *_: object) -> Model:
        return Model(reference, reference, "fake", "pretrained", Path("/") / reference)

    monkeypatch.setattr(loading, "resolve", found)
    monkeypatch.setattr(loading, "open_model", opened)
    return loaded


def test_the_model_unused_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = _fakes(monkeypatch)
    engines = Engines(Settings(max_models=2))
    for name in ("a", "b", "a", "c", "a", "b"):
        engines.get(name)
    assert loaded == ["a", "b", "c", "b"]  # c put b out, and b put c out
    assert engines.ready("a") is not None and engines.ready("c") is None


def test_no_more_models_stay_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    _fakes(monkeypatch)
    engines = Engines(Settings(max_models=3))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(engines.get, [f"m{i % 10}" for i in range(200)]))
    assert sum(engines.ready(f"m{i}") is not None for i in range(10)) == 3


def test_names_made_up_by_clients_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    _fakes(monkeypatch)
    engines = Engines(Settings(max_models=1))
    for number in range(loading.MAX_REMEMBERED + 5):
        engines.get(f"m{number}")
    assert len(engines._meaning) <= loading.MAX_REMEMBERED


def test_a_failed_load_is_told_to_all_and_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = _fakes(monkeypatch, "bad")
    engines = Engines(Settings())
    for _ in range(2):
        with pytest.raises(BundleError, match="out of memory"):
            engines.get("bad")
    assert engines.get("good").name == "good"
    assert loaded == ["bad", "bad", "good"]


@pytest.mark.parametrize("file", [bundles.GRAPH, bundles.TOKENS, bundles.GOLDEN, bundles.LICENCE])
def test_a_damaged_bundle_is_refused_and_other_models_go_on(
    published: Settings, tmp_path: Path, file: str
) -> None:
    config = _copy(published, tmp_path)
    engines = Engines(config)
    damaged = resolve("spoken@1", config).folder / file
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    for _ in range(2):
        with pytest.raises(IntegrityError):
            engines.get("spoken@1")
    assert engines.get("spoken@2").name == "spoken"


def test_a_whole_bundle_that_is_not_the_published_one_is_refused(
    published: Settings, tmp_path: Path
) -> None:
    config = _copy(published, tmp_path)
    folder = resolve("spoken@1", config).folder
    shutil.rmtree(folder)
    shutil.copytree(resolve("spoken@2", config).folder, folder)
    with pytest.raises(IntegrityError, match="not the bundle that was published"):
        Engines(config).get("spoken@1")


def _copy(config: Settings, folder: Path) -> Settings:
    """A home of one's own to damage."""
    shutil.copytree(config.home, folder / "home")
    return Settings(home=folder / "home")


def test_close_closes_every_engine_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _fakes(monkeypatch)
    engines = Engines(Settings())
    found = [engines.get(name) for name in ("a", "b")]
    engines.close()
    engines.close()
    assert [SimpleNamespace(**vars(engine)).closed for engine in found] == [1, 1]

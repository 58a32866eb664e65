"""The cache: cached frames are the fresh ones, whatever is deleted or damaged, and by whomever."""

import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.base.contract import Samples
from aimass.features.cache import Cache
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract, extract_batch

from .heard import SPECS, speech

SPEC = FeatureSpec(sample_rate=8000, bins=23)


def piece(index: int, rate: int = 8000) -> Samples:
    return speech(rate)[100 * index : 100 * index + 4000]


def never() -> Frames:
    raise AssertionError("the frames should have been in the cache")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@settings(max_examples=30)
@given(st.data())
def test_cached_is_fresh(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("cache")
    cache = Cache(folder)
    for _ in range(3):
        spec = data.draw(st.sampled_from(SPECS))
        wanted = data.draw(st.lists(st.integers(0, 9), max_size=6))
        pieces = [piece(i, spec.sample_rate) for i in wanted]
        fresh = extract_batch(pieces, spec)

        def make(missing: list[int], found: list[Frames] = fresh) -> list[Frames]:
            return [found[index] for index in missing]

        for _ in range(2):
            found = cache.get_batch([str(i) for i in wanted], spec, make)
            assert len(found) == len(fresh)
            # A sound that was kept in another batch may differ from this one by rounding.
            assert all(np.allclose(a, b, atol=1e-3) for a, b in zip(found, fresh, strict=True))
        if data.draw(st.booleans()):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("spec", SPECS)
def test_kept_bit_for_bit_and_not_made_again(tmp_path: Path, spec: FeatureSpec) -> None:
    fresh = extract(piece(0, spec.sample_rate), spec)
    assert Cache(tmp_path).get("a", spec, lambda: fresh) is fresh
    found = Cache(tmp_path).get("a", spec, never)
    assert np.array_equal(found, fresh)
    assert found.dtype == np.float32 and found.shape == fresh.shape
    found += 1  # the caller's own
    assert np.array_equal(Cache(tmp_path).get("a", spec, never), fresh)


def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    cache, asked = Cache(tmp_path), list[list[int]]()

    def make(missing: list[int]) -> list[Frames]:
        asked.append(missing)
        return [np.full((2, 23), index, np.float32) for index in missing]

    cache.get_batch(["a", "b"], SPEC, make)
    cache.get_batch(["c", "a", "d", "b"], SPEC, make)
    cache.get_batch(["d", "c"], SPEC, make)
    assert asked == [[0, 1], [0, 2]]


def test_neither_sounds_nor_specs_are_mixed_up(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    specs = [SPEC, FeatureSpec(8000, 23, compression="pcen"), FeatureSpec(8000, 23, 30.0)]
    for spec in specs:
        for index in range(3):
            fresh = extract(piece(index), spec)
            assert np.array_equal(cache.get(f"{index}", spec, lambda f=fresh: f), fresh)  # type: ignore[misc]
    assert len(files(tmp_path)) == 9


@pytest.mark.parametrize(
    "name", ["../../escaped", "/etc/passwd", "", ".", "a\0b", "x" * 5000, "日本語", "a/b"]
)
def test_any_name_stays_inside(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "cache"
    fresh = extract(piece(0), SPEC)
    Cache(folder).get(name, SPEC, lambda: fresh)
    assert np.array_equal(Cache(folder).get(name, SPEC, never), fresh)
    assert len(files(folder)) == len(files(tmp_path)) == 1


@given(where=st.floats(0, 1), keep=st.booleans())
def test_a_damaged_file_is_made_again(
    tmp_path_factory: pytest.TempPathFactory, where: float, keep: bool
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    fresh = extract(piece(1), SPEC)
    Cache(folder).get("a", SPEC, lambda: fresh)
    (path,) = files(folder)
    content = bytearray(path.read_bytes())
    place = int(where * (len(content) - 1))
    content[place] ^= 1
    path.write_bytes(content if keep else content[:place])
    assert Cache(folder).get("a", SPEC, lambda: fresh) is fresh
    assert np.array_equal(Cache(folder).get("a", SPEC, never), fresh)


@pytest.mark.parametrize("stranger", [b"", b"abc", b"\x93NUMPY", bytes(4)])
def test_a_stranger_in_the_place_of_a_file(tmp_path: Path, stranger: bytes) -> None:
    fresh = extract(piece(1), SPEC)
    Cache(tmp_path).get("a", SPEC, lambda: fresh)
    files(tmp_path)[0].write_bytes(stranger)
    assert Cache(tmp_path).get("a", SPEC, lambda: fresh) is fresh


def test_frames_of_another_width_are_not_taken(tmp_path: Path) -> None:
    Cache(tmp_path).get("a", SPEC, lambda: np.zeros((4, 7), np.float32))
    fresh = extract(piece(0), SPEC)
    assert Cache(tmp_path).get("a", SPEC, lambda: fresh) is fresh


def test_a_folder_that_cannot_be_written_is_slow_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cache, fresh = Cache(blocked), extract(piece(0), SPEC)
    for _ in range(3):
        assert cache.get("a", SPEC, lambda: fresh) is fresh
    assert caplog.text.count("features are not kept") == 1
    assert blocked.read_text() == "not a folder"


def _work(folder: Path, seed: int) -> None:
    cache = Cache(folder)
    order = [(seed * 7 + step * 3) % 10 for step in range(40)]
    for step, index in enumerate(order):
        found = cache.get(str(index), SPEC, lambda i=index: extract(piece(i), SPEC))  # type: ignore[misc]
        assert np.array_equal(found, extract(piece(index), SPEC))
        if seed == 0 and step % 10 == 5:
            shutil.rmtree(folder, ignore_errors=True)


def test_processes_share_a_folder_that_one_of_them_deletes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(tmp_path / "c", seed)) for seed in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert not [path for path in files(tmp_path) if path.suffix != ".npy"]  # no half-written rest

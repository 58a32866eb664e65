"""Manifests that we write are the field's: Lhotse and our own reader find the same in them."""

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from lhotse import CutSet

from aimass.audio.decode import probe
from aimass.base.errors import AudioNotFound, DataError, NotAudio
from aimass.data import manifest
from aimass.data.corpus import Clip, read

from .folders import DIGITS, SAMPLES

JFK = SAMPLES / "jfk.wav"
NAMES = ["cuts.jsonl", "cuts.jsonl.gz"]


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_of_a_folder(tmp_path: Path, name: str) -> None:
    corpus = read(DIGITS)
    clips = corpus.clips[:20]
    manifest.write(clips, tmp_path / name, licence=corpus.licence)
    found = read(tmp_path / name)
    assert found.licence == corpus.licence
    assert [replace(clip, duration=None) for clip in found.clips] == list(clips)
    for clip in found.clips:
        assert clip.duration == pytest.approx(soundfile.info(clip.path).duration, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_second_round_trip_changes_nothing(tmp_path: Path, name: str) -> None:
    clips = (
        Clip("a", JFK, "and so", "jfk", "train", "en", 0.25, 1.5),
        Clip("b", JFK, 'Größe — 大きさ "quoted"', None, "dev", None, 3.0, 0.123456),
        Clip("c/d.flac", JFK, "ask", "x y", "test", "en", 0.0, 11.0),
    )
    manifest.write(clips, tmp_path / name, licence="free\nas in speech")
    once = read(tmp_path / name)
    assert once.clips == clips
    manifest.write(once.clips, tmp_path / f"again-{name}", licence=once.licence)
    again = read(tmp_path / f"again-{name}")
    assert (again.clips, again.licence) == (once.clips, once.licence)


def test_an_open_end_is_the_rest_of_the_recording(tmp_path: Path) -> None:
    manifest.write([Clip("end", JFK, "country", start=10.0)], tmp_path / "cuts.jsonl")
    (clip,) = read(tmp_path / "cuts.jsonl").clips
    assert clip.start + (clip.duration or 0) == pytest.approx(11.0)


def test_lhotse_reads_what_we_write(tmp_path: Path) -> None:
    manifest.write([Clip("a", JFK, "ask not", "jfk", "test", "en", 1.0, 2.5)], tmp_path / "c.jsonl")
    (cut,) = list(CutSet.from_file(tmp_path / "c.jsonl"))
    assert cut.num_samples == 40_000
    assert cut.supervisions[0].text == "ask not"
    wanted, _ = soundfile.read(JFK, start=16_000, frames=40_000, dtype="float32")
    assert (cut.load_audio()[0] == wanted).all()


def test_our_reader_takes_what_lhotse_writes(tmp_path: Path) -> None:
    manifest.write([Clip("a", JFK, "ask", "jfk", "test", "en", 1.0, 2.5)], tmp_path / "a.jsonl")
    cuts = CutSet.from_file(tmp_path / "a.jsonl")
    cuts.to_jsonl(tmp_path / "b.jsonl.gz")
    assert read(tmp_path / "b.jsonl.gz").clips == read(tmp_path / "a.jsonl").clips


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    clips = read(DIGITS).clips[:3]
    manifest.write(iter(clips), tmp_path / "c.jsonl", progress=lambda *step: told.append(step))
    assert told == [("manifest", n, 3) for n in (1, 2, 3)]


def test_a_recording_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(AudioNotFound):
        manifest.write([Clip("a", tmp_path / "gone.wav", "a")], tmp_path / "c.jsonl")


def test_a_recording_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.wav").write_text("<html>not found</html>")
    with pytest.raises(NotAudio, match=r"page\.wav: ") as caught:
        manifest.write([Clip("a", tmp_path / "page.wav", "a")], tmp_path / "c.jsonl")
    assert str(caught.value).count("page.wav") == 1


def test_a_recording_without_a_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = probe(JFK)
    monkeypatch.setattr("aimass.data.manifest.probe", lambda path: replace(info, duration=None))
    with pytest.raises(DataError, match="does not say how long") as caught:
        manifest.write([Clip("a", JFK, "a")], tmp_path / "c.jsonl")
    assert "wav or flac" in caught.value.fix

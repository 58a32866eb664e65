"""The report tells people and programs the same, stands alone, and lets every fault be heard."""

import json
import re
from pathlib import Path

import pytest
import soundfile

from aimass.data.checks import Code, check, counts
from aimass.data.corpus import Clip, Corpus, read
from aimass.data.measure import measure
from aimass.data.report import NUMBERS, PAGE, Report
from aimass.data.statistics import MAX_LABELS

from .faults import clean, planted
from .folders import DIGITS, SAMPLES


def report_on(folder: Path) -> Report:
    corpus = read(folder)
    measured = measure(corpus.clips).of
    return Report(corpus, measured, check(corpus, measured))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("faulty")
    planted(folder)
    return report_on(folder)


@pytest.fixture(scope="module")
def written(faulty: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "new"
    assert faulty.write(folder, examples=2, seconds=3.0) == folder / PAGE
    return folder


def test_programs_read_what_was_found(faulty: Report, written: Path) -> None:
    told = json.loads((written / NUMBERS).read_text())
    assert told == json.loads(json.dumps(faulty.to_dict()))
    assert told["counts"] == {str(code): n for code, n in counts(faulty.findings).items()}
    assert told["counts"]["duplicate_other_text"] == 2
    assert set(told["stops"]) == {
        "missing", "unreadable", "unreadable_rate", "silent", "empty_text", "too_short_for_text",
        "too_short",
    }  # fmt: skip
    assert told["columns"]["lang"] == "lang" and told["layout"]
    assert {row["name"] for row in told["statistics"]["split"]} == {"train", "dev", "test"}
    assert "splits of its own" in " ".join(told["notes"])


def test_every_fault_is_on_the_page_and_can_be_heard(faulty: Report, written: Path) -> None:
    page = (written / PAGE).read_text()
    links = re.findall(r'src="(audio/[^"]+)"', page)
    assert links and all((written / link).is_file() for link in links)
    for code in counts(faulty.findings):
        assert f'id="{code}"' in page
        section = page.partition(f'id="{code}"')[2].partition("</section>")[0]
        silent = code in {Code.MISSING, Code.UNREADABLE, Code.UNREADABLE_RATE, Code.EMPTY_TEXT}
        assert silent or "<audio" in section, code


def test_copies_are_short_and_few(written: Path) -> None:
    copies = list((written / "audio").iterdir())
    assert len(copies) <= 2 * len(Code) + 3
    assert all(soundfile.info(copy).duration <= 3.01 for copy in copies)


def test_the_page_needs_nothing_else(written: Path) -> None:
    page = (written / PAGE).read_text()
    assert not re.findall(r'(?:src|href)="(?!audio/|data:|#|report\.json)[^"]*"', page)
    assert "<script" not in page
    assert page.count("<svg") >= 6 and "data:image/png" in page
    for name in ("durations", "levels", "speaker", "label"):
        assert f'id="{name}-' in page


def test_labels_from_outside_are_no_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>$x$\x01"
    clip = Clip("a", SAMPLES / "jfk.wav", evil, speaker=evil)
    other = Clip("b", SAMPLES / "jfk.wav", "yes", speaker="b")
    corpus = Corpus((clip, other), evil, tmp_path)
    measured = measure(corpus.clips).of
    page = Report(corpus, measured, check(corpus, measured)).write(tmp_path / "out").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_a_clean_set_says_so(tmp_path: Path) -> None:
    clean(tmp_path / "data")
    report = report_on(tmp_path / "data")
    assert report.to_dict()["counts"] == {} and report.to_dict()["stops"] == []
    assert "Nothing was found" in report.write(tmp_path / "out").read_text()


def test_what_a_policy_leaves_out_stops_nothing(faulty: Report) -> None:
    left = Report(faulty.corpus, faulty.measurements, faulty.findings, [Code.SILENT])
    assert "silent" not in left.to_dict()["stops"]
    assert left.to_dict()["excluded"] == ["silent"]


def test_numbers_by_speaker_add_up() -> None:
    report = report_on(DIGITS)
    rows = report.statistics()
    for kind in ("split", "speaker", "label"):
        assert sum(row.clips for row in rows[kind]) == 300
        assert sum(row.hours for row in rows[kind]) == pytest.approx(
            report.to_dict()["hours"], rel=0.01
        )
    assert rows["language"] == []
    assert [row.clips for row in rows["speaker"]] == [50] * 6


def test_sentences_are_no_labels(tmp_path: Path) -> None:
    clips = tuple(
        Clip(str(n), SAMPLES / "jfk.wav", f"text {n}", start=n / 100, duration=0.5)
        for n in range(MAX_LABELS + 1)
    )
    corpus = Corpus(clips, "", tmp_path)
    assert "label" not in Report(corpus, measure(clips).of, []).statistics()


def test_how_clips_will_be_held_out_is_told(tmp_path: Path) -> None:
    clips = tuple(Clip(str(n), SAMPLES / "jfk.wav", "a", "eva") for n in range(3))
    notes = Report(Corpus(clips, "", tmp_path), measure(clips).of, []).notes()
    assert any("one speaker" in note for note in notes)

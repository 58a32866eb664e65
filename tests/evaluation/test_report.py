"""The report: all of it is there, it stands alone, and names cannot break it."""

import re
import xml.etree.ElementTree as Xml
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aimass.evaluation.plots import pictures
from aimass.evaluation.report import write_html
from aimass.evaluation.scorecard import Cost, Scored, read, score
from aimass.evaluation.verification import Trial, score_trials

ONE = Path(__file__).parents[2] / "samples/jfk.wav"
EVIL = "</text><script>alert('$x_1^{')</script>\x01 &amp; 向前"


def rows(count: int = 40, speakers: int = 4) -> list[Scored]:
    """Strings of words, every third wrong."""
    return [
        Scored(
            f"u{i:02d} {EVIL}",
            f"speaker {i % speakers} {EVIL}",
            f"one two {EVIL}",
            "one too" if i % 3 == 0 else f"one two {EVIL}",
            ("en", "de")[i % 2],
            confidence=0.5 + i / 100,
            audio=str(ONE),
            seconds=0.5 + i / 50,
            start=i / 10,
        )
        for i in range(count)
    ]


class Page(HTMLParser):
    """What a browser would load and show."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "data")]


def test_a_report_of_words(tmp_path: Path) -> None:
    card = score(rows(), "wer", cost=Cost(20.0, 1.0, 200.0, 0.04, 0.06, 7_000_000))
    path = write_html(card, tmp_path / "report", title=EVIL)
    page = Page(path)
    assert path == tmp_path / "report/index.html"
    assert page.tags.count("svg") == 4  # kinds, speakers, reliability, lengths
    assert "script" not in page.tags
    text = path.read_text(encoding="utf-8")
    for heading in (
        "Error by speaker", "Reliability of confidence", "Error by length", "Kinds of error",
        "Worst utterances", "Worst speakers", "Confusions", "Languages",
    ):  # fmt: skip
        assert heading in text
    assert "7.0 M" in text and "200 MB" in text
    assert read(path.parent / "scorecard.json") == card


def test_it_needs_nothing_but_its_folder(tmp_path: Path) -> None:
    path = write_html(score(rows(), "wer"), tmp_path)
    page = Page(path)
    local = [link for link in page.links if not link.startswith("#")]
    assert local
    assert all((tmp_path / link).is_file() for link in local)
    text = re.sub(r'xmlns(:\w+)?="[^"]*"', "", path.read_text(encoding="utf-8"))
    assert not re.search(r"https?:|@import|file:", text)
    assert "prefers-color-scheme: dark" in text


def test_sound_is_bounded(tmp_path: Path) -> None:
    some = [replace(row, seconds=9.0, start=3.0) for row in rows()]
    path = write_html(score(some, "wer"), tmp_path, most=5, seconds=2.0)
    copies = sorted((tmp_path / "audio").iterdir())
    assert len(copies) == 5
    sound, rate = soundfile.read(copies[0])
    assert len(sound) == 2 * rate
    whole, _ = soundfile.read(ONE)  # 16 kHz, as the copies
    assert np.abs(sound - whole[3 * rate : 5 * rate]).max() < 1e-3
    assert Page(path).tags.count("audio") >= 5


def test_recordings_that_are_gone_leave_the_numbers(tmp_path: Path) -> None:
    for audio in (str(tmp_path / "gone.wav"), None):
        some = [replace(row, audio=audio) for row in rows()]
        path = write_html(score(some, "wer"), tmp_path)
        assert "audio" not in Page(path).tags
        assert "Worst utterances" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("labels", [3, 20, 70, 300])
def test_a_report_of_labels(tmp_path: Path, labels: int) -> None:
    some = [
        Scored(f"u{i}", None, f"$label {i % labels}", f"$label {(i * i) % labels}", None, 0.5)
        for i in range(400)
    ]
    card = score(some, "classification_error")
    path = write_html(card, tmp_path)
    assert ("Confusion matrix" in path.read_text(encoding="utf-8")) == (labels <= 256)
    assert (card.matrix is not None) == (labels <= 256)
    assert "kinds" not in pictures(card)


@pytest.mark.parametrize("shift", [0, 1])
def test_a_model_that_is_always_right_or_never_has_a_report(tmp_path: Path, shift: int) -> None:
    some = [Scored(f"u{i}", None, str(i % 3), str((i + shift) % 3), None, 0.5) for i in range(30)]
    path = write_html(score(some, "classification_error"), tmp_path)
    assert "Confusion matrix" in path.read_text(encoding="utf-8")


def test_pictures_are_well_formed_and_apart() -> None:
    drawn = pictures(score(rows(), "wer"))
    identities: list[str] = []
    for svg in drawn.values():
        root = Xml.fromstring(svg)
        identities += [i for e in root.iter() if (i := e.get("id"))]
        assert "var(--accent)" in svg
        assert re.search(r"#0[1-6]0[1-6]0[1-6]", svg) is None
    assert len(identities) == len(set(identities))


def test_the_least_there_can_be(tmp_path: Path) -> None:
    assert write_html(score([], "wer"), tmp_path / "none").is_file()
    assert write_html(score([Scored("a", None, "", "x")], "cer"), tmp_path / "one").is_file()
    trials = [Trial(1.0, "a", "a"), Trial(0.0, "a", "b")]
    assert "trials" in write_html(score_trials(trials), tmp_path / "eer").read_text("utf-8")

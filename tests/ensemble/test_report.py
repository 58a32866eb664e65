"""The report on a massive model: all of it is there, it stands alone, and names cannot break it."""

import json
import re
import xml.etree.ElementTree as Xml
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

from aimass.base.errors import RequestError
from aimass.decoding.combine import Combination, Method
from aimass.ensemble.kept import Outputs
from aimass.ensemble.pictures import pictures
from aimass.ensemble.prune import PruneSpec, prune
from aimass.ensemble.report import Report, report
from aimass.ensemble.weigh import Judge
from aimass.evaluation.cost import Cost

from .test_weigh import WORDS, sayings
from .voices import LABELS, outputs

ONE = Path(__file__).parents[2] / "samples/jfk.wav"
EVIL = "</text><script>alert('$x_1^{')</script>\x01 &amp; 向前"


def heard(skills: list[float], *, audio: Path = ONE, evil: str = "") -> Outputs:
    """Members whose names, speakers and utterances may hold anything."""
    found = outputs(skills, count=40)
    return replace(
        found,
        names=tuple(name + evil for name in found.names),
        clips=tuple(
            replace(
                clip, id=clip.id + evil, speaker=f"{clip.speaker}{evil}", path=audio, start=n / 10
            )
            for n, clip in enumerate(found.clips)
        ),
    )


def reported(found: Outputs) -> Report:
    combinations = {m: Combination.equal(m, len(found.names)) for m in get_args(Method)}
    judge = Judge(found, combinations["geometric"], LABELS)
    return report(found, combinations, "geometric", LABELS, selection=prune(judge))


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


def test_a_page_of_labels(tmp_path: Path) -> None:
    found = heard([0.5, 1.0, 1.5], evil=EVIL)
    path = reported(found).write(tmp_path / "report", title=EVIL, chosen_on=EVIL)
    page = Page(path)
    assert path == tmp_path / "report/index.html"
    assert page.tags.count("svg") == 5  # curve, disagreement, correlation, before, after
    assert "script" not in page.tags
    text = path.read_text(encoding="utf-8")
    for heading in (
        "Members", "Ways to combine", "Error against cost as members join", "Disagreement",
        "Correlation of errors", "Confidence before calibration", "Confidence after calibration",
        "Who saves what",
    ):  # fmt: skip
        assert f"<h2>{heading}</h2>" in text
    for method in get_args(Method):
        assert f"<td>{method}</td>" in text


def test_numbers_for_programs(tmp_path: Path) -> None:
    made = reported(heard([0.5, 1.0, 1.5]))
    made.write(tmp_path)
    plain = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert plain == json.loads(json.dumps(made.to_dict()))
    assert [way["name"] for way in plain["methods"]] == list(get_args(Method))
    chosen = next(way for way in plain["methods"] if way["name"] == plain["chosen"])
    assert chosen["error_rate"] == pytest.approx(plain["weighing"]["error_rate"])
    assert chosen["apart"] == pytest.approx(-plain["weighing"]["gain"])
    assert len(plain["selection"]["steps"]) == 3


def test_it_needs_nothing_but_its_folder(tmp_path: Path) -> None:
    page = Page(reported(heard([0.5, 1.0, 1.5])).write(tmp_path))
    local = [link for link in page.links if not link.startswith("#")]
    assert any(link.startswith("audio/") for link in local)
    assert all((tmp_path / link).is_file() for link in local)
    text = re.sub(r'xmlns(:\w+)?="[^"]*"', "", (tmp_path / "index.html").read_text("utf-8"))
    assert not re.search(r"https?:|@import|file:", text)
    assert "prefers-color-scheme: dark" in text


def test_recordings_that_are_gone_leave_the_numbers(tmp_path: Path) -> None:
    made = reported(heard([0.5, 1.0, 1.5], audio=tmp_path / "gone.wav"))
    page = Page(made.write(tmp_path / "report"))
    assert "audio" not in page.tags
    assert any(made.saved)


def test_what_a_member_saves_is_shown_as_it_was_heard() -> None:
    made = reported(heard([0.5, 1.0, 1.5]))
    assert any(made.saved)
    for member, own in zip(made.weighing.members, made.saved, strict=True):
        assert tuple(one.clip.id for one in own) == member.saves
        assert all(one.together == one.clip.text != one.without for one in own)


def test_a_report_of_words_without_a_selection(tmp_path: Path) -> None:
    said = ["a b", "c", "b a", "a"]
    found = sayings(["a b", "c", "a", "b"], ["a", "c c", "b a", "a"], said=said)
    made = report(found, {"vote": Combination.equal("vote", 2)}, "vote", WORDS, language="en")
    page = Page(made.write(tmp_path))
    assert made.selection is None and made.weighing.metric == "wer"
    assert "Error against cost" not in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.tags.count("svg") == 4


def test_one_member_and_no_speakers(tmp_path: Path) -> None:
    found = outputs([2.0], speakers=0)
    path = report(found, {"one": Combination.equal("geometric", 1)}, "one", LABELS).write(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "over utterances" in text
    assert "<h2>Disagreement</h2>" not in text


def test_members_that_are_always_right_or_never(tmp_path: Path) -> None:
    for skill in (99.0, -99.0):
        made = reported(outputs([skill, skill]))
        assert made.write(tmp_path / str(skill)).is_file()
        assert made.weighing.correlation[0][1] is None


def test_costs_in_multiply_adds_and_costs_unknown(tmp_path: Path) -> None:
    found = outputs([0.5, 1.0])
    one = Combination.equal("geometric", 2)
    for name, part in {
        "known": found,
        "unknown": replace(found, costs=(Cost(), Cost())),
    }.items():
        selection = prune(Judge(part, one, LABELS), PruneSpec(unit="multiply_adds"))
        made = report(part, {"one": one}, "one", LABELS, selection=selection)
        text = made.write(tmp_path / name).read_text(encoding="utf-8")
        assert ("multiply-adds for 1 s of sound, million" in text) == (name == "known")


def test_pictures_are_well_formed_and_apart() -> None:
    made = reported(heard([0.5, 1.0, 1.5], evil=EVIL))
    drawn = pictures(made.weighing, made.selection, made.before, made.after)
    identities: list[str] = []
    for svg in drawn.values():
        root = Xml.fromstring(svg)
        identities += [i for e in root.iter() if (i := e.get("id"))]
        assert re.search(r"#0[1-6]0[1-6]0[1-6]", svg) is None
    assert len(identities) == len(set(identities))


def test_what_was_not_fitted_is_refused() -> None:
    found = outputs([0.5, 1.0])
    one = Combination.equal("geometric", 2)
    with pytest.raises(RequestError, match="'other'"):
        report(found, {"one": one}, "other", LABELS)
    few = prune(Judge(found.only([0]), one.only([0]), LABELS))
    with pytest.raises(RequestError, match="other members"):
        report(found, {"one": one}, "one", LABELS, selection=few)

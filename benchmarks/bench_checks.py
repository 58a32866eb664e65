"""How fast a corpus is prepared and checked, and how well wrong labels are found.

::

    python benchmarks/bench_checks.py ../shared/data/commands20 --out checks.json

cold      labels read, every recording decoded and measured, checked, the report written
again     the same with the measurements remembered
suspects  2 % of the labels replaced by another of the set at random, by name, so that every run
          spoils the same ones; then cross-validated: precision and recall by margin

Factors are seconds of sound for one second of wall time. The issue asks for a cold factor of 100
at least, on two cores; ``all`` is the cold run with the cross-validation.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from aimass.base.randomness import generator
from aimass.data.checks import Finding, check, counts
from aimass.data.corpus import Clip, Corpus, read
from aimass.data.measure import cores, measure
from aimass.data.report import Report
from aimass.lifecycle.suspects import SuspectSpec, cross_validated

SPOILT = 0.02
MARGINS = (0.0, 0.5, 0.8, 0.9, 0.95)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def prepare(source: Path, cache: Path, page: Path, steps: dict[str, float]) -> Report:
    corpus, steps["read"] = timed(lambda: read(source))
    measured, steps["measure"] = timed(lambda: measure(corpus.clips, cache))
    findings, steps["check"] = timed(lambda: check(corpus, measured.of))
    report = Report(corpus, measured.of, findings)
    _, steps["report"] = timed(lambda: report.write(page))
    return report


def spoil(corpus: Corpus) -> tuple[list[Clip], set[str]]:
    rng = generator(0, "spoilt labels")
    names = sorted({clip.text for clip in corpus.clips})
    chosen = rng.choice(len(corpus.clips), round(SPOILT * len(corpus.clips)), replace=False)
    clips = list(corpus.clips)
    for index in chosen.tolist():
        others = [name for name in names if name != clips[index].text]
        clips[index] = replace(clips[index], text=others[rng.integers(len(others))])
    return clips, {clips[index].id for index in chosen.tolist()}


def scores(found: list[Finding], spoilt: set[str]) -> list[dict[str, float]]:
    rows = []
    for margin in MARGINS:
        named = [one.clip in spoilt for one in found if (one.value or 0) >= margin]
        rows.append(
            {
                "margin": margin,
                "named": len(named),
                "precision": sum(named) / max(1, len(named)),
                "recall": sum(named) / len(spoilt),
            }
        )
    return rows


def run(source: Path, by_speaker: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"cores": cores(), "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        cache, page = Path(folder) / "cache", Path(folder) / "page"
        for name in ("cold", "again"):
            told[name] = {}
            report = prepare(source, cache, page, told[name])
        told["page_bytes"] = sum(f.stat().st_size for f in page.rglob("*") if f.is_file())
    seconds = sum(one.seconds for one in report.measurements.values())
    told["clips"], told["hours"] = len(report.corpus.clips), seconds / 3600
    told["counts"] = {str(code): n for code, n in counts(report.findings).items()}
    for name in ("cold", "again"):
        told[name]["factor"] = seconds / sum(told[name].values())
    rate = 8000 if next(iter(report.measurements.values())).rate <= 8000 else 16000
    spec = SuspectSpec(sample_rate=rate, by_speaker=by_speaker, margin=0.0)
    clips, spoilt = spoil(report.corpus)
    found, took = timed(lambda: cross_validated(clips, spec))
    told["suspects"] = {"seconds": took, "spoilt": len(spoilt), "scores": scores(found, spoilt)}
    whole = sum(v for k, v in told["cold"].items() if k != "factor") + took
    told["all"] = {"seconds": whole, "factor": seconds / whole}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path)
    parser.add_argument("--by-speaker", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    text = json.dumps(run(given.source, given.by_speaker), indent=2)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()

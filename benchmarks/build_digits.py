"""Builds the digits model from the raw recordings of FSDD, timed, and ships it on request.

    python benchmarks/build_digits.py PATH_TO_FSDD [--ship] [--output results.json]

PATH_TO_FSDD holds `metadata.tsv` with the official split: takes 0 to 4 of each digit and speaker
are the test. As the same speakers train and test there, takes 5 to 9 are dev. The build runs in a
home of its own, so nothing is reused. `--ship` puts the bundle into the package, as
`src/aimass/bundles/digits`.
"""

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from bench_robust import digit_splits

from aimass.base.contract import Task
from aimass.base.settings import Settings
from aimass.data import manifest
from aimass.data.corpus import read
from aimass.lifecycle.build import build
from aimass.lifecycle.scenario import Data, Scenario

SHIPPED = Path(__file__).parents[1] / "src/aimass/bundles/digits"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        started = time.perf_counter()
        corpus, source = read(given.data.resolve()), Path(home) / "fsdd.jsonl.gz"
        manifest.write(digit_splits(corpus), source, licence=corpus.licence)
        scenario = Scenario(
            name="digits", task=Task.TRANSCRIBE, language="en", data=Data(train=source)
        )
        built = build(scenario, config=Settings(home=Path(home)))
        seconds = time.perf_counter() - started
        files = list(built.bundle.folder.iterdir())
        result = {
            "seconds": round(seconds),
            "parameters": built.bundle.manifest.parameters,
            "precision": built.bundle.form.precision,
            "bundle_bytes": sum(file.stat().st_size for file in files),
            "scores": built.bundle.manifest.scores,
            "per_speaker": [asdict(row) for row in built.scorecard.per_speaker],
            "digest": built.bundle.digest,
        }
        if given.ship:
            shutil.rmtree(SHIPPED, ignore_errors=True)
            shutil.copytree(built.bundle.folder, SHIPPED)
    text = json.dumps(result, indent=2)
    print(text)
    if given.output:
        given.output.write_text(text + "\n")


if __name__ == "__main__":
    main()

"""What data and augmentation cost beside the training step, in one run.

    python benchmarks/bench_training.py PATH/commands20 [--noise PATH/noise] [--rooms PATH/rir]
        [--every 10]

Trains one member as `aimass build` does. The model's work is done by one thread; what the other
threads of the process spend is decoding, augmentation, features, batches and masks.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from aimass.base.settings import Settings
from aimass.cli.progress import shown
from aimass.data import manifest
from aimass.data.corpus import read
from aimass.lifecycle.build import job_of
from aimass.lifecycle.members import train_member
from aimass.lifecycle.prepare import prepare
from aimass.lifecycle.scenario import Scenario
from aimass.lifecycle.stages import Stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--noise", type=Path)
    parser.add_argument("--rooms", type=Path)
    parser.add_argument("--task", default="classify")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--every", type=int, default=1, help="take every n-th clip alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        measure(given, Path(home))


def measure(given: argparse.Namespace, home: Path) -> None:
    corpus, source = read(given.data.resolve()), home / "data.jsonl.gz"
    manifest.write(corpus.clips[:: given.every], source, licence=corpus.licence)
    plan = Scenario.model_validate(
        {
            "name": "bench",
            "task": given.task,
            "language": "zh+en",
            "data": {"train": source, "exclude": ["silent"]},
            "augment": {"noise": given.noise, "rooms": given.rooms},
            "training": {"epochs": given.epochs},
        }
    )
    with shown() as progress:
        config, stages = Settings(home=home), Stages(home / "builds/bench")
        prepared = prepare(plan, config, stages, progress)
        job = job_of(plan, plan.resolved()[0], prepared, stages, config)
        wall, whole, own = time.perf_counter(), time.process_time(), time.thread_time()
        train_member(job, stages.folder / "trained", progress)
        model = time.thread_time() - own
        data = time.process_time() - whole - model
        print(
            json.dumps(
                {
                    "wall_seconds": round(time.perf_counter() - wall, 1),
                    "model_seconds": round(model, 1),
                    "data_seconds": round(data, 1),
                    "data_over_model": round(data / model, 3),
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()

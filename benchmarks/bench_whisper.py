"""How well frozen layers of Whisper's encoder tell words apart: a small head behind each depth.

::

    OMP_NUM_THREADS=1 python benchmarks/bench_whisper.py DATA MODEL CACHE [--layers 1 3 6]
        [--every 4] [--epochs 20] [--seeds 1] [--padded]

DATA is a folder with metadata.tsv (file, speaker, text), MODEL a pulled Whisper, CACHE a scratch
folder. Speakers in order of name go round six groups: group 0 tests, group 1 is dev. No
augmentation but a shift in time: this measures what the layers hold, not the best that can be had.
``--padded`` fills every clip up to 30 s, as Whisper was trained, and keeps the clip's own frames.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from aimass.audio.decode import load
from aimass.features.spec import FeatureSpec
from aimass.features.stream import extract
from aimass.models.model import SpeechModel, parameters
from aimass.models.spec import ModelSpec
from aimass.models.whisper import WhisperEncoder, load_encoder
from aimass.training.examples import Batch
from aimass.training.objective import ClassifyObjective

FRAMES, GROUPS, BATCH = 100, 6, 32
SPEC = FeatureSpec(kind="whisper")
Row = dict[str, str]


def chosen(data: Path, every: int) -> list[Row]:
    """Every so many takes of each word by each speaker."""
    with (data / "metadata.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    seen: dict[tuple[str, str], int] = {}
    kept = []
    for row in rows:
        key = (row["speaker"], row["text"])
        seen[key] = seen.get(key, -1) + 1
        if seen[key] % every == 0:
            kept.append(row)
    return kept


class Depths(nn.Module):
    """The outputs of every depth at once, each normed."""

    def __init__(self, encoder: WhisperEncoder) -> None:
        super().__init__()
        self.encoder, self.found = encoder, list[torch.Tensor]()
        for layer in encoder.layers:
            layer.register_forward_hook(lambda module, given, y: self.found.append(y))

    @torch.no_grad()
    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map ``(frames, bins)`` to ``(depths, frames / 2, width)``."""
        self.found.clear()
        last, _ = self.encoder(frames.unsqueeze(0), torch.zeros(1, 0))
        width = (self.encoder.columns,)
        normed = [nn.functional.layer_norm(y, width) for y in self.found[:-1]]
        return torch.cat([*normed, last])


def encode(rows: list[Row], data: Path, depths: Depths, path: Path, padded: bool) -> None:
    """Write ``(clips, depths, FRAMES, width)`` in half precision."""
    shape = (len(rows), len(depths.encoder.layers), FRAMES, depths.encoder.columns)
    kept = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    for clip, row in zip(kept, rows, strict=True):
        samples = load(data / row["file"], rate=16000).mono()[: FRAMES * 320]
        frames = min(FRAMES, SPEC.frames(len(samples)) // 2)
        if padded:
            samples = np.pad(samples, (0, 30 * 16000 - len(samples)))
        heard = extract(samples, SPEC)
        found = depths(torch.from_numpy(heard[: len(heard) // 2 * 2]))[:, :frames].numpy()
        clip[:, :frames] = found
        clip[:, frames:] = found[:, -1:]


def errors(
    x: npt.NDArray[np.float16],
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    epochs: int,
    seed: int,
) -> tuple[npt.NDArray[np.bool_], int]:
    """Which clips a head that was trained on groups 2 and on gets wrong, and its parameters."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    size, width = int(labels.max()) + 1, x.shape[2]
    spec = ModelSpec("whisper", "classify", width, size, channels=128, blocks=2, stack=2)
    model, aim = SpeechModel(spec), ClassifyObjective()
    train = np.flatnonzero(groups > 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    plan = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-3, epochs * (len(train) // BATCH), pct_start=0.1, cycle_momentum=False
    )
    for _ in range(epochs):
        order = rng.permutation(train)[: len(train) // BATCH * BATCH]
        for rows in order.reshape(-1, BATCH):
            heard = np.roll(x[rows].astype(np.float32), rng.integers(8), axis=1)
            ends = np.full(BATCH, FRAMES // 2)
            batch = Batch(heard, ends, labels[rows], np.ones(BATCH, np.int64))
            outputs, _ = model(torch.from_numpy(heard), model.start(BATCH))
            optimizer.zero_grad()
            aim(outputs, batch).mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
            plan.step()
    model.eval()
    with torch.no_grad():
        found = [
            model(torch.from_numpy(part.astype(np.float32)), model.start(len(part)))[0][:, -1]
            for part in np.array_split(x, -(-len(x) // 64))
        ]
    return torch.cat(found).argmax(1).numpy() != labels, parameters(model)


def main() -> None:
    """Encode, unless it is there, then train and test a head for every depth."""
    options = argparse.ArgumentParser()
    for name in ("data", "model", "cache"):
        options.add_argument(name, type=Path)
    options.add_argument("--layers", type=int, nargs="*")
    for name, default in (("every", 4), ("epochs", 20), ("seeds", 1)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--padded", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(1)
    rows = chosen(given.data, given.every)
    deepest = max(given.layers) if given.layers else None  # nothing behind it is computed
    padded = "-padded" if given.padded else ""
    path = given.cache / f"{given.model.name}-{deepest}-{given.every}{padded}.npy"
    if not path.is_file():
        given.cache.mkdir(parents=True, exist_ok=True)
        begun = time.perf_counter()
        depths = Depths(load_encoder(given.model, deepest))
        encode(rows, given.data, depths, path, given.padded)
        print(f"encoded {len(rows)} clips in {time.perf_counter() - begun:.0f} s")
    everything = np.load(path, mmap_mode="r")
    speakers = np.array([row["speaker"] for row in rows])
    names = sorted(set(speakers))
    groups = np.array([names.index(s) % GROUPS for s in speakers])
    words = sorted({row["text"] for row in rows})
    labels = np.array([words.index(row["text"]) for row in rows])
    for layer in given.layers or range(1, everything.shape[1] + 1):
        x = np.ascontiguousarray(everything[:, layer - 1])
        for seed in range(given.seeds):
            wrong, size = errors(x, labels, groups, given.epochs, seed)
            rates = {
                name: 100 * wrong[groups == n].mean() for n, name in enumerate(("test", "dev"))
            }
            each = " ".join(
                f"{name}:{100 * wrong[speakers == name].mean():.1f}"
                for name in names
                if groups[speakers == name][0] < 2
            )
            print(
                f"{given.model.name} layers {layer} seed {seed}: test {rates['test']:.2f} % "
                f"dev {rates['dev']:.2f} % ({size} parameters; {each})",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""What trained members say before they are packed, by weights run in batches.

Many times as fast as the engine that serves them; packing refuses where it differs by over 1e-4.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from aimass.base.digests import of_file
from aimass.data.corpus import Corpus
from aimass.data.sound import sound_of
from aimass.ensemble.kept import Outputs, scored
from aimass.evaluation.cost import Cost
from aimass.features.spec import FeatureSpec
from aimass.features.stream import extract
from aimass.lifecycle.members import FEATURES, MODEL, WEIGHTS, padded
from aimass.models.model import SpeechModel
from aimass.models.spec import ModelSpec
from aimass.text.tokens import LabelSet
from aimass.training.examples import collate

BATCH = 64


@dataclass(frozen=True)
class Trained:
    """A member of a task classify as `aimass build` leaves it after training."""

    folder: Path
    labels: LabelSet
    name: str

    @property
    def digest(self) -> str:
        return of_file(self.folder / WEIGHTS)

    def outputs(self, corpus: Corpus) -> Outputs:
        """The last row of each utterance."""
        features = FeatureSpec(**json.loads((self.folder / FEATURES).read_text()))
        spec = ModelSpec.from_dict(json.loads((self.folder / MODEL).read_text()))
        model = SpeechModel(spec)
        model.load_state_dict(load_file(self.folder / WEIGHTS))
        model.eval()
        sounds = [sound_of(clip, features.sample_rate) for clip in corpus.clips]
        frames = [extract(padded(one, features.sample_rate), features) for one in sounds]
        order = sorted(range(len(frames)), key=lambda number: len(frames[number]))
        rows = dict(zip(order, _rows(model, [frames[n] for n in order]), strict=True))
        answers = []
        for number, (clip, sound) in enumerate(zip(corpus.clips, sounds, strict=True)):
            best = int(rows[number].argmax())
            sure = float(np.exp(rows[number].max()))
            seconds = len(sound) / features.sample_rate
            answers.append(scored(clip, self.labels.symbols[best], sure, seconds))
        return Outputs(
            (self.name,),
            tuple(corpus.clips),
            (tuple(rows[number] for number in range(len(frames))),),
            (tuple(answers),),
            (Cost(),),
            (features.frame_shift * spec.stack,),
        )


@torch.inference_mode()
def _rows(model: SpeechModel, frames: list[np.ndarray]) -> Iterator[np.ndarray]:
    for first in range(0, len(frames), BATCH):
        some = frames[first : first + BATCH]
        batch = collate(some, [()] * len(some), model.spec.stack)
        outputs, _ = model(torch.from_numpy(batch.features), model.start(len(some)))
        for own, length in zip(outputs.numpy(), batch.lengths, strict=True):
            yield own[length - 1 : length].copy()

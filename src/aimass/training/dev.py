"""The metric that decides when training stops and which weights are kept."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from rapidfuzz.distance import Levenshtein

from aimass.evaluation.verification import equal_error_rate
from aimass.features.spec import Frames
from aimass.models.model import SpeechModel
from aimass.training.examples import collate

AT_ONCE = 64  # utterances in one run of the model

Outputs = npt.NDArray[np.float32]


class DevSet:
    """Held-out utterances as they are, without augmentation.

    Args:
        frames: features of each utterance.
        targets: its token ids, its label, or for ``embed`` its speaker.
    """

    def __init__(self, frames: Sequence[Frames], targets: Sequence[tuple[int, ...]]) -> None:
        by_length = sorted(range(len(frames)), key=lambda index: len(frames[index]))
        self._frames = [frames[index] for index in by_length]
        self._targets = [targets[index] for index in by_length]

    def error(self, model: SpeechModel) -> float:
        """Token error rate, classification error or equal error rate, by the model's head."""
        outputs = self._outputs(model)
        if model.spec.head == "ctc":
            return _token_errors(outputs, self._targets)
        last = np.stack([rows[-1] for rows in outputs])
        labels = np.array([target[0] for target in self._targets])
        if model.spec.head == "classify":
            return float((last.argmax(axis=1) != labels).mean())
        first, second = np.triu_indices(len(labels), 1)
        alike = np.einsum("ij,ij->i", last[first], last[second])
        same = labels[first] == labels[second]
        return equal_error_rate(alike[same].tolist(), alike[~same].tolist()).rate

    @torch.no_grad()
    def _outputs(self, model: SpeechModel) -> list[Outputs]:
        """The rows of each utterance, ``(frames, outputs)``."""
        was_training = model.training
        model.eval()
        device = model.start(1).device
        found = []
        for first in range(0, len(self._frames), AT_ONCE):
            chosen = slice(first, first + AT_ONCE)
            batch = collate(self._frames[chosen], self._targets[chosen], model.spec.stack)
            features = torch.from_numpy(batch.features).to(device)
            rows = model(features, model.start(len(batch.lengths)))[0].float().cpu().numpy()
            found += [own[:length] for own, length in zip(rows, batch.lengths, strict=True)]
        model.train(was_training)
        return found


def _token_errors(outputs: Sequence[Outputs], targets: Sequence[tuple[int, ...]]) -> float:
    """Edits per token of the best path."""
    edits = 0
    for rows, target in zip(outputs, targets, strict=True):
        blank = rows.shape[1] - 1
        path = [token for token, _ in groupby(rows.argmax(axis=1).tolist()) if token != blank]
        edits += Levenshtein.distance(path, target)
    return edits / max(1, sum(map(len, targets)))

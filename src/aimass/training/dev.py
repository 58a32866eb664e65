"""The metric that decides when training stops and which weights are kept."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from rapidfuzz.distance import Levenshtein

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
        return equal_error(last, labels)

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


def equal_error(embeddings: Outputs, speakers: npt.NDArray[np.int64]) -> float:
    """Where as many pairs of one speaker are refused as pairs of two are accepted.

    Args:
        embeddings: of unit length, ``(utterances, size)``; all pairs are scored by their cosine.
    """
    first, second = np.triu_indices(len(speakers), 1)
    scores = np.einsum("ij,ij->i", embeddings[first], embeddings[second])
    same = (speakers[first] == speakers[second])[np.argsort(-scores, kind="stable")]
    missed = 1 - np.cumsum(same) / max(1, same.sum())
    accepted = np.cumsum(~same) / max(1, (~same).sum())
    crossing = int(np.argmin(np.abs(missed - accepted)))
    return float((missed[crossing] + accepted[crossing]) / 2)

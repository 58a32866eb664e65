"""Members of planted skill that all heard the same, for laws; no sound behind them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aimass.base.randomness import generator
from aimass.data.corpus import Clip
from aimass.ensemble.kept import Outputs, scored
from aimass.evaluation.cost import Cost
from aimass.text.tokens import LabelSet

LABELS = LabelSet(("left", "no", "right", "stop", "turn on"))


def clips(count: int, speakers: int = 4) -> tuple[Clip, ...]:
    """Utterances of labels in turn, the speakers in turn as well."""
    return tuple(
        Clip(
            f"u{n:03d}",
            Path(f"u{n:03d}.wav"),
            LABELS.symbols[n * 7 % LABELS.size],
            speaker=f"s{n % speakers}" if speakers else None,
            duration=1.0,
        )
        for n in range(count)
    )


def outputs(skills: Sequence[float], count: int = 60, seed: int = 0, speakers: int = 4) -> Outputs:
    """One member for each skill: how far the truth stands out of the noise of its scores."""
    heard = clips(count, speakers)
    truth = np.array([LABELS.symbols.index(clip.text) for clip in heard])
    rows, answers = [], []
    for number, skill in enumerate(skills):
        scores = generator(seed, "member", number).normal(0, 1, (count, LABELS.size))
        scores[np.arange(count), truth] += skill
        log_probs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        own = tuple(log_probs.astype(np.float32)[:, None, :])
        rows.append(own)
        answers.append(
            tuple(
                scored(clip, LABELS.symbols[row.argmax()], float(np.exp(row.max())), 1.0)
                for clip, row in zip(heard, own, strict=True)
            )
        )
    return Outputs(
        tuple(f"m{number}" for number in range(len(skills))),
        heard,
        tuple(rows),
        tuple(answers),
        tuple(
            Cost(1.0, 0.01 * (n + 1), None, None, None, 1000 * (n + 1)) for n in range(len(skills))
        ),
    )

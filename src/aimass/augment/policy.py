"""Named policies: which steps, how often, and the records by which they can be done again.

::

    record = draw(POLICIES["standard"], generator(seed, "augment", clip, 3), seconds, sounds)
    heard = apply([samples], [record], rate, sounds)[0]
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aimass.augment.channel import Codec, Telephone
from aimass.augment.level import Clip, Gain, Shift
from aimass.augment.noise import Babble, Noise
from aimass.augment.rooms import Reverb
from aimass.augment.sounds import Sounds
from aimass.augment.spectrogram import NO_MASKS, Masks
from aimass.augment.step import Entry, Step
from aimass.augment.timing import Speed, Tempo, Warp
from aimass.base.contract import Samples
from aimass.base.errors import DataError, ScenarioError

Record = list[Entry]
"""What was drawn for one utterance, step after step; plain data that survives JSON."""

_KINDS = (Speed, Tempo, Warp, Shift, Reverb, Noise, Babble, Gain, Clip, Telephone, Codec)

STEPS: dict[str, type[Step]] = {kind.kind: kind for kind in _KINDS}
"""Every step by the name that it gives itself."""

NO_SOUNDS = Sounds()
"""No recordings: all noise and all rooms are simulated."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What may happen to utterances, in the order in which it happens.

    Args:
        steps: each drawn on its own, with its own share.
        masks: what is hidden from the features, drawn anew in every training step.
    """

    name: str
    steps: tuple[Step, ...] = ()
    masks: Masks = NO_MASKS

    def at(self, strength: float) -> "Policy":
        """The policy at a strength from 0 (clean) to 1 (as it is).

        Less strength means fewer augmented utterances, not weaker ones. A new CTC model first
        says nothing but blank, and leaves that plateau sooner on plain examples (curriculum
        learning, Bengio et al. 2009).
        """
        part = min(1.0, max(0.0, strength))
        steps = tuple(replace(step, share=step.share * part) for step in self.steps)
        return replace(self, steps=steps, masks=self.masks.at(part))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for scenarios and lineage."""
        steps = [step.to_dict() for step in self.steps]
        return {"name": self.name, "steps": steps, "masks": self.masks.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Policy":
        """The inverse of `to_dict`.

        Raises:
            ScenarioError: an unknown step, field or value.
        """
        for name in values.keys() - {"name", "steps", "masks"}:
            raise ScenarioError(
                f"an augmentation policy with a field '{name}'",
                expected="name, steps and masks",
                fix="Correct the name, or remove the line",
                param=name,
            )
        for name, kind in (("steps", list | tuple), ("masks", dict)):
            if name in values and not isinstance(values[name], kind):
                raise ScenarioError(
                    f"an augmentation policy with {name}: {values[name]!r}"[:200],
                    expected="a list of steps; fields of masks",
                    fix=f"Correct '{name}'",
                    param=name,
                )
        steps = tuple(_step(one) for one in values.get("steps", []))
        masks = Masks.from_dict(values.get("masks", NO_MASKS.to_dict()))
        return cls(str(values.get("name", "own")), steps, masks)


def named(name: str) -> Policy:
    """A policy of `POLICIES`. Raises: ScenarioError when there is none of that name."""
    if name not in POLICIES:
        raise ScenarioError(
            f"the augmentation policy '{name}'",
            expected=f"one of {', '.join(POLICIES)}",
            fix="Correct the name, or write the steps out",
            param="policy",
        )
    return POLICIES[name]


def draw(
    policy: Policy, rng: np.random.Generator, seconds: float, sounds: Sounds = NO_SOUNDS
) -> Record:
    """What happens to one utterance of `seconds`: every number, file name and seed of it."""
    record: Record = []
    for step in policy.steps:
        if rng.random() < step.share:
            entry = step.draw(rng, seconds, sounds)
            record += [entry] if entry else []
    return record


def apply(
    samples: Sequence[Samples],
    records: Sequence[Record],
    rate: int,
    sounds: Sounds = NO_SOUNDS,
) -> list[Samples]:
    """Do to each utterance what its record says, many utterances at once.

    An utterance comes out the same whatever else is in the batch, within rounding; lengths may
    change. The given arrays stay as they are; one without entries is given back itself.

    Raises:
        DataError: an empty utterance, an unknown step, or a recording that is not in `sounds`.
    """
    for number, one in enumerate(samples):
        if not len(one):
            raise _unfit(f"utterance {number} of the batch holds no samples", "sound")
    out, done = list(samples), [0] * len(samples)
    if len(records) != len(out):
        raise _unfit(f"{len(out)} utterances and {len(records)} records", "one record each")
    while kind := _next(records, done):
        rows = [n for n, record in enumerate(records) if _head(record, done[n]) == kind]
        entries = [records[n][done[n]] for n in rows]
        heard = STEPS[kind].apply([out[n] for n in rows], entries, rate, sounds)
        for n, one in zip(rows, heard, strict=True):
            out[n] = _within(one)
            done[n] += 1
    return out


def _next(records: Sequence[Record], done: list[int]) -> str | None:
    """The step to do now: one that no utterance needs only later, or else the most frequent."""
    heads = Counter(_head(record, done[n]) for n, record in enumerate(records))
    heads.pop(None, None)
    later = {e["step"] for n, record in enumerate(records) for e in record[done[n] + 1 :]}
    ready = [kind for kind in heads if kind not in later] or list(heads)
    kind = max(ready, key=heads.__getitem__, default=None)
    if kind is not None and kind not in STEPS:
        raise _unfit(f"a record has the step '{kind}'", f"one of {', '.join(STEPS)}")
    return kind


def _head(record: Record, position: int) -> str | None:
    return str(record[position]["step"]) if position < len(record) else None


def _within(samples: Samples) -> Samples:
    """Turned down where it would overshoot, as one turns down a recording."""
    peak = max(float(samples.max()), -float(samples.min()))
    return samples if peak <= 1 else samples * np.float32(0.999999 / peak)


def _step(values: Any) -> Step:
    kind = values.get("step") if isinstance(values, dict) else values
    if not isinstance(values, dict) or not isinstance(kind, str) or kind not in STEPS:
        raise ScenarioError(
            f"an augmentation step {kind!r}",
            expected=f"fields with a 'step' among {', '.join(STEPS)}",
            fix="Correct the name under 'step'",
            param="step",
        )
    return STEPS[kind].from_dict(values)


def _unfit(found: str, expected: str) -> DataError:
    return DataError(found, expected=expected, fix="Draw the records anew for these utterances")


POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("clean"),
        Policy(
            "light",
            (
                Speed(share=0.6, factor=(0.95, 1.05)),
                Noise(share=0.3, snr_db=(15.0, 40.0)),
                Gain(share=0.8, db=(-10.0, 6.0)),
            ),
            Masks(times=1, bands=1),
        ),
        Policy(
            "standard",
            (
                Speed(share=0.7),
                Warp(share=0.3),
                Shift(share=0.5),
                Reverb(share=0.2),
                Noise(share=0.6),
                Gain(share=0.8),
                Telephone(share=0.1),
            ),
            Masks(),
        ),
        Policy(
            "strong",
            (
                Speed(share=0.7, factor=(0.85, 1.15)),
                Tempo(share=0.2),
                Warp(share=0.5),
                Shift(share=0.5),
                Reverb(share=0.4),
                Babble(share=0.2),
                Noise(share=0.7, snr_db=(0.0, 25.0)),
                Gain(share=0.9),
                Clip(share=0.1),
                Telephone(share=0.15),
                Codec(share=0.1),
            ),
            Masks(time_share=0.12, band_share=0.2),
        ),
        Policy(
            "telephone",
            (
                Speed(share=0.7),
                Warp(share=0.3),
                Shift(share=0.5),
                Reverb(share=0.1),
                Noise(share=0.6),
                Gain(share=0.8, db=(-25.0, 6.0)),
                Clip(share=0.1),
                Codec(share=0.2, codecs=("amr", "opus"), bits=(4_000, 12_500)),
                Telephone(share=0.8),
            ),
            Masks(),
        ),
        Policy(
            "far",
            (
                Speed(share=0.7),
                Warp(share=0.3),
                Shift(share=0.5),
                Reverb(share=0.9, rt60=(0.2, 0.9), side=(3.0, 10.0), distance=(1.0, 5.0)),
                Babble(share=0.2, snr_db=(5.0, 20.0)),
                Noise(share=0.8, snr_db=(3.0, 25.0)),
                Gain(share=0.9, db=(-30.0, 0.0)),
            ),
            Masks(),
        ),
    )
}
"""From nothing to far field; a scenario names one or writes its own."""

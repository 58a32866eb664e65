"""Reverberation: recorded rooms, or rooms of a few drawn numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from aimass.augment.noise import power
from aimass.augment.sounds import Sounds
from aimass.augment.spectrum import convolved
from aimass.augment.step import Entry, Range, Step, seed, uniform
from aimass.base.contract import Samples
from aimass.base.randomness import generator

SOUND = 343.0  # metres per second
EARLY = 0.05  # seconds after the direct sound in which reflections are placed one by one
DEEP = 0.7  # share of the reverberation time that is kept: down to -42 dB
WALL = 0.3  # metres that talker and microphone keep from every wall

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverb(Step):
    """The echo of a room, with the direct sound left where it was in time.

    Args:
        recorded: share of recorded rooms where there are any; the rest is simulated.
        rt60: seconds in which the echo of a simulated room falls by 60 dB.
        side: length and width of a simulated room, metres; it is 2.4 to 4 m high.
        distance: from the talker to the microphone, metres, as far as the room allows.
    """

    kind: ClassVar[str] = "reverb"
    bounds: ClassVar[dict[str, Range]] = {
        "recorded": (0, 1),
        "rt60": (0.05, 2),
        "side": (1.5, 40),
        "distance": (0.1, 30),
    }
    recorded: float = 0.5
    rt60: Range = (0.15, 0.6)
    side: Range = (2.5, 8.0)
    distance: Range = (0.3, 2.5)

    def draw(self, rng: np.random.Generator, seconds: float, sounds: Sounds) -> Entry | None:
        """The recording; or size, places, reverberation time and seed of a simulated room."""
        if sounds.rooms and rng.random() < self.recorded:
            name = list(sounds.rooms)[rng.integers(len(sounds.rooms))]
            return {"step": self.kind, "recording": name}
        room = [uniform(rng, self.side, 2), uniform(rng, self.side, 2), uniform(rng, (2.4, 4), 2)]
        microphone = [uniform(rng, (WALL, length - WALL), 2) for length in room]
        away = rng.standard_normal(3) * (1, 1, 0.3)  # people stand and sit: hardly above
        away *= uniform(rng, self.distance) / np.linalg.norm(away)
        talker = np.clip(microphone + away, WALL, np.array(room) - WALL)
        return {
            "step": self.kind,
            "room": room,
            "microphone": microphone,
            "talker": [round(float(one), 2) for one in talker],
            "rt60": uniform(rng, self.rt60),
            "seed": seed(rng),
        }

    @classmethod
    def apply(
        cls, batch: Sequence[Samples], entries: Sequence[Entry], rate: int, sounds: Sounds
    ) -> list[Samples]:
        """The same shapes and as loud as before; the echo after the end is cut."""
        responses, lead = [], []
        for entry in entries:
            if "recording" in entry:
                responses.append(sounds.room(entry["recording"]).samples)
                lead.append(direct(responses[-1]))
            else:
                responses.append(simulated(entry, rate))
                lead.append(0)
        heard = convolved(batch, responses, lead)
        return [_as_loud(one, x) for one, x in zip(heard, batch, strict=True)]


def direct(response: Samples) -> int:
    """Where the direct sound arrives: the first sample of half the highest or more."""
    size = np.abs(response)
    return int((size >= 0.5 * size.max()).argmax())


def simulated(entry: Entry, rate: int) -> Samples:
    """The impulse response of a drawn room from the direct sound on, which is 1.

    Early reflections by the image-source method (Allen and Berkley 1979) with the wall's
    absorption by Eyring's formula; then noise that falls at the same pace, with the density of
    energy that image sources would have (Lehmann and Johansson 2010).
    """
    room, rt60 = np.array(entry["room"]), entry["rt60"]
    volume = float(room.prod())
    surface = 2 * volume * float((1 / room).sum())
    kept = np.exp(-24 * np.log(10) * volume / (SOUND * surface * rt60))  # of energy, at each wall
    places = np.array(entry["talker"]), np.array(entry["microphone"])
    length = max(round(DEEP * rt60 * rate), round(EARLY * rate)) + 1
    response = _early(room, places, np.sqrt(kept), rate, length)
    time = np.arange(length) / rate
    first = max(0.1, float(np.linalg.norm(places[0] - places[1])))
    # c / (4 pi V) of energy each second, over 1 / (4 pi d)^2 of the direct sound.
    density = 4 * np.pi * SOUND * first**2 / volume / rate
    late = generator(entry["seed"]).standard_normal(length, np.float32)
    late *= np.sqrt(density) * np.exp(-3 * np.log(10) / rt60 * (time + first / SOUND))
    late[: round(EARLY * rate)] = 0
    return np.asarray(response + late, np.float32)


def _early(
    room: Points, places: tuple[Points, Points], reflection: float, rate: int, length: int
) -> Points:
    """Image sources as pulses, each divided between the two samples around its time."""
    talker, microphone = places
    first = float(np.linalg.norm(talker - microphone))
    reach = first + EARLY * SOUND
    axes, walls = [], []
    for side, own, ear in zip(room, talker, microphone, strict=True):
        most = int(np.ceil(reach / (2 * side)))
        number = np.arange(-most, most + 1)
        images = np.concatenate([2 * number * side + own, 2 * number * side - own]) - ear
        axes.append(images**2)
        walls.append(np.concatenate([2 * np.abs(number), np.abs(number - 1) + np.abs(number)]))
    squares = axes[0][:, None, None] + axes[1][:, None] + axes[2]
    near = squares <= reach**2
    distance = np.sqrt(squares[near])
    bounces = (walls[0][:, None, None] + walls[1][:, None] + walls[2])[near]
    loud = reflection**bounces * max(0.1, first) / np.maximum(distance, 0.1)
    late = (distance - first) / SOUND * rate
    low = np.maximum(late, 0).astype(int)
    part = np.maximum(late, 0) - low
    pulses: Points = np.zeros(length)
    pulses += np.bincount(low, loud * (1 - part), length)[:length]
    pulses += np.bincount(low + 1, loud * part, length)[:length]
    return pulses


def _as_loud(samples: Samples, before: Samples) -> Samples:
    """As much power as before; what was silent stays so."""
    now = power(samples)
    return samples * np.float32(np.sqrt(power(before) / now)) if now > 0 else samples

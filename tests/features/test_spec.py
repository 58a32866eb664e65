"""The spec: what fits, what is refused and how, and that bundles keep it."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aimass.base.errors import FeatureError
from aimass.features.spec import COMPRESSIONS, KINDS, WHISPER_BINS, FeatureSpec
from aimass.registry.bundle import Features

from .heard import SPECS

DIGITS = Path(__file__).parents[2] / "src/aimass/bundles/digits"


@st.composite
def specs(draw: st.DrawFn) -> FeatureSpec:
    kind = draw(st.sampled_from(KINDS))
    if kind == "whisper":
        return FeatureSpec(kind=kind, bins=draw(st.sampled_from(WHISPER_BINS)))
    shift = draw(st.floats(5, 20))
    return FeatureSpec(
        sample_rate=draw(st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000])),
        bins=draw(st.integers(3 if kind in ("fbank", "nemo") else 1, 23)),
        frame_length_ms=shift + draw(st.floats(15, 30)),
        frame_shift_ms=shift,
        kind=kind,
        compression=draw(st.sampled_from(COMPRESSIONS))
        if kind in ("fbank", "gammatone")
        else "log",
    )


@given(specs())
def test_a_spec_survives_a_bundle(spec: FeatureSpec) -> None:
    saved = tomli_w.dumps(Features(**spec.to_dict()).model_dump())
    read = FeatureSpec(**Features.model_validate(tomllib.loads(saved)).model_dump())
    assert read == spec
    assert read.digest == spec.digest


@given(specs())
def test_a_spec_survives_json(spec: FeatureSpec) -> None:
    assert FeatureSpec(**json.loads(json.dumps(spec.to_dict()))) == spec


def test_digests_tell_specs_apart() -> None:
    assert len({spec.digest for spec in SPECS}) == len(set(SPECS)) == len(SPECS)


def test_equal_numbers_have_one_digest() -> None:
    whole: Any = {"frame_length_ms": 25, "frame_shift_ms": 10}
    assert FeatureSpec(**whole) == FeatureSpec()
    assert FeatureSpec(**whole).digest == FeatureSpec().digest


def test_a_bundle_from_before_compression_had_names_loads() -> None:
    features = tomllib.loads((DIGITS / "bundle.toml").read_text())["features"]
    assert "compression" not in features
    spec = FeatureSpec(**Features.model_validate(features).model_dump())
    assert spec == FeatureSpec(8000, 40)
    assert (spec.kind, spec.compression) == ("fbank", "log")


def test_a_new_kind_renames_no_features_that_are_kept() -> None:
    assert FeatureSpec().digest.startswith("9c66a4d8cd7c5608")
    assert FeatureSpec(8000, 40).digest.startswith("3c8a0ca002f44de4")


def test_columns_shift_and_time() -> None:
    assert FeatureSpec().columns == 80
    assert FeatureSpec().frame_shift == 0.01
    assert FeatureSpec(kind="waveform").columns == 160
    odd = FeatureSpec(22050, bins=40)
    assert (odd.shift, odd.length) == (220, 551)
    assert odd.frame_shift == 220 / 22050


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "plp"}, "kind 'plp'.*fbank, mfcc, gammatone, waveform"),
        ({"compression": "root"}, "compression 'root'.*log, pcen"),
        ({"kind": "mfcc", "compression": "pcen"}, "pcen for features of kind mfcc"),
        ({"kind": "waveform", "compression": "pcen"}, "pcen for features of kind waveform"),
        ({"sample_rate": 4000}, "sample_rate 4000.*8000 to 48000"),
        ({"bins": 0}, "bins 0.*3 to 512"),
        ({"kind": "nemo", "bins": 2}, "bins 2.*3 to 512"),
        ({"kind": "mfcc", "bins": 0}, "bins 0.*1 to 512"),
        ({"kind": "nemo", "compression": "pcen"}, "pcen for features of kind nemo"),
        ({"kind": "nemo", "bins": 200}, "of 200 mel bands.*at 16000 Hz"),
        ({"bins": 40.5}, "bins 40.5.*whole number"),
        ({"sample_rate": "16000"}, "sample_rate '16000'.*number"),
        ({"bins": True}, "bins True.*number"),
        ({"frame_shift_ms": 0.0}, "frame_shift_ms 0.*1 to 25"),
        ({"frame_shift_ms": 30.0}, "frame_shift_ms 30.*1 to 25"),
        ({"frame_shift_ms": float("nan")}, "frame_shift_ms nan"),
        ({"frame_length_ms": float("inf")}, "frame_length_ms inf"),
        ({"bins": 200}, "of 200 mel bands.*fewer bins or a longer frame_length_ms"),
        ({"sample_rate": 8000, "bins": 128}, "of 128 mel bands.*at 8000 Hz"),
        ({"kind": "mfcc", "bins": 160}, "of 160 mel bands"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(FeatureError, match=words) as caught:
        FeatureSpec(**values)
    assert caught.value.param in values
    with pytest.raises(ValidationError):
        Features.model_validate(FeatureSpec().to_dict() | values, strict=True)


def test_filters_in_time_have_no_lines_to_miss() -> None:
    assert FeatureSpec(8000, bins=200, kind="gammatone").columns == 200

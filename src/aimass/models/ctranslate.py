"""Weights in CTranslate2's format, read as plain arrays.

::

    version, name of the spec, its revision
    number of variables, and for each: name, shape, type, bytes, content
    number of aliases, and for each: alias, name

Numbers are little-endian; a text is its length with a closing zero in 16 bits, then its bytes.
Source: ``src/models/model.cc`` and ``python/ctranslate2/specs/model_spec.py`` of CTranslate2.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from aimass.base.errors import BundleError

FILE = "model.bin"
VERSIONS = range(4, 7)
MAX_VARIABLES, MAX_RANK = 100_000, 4

Variables = dict[str, npt.NDArray[np.float32]]
_Raw = dict[str, npt.NDArray[np.generic]]

_INT8, _BFLOAT16 = 1, 5
_TYPES = {0: "<f4", _INT8: "<i1", 2: "<i2", 3: "<i4", 4: "<f2", _BFLOAT16: "<u2"}
_SCALE = "_scale"


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    shape: tuple[int, ...]
    kind: int
    bytes: int


def read(path: Path, wanted: Callable[[str], bool]) -> Variables:
    """The variables of a model whose names are `wanted`, in single precision.

    8-bit weights are divided by the scale that stands beside them. What is not wanted is not read.

    Raises:
        BundleError: no file of this format, or one that is cut short.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _scaled(_read(file, size, wanted))
    except (OSError, ValueError, struct.error) as error:
        raise BundleError(
            f"{path} cannot be read: {error}",
            expected=f"weights in CTranslate2's format, versions {VERSIONS[0]} to {VERSIONS[-1]}",
            fix="Pull the model again, or convert it with a newer CTranslate2",
        ) from error


def _read(file: IO[bytes], size: int, wanted: Callable[[str], bool]) -> _Raw:
    version = _number(file, "<I")
    if version not in VERSIONS:
        raise ValueError(f"its first number, the version, is {version}")
    _text(file)
    _number(file, "<I")
    count = _number(file, "<I")
    if count > MAX_VARIABLES:
        raise ValueError(f"it announces {count} variables")
    found: _Raw = {}
    for _ in range(count):
        one = _header(file)
        if file.tell() + one.bytes > size:
            raise ValueError(f"it ends within {one.name}")
        if wanted(one.name.removesuffix(_SCALE)):
            found[one.name] = _values(one, file.read(one.bytes))
        else:
            file.seek(one.bytes, 1)
    return found


def _header(file: IO[bytes]) -> _Variable:
    name = _text(file)
    rank = _number(file, "<B")
    if rank > MAX_RANK:
        raise ValueError(f"{name} has {rank} dimensions")
    shape = tuple(_number(file, "<I") for _ in range(rank))
    kind, length = _number(file, "<B"), _number(file, "<I")
    if kind not in _TYPES or length != math.prod(shape) * np.dtype(_TYPES[kind]).itemsize:
        raise ValueError(f"{name} has shape {shape}, type {kind} and {length} bytes")
    return _Variable(name, shape, kind, length)


def _values(one: _Variable, content: bytes) -> npt.NDArray[np.generic]:
    values = np.frombuffer(content, _TYPES[one.kind]).reshape(one.shape)
    if one.kind == _BFLOAT16:  # the upper half of a single
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values if one.kind == _INT8 else values.astype(np.float32)


def _scaled(found: _Raw) -> Variables:
    plain = {}
    for name, values in found.items():
        if name.endswith(_SCALE):
            continue
        plain[name] = values.astype(np.float32)
        if values.dtype == np.int8:
            if name + _SCALE not in found:
                raise ValueError(f"{name} has 8 bits and no scale")
            scale = np.asarray(found[name + _SCALE], np.float32)
            plain[name] /= scale.reshape(-1, *[1] * (values.ndim - 1))
    return plain


def _text(file: IO[bytes]) -> str:
    content = file.read(length := _number(file, "<H"))
    if len(content) != length or content[-1:] != b"\0":
        raise ValueError("a name in it is cut short")
    return content[:-1].decode()


def _number(file: IO[bytes], form: str) -> int:
    (number,) = struct.unpack(form, file.read(struct.calcsize(form)))
    return int(number)

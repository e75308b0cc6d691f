"""The `.saga` file: a trained model beside its scene (safetensors: numbers and text, never code)."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.atomic_write import atomic_write, create_file
from blender_saga.wire.codec import MAX_ID

from ..methods.click_gaussian import storage
from ..methods.saga.model import AffinityModel
from ..segments.segments import Segments
from .scene_model import SceneModel

FORMAT = "2"
_LENGTH = struct.Struct("<Q")  # of a safetensors file's header
_ENTRIES = {"fingerprint": str, "source": str, "count": int, "steps": int, "settings": str}


@dataclass(frozen=True)
class Header:
    """The facts of a model file.

    Attributes:
        fingerprint: of the model's cloud (GaussianCloud.fingerprint).
        source: path of the splat file of the training, or "".
        count: number of Gaussians.
        steps: optimizer steps.
        settings: training settings as JSON text.
    """

    fingerprint: str
    source: str = ""
    count: int = 0
    steps: int = 0
    settings: str = "{}"


def save(path: str | Path, model: SceneModel, header: Header) -> None:
    """Write a model. An older file stays intact until the new one is complete.

    Raises:
        UserError: if the file cannot be written.
    """
    write_tensors(Path(path), *contents(model, header))


def contents(model: SceneModel, header: Header) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """The arrays of a model's file and the facts of its header."""
    facts: dict[str, object] = asdict(header) | {"count": model.count, "steps": model.steps, "format": FORMAT}
    tensors: dict[str, np.ndarray] = {
        "segments.offsets": model.segments.offsets.astype(np.int64),
        "segments.ids": model.segments.ids.astype(np.int32),
        "segments.scales": model.segments.scales.astype(np.float32),
        "segments.standing": model.segments.prominence.astype(np.float32),
        "quantiles": model.quantiles.astype(np.float32),
    }
    if model.affinity is not None:
        tensors["features"] = model.affinity.features.astype(np.float16)
        tensors["gate"] = model.affinity.gate.astype(np.float32)
        tensors["affinity.quantiles"] = model.affinity.quantiles.astype(np.float32)
    if model.levels is not None:
        tensors |= storage.arrays_of(model.levels)
    return tensors, facts


def pack(tensors: dict[str, np.ndarray], facts: dict[str, object]) -> bytes:
    """The bytes of a `.saga` file."""
    return to_bytes(tensors, {"saga": json.dumps(facts)})


def unpack(data: bytes, name: str) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and facts from the bytes of a `.saga` file; their contents are unchecked.

    Args:
        data: the bytes.
        name: the file name for error texts.

    Raises:
        UserError: if the bytes are no such file.
    """
    try:
        tensors = from_bytes(data)  # first: it checks the length of the header
        end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        metadata = json.loads(data[_LENGTH.size : end]).get("__metadata__") or {}
        facts = json.loads(metadata.get("saga", "{}"))
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:  # KeyError: a number type unknown to numpy
        raise UserError(
            f"{name} is not a readable .saga file", str(error), "Train the scene again", ErrorCode.BAD_MODEL
        ) from error
    return tensors, facts if isinstance(facts, dict) else {}


def write_tensors(path: Path, tensors: dict[str, np.ndarray], facts: dict[str, object]) -> None:
    """Write a `.saga` file from arrays and facts. An older file stays intact until the new one is complete.

    Raises:
        UserError: if it cannot be written.
    """
    with _write_errors(path), atomic_write(path) as part:
        part.write_bytes(pack(tensors, facts))


def check_writable(path: str | Path) -> None:
    """Make sure that a file can be written to a path, before a long training.

    Raises:
        UserError: if not.
    """
    path = Path(path)
    trial = path.with_name(f"{path.name}.{os.getpid()}.trial")
    with _write_errors(path):
        create_file(trial)
        trial.unlink()


@contextlib.contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Turn errors of writing into a UserError."""
    try:
        yield
    except OSError as error:
        fix = "Choose a folder that you may write to, with room on its disk"
        why = error.strerror or str(error)
        raise UserError(f"The model cannot be saved to {path}", why, fix, ErrorCode.CANNOT_WRITE) from error


def load(path: str | Path, fingerprint: str = "") -> tuple[SceneModel, Header]:
    """Read a model.

    Args:
        path: the `.saga` file.
        fingerprint: of the expected cloud; "" accepts any.

    Raises:
        UserError: if the file is missing, is no `.saga` file, or belongs to another cloud.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}", fix="Train the scene first", code=ErrorCode.NO_MODEL)
    return build_model(*read_file(path), path.name, fingerprint)


def read_file(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and facts of a `.saga` file; their contents are unchecked.

    Raises:
        UserError: if it is no such file.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            facts = json.loads((file.metadata() or {}).get("saga", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a file, not a dict
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError, MemoryError) as error:
        what = f"{path.name} is not a readable .saga file"
        raise UserError(what, str(error), "Train the scene again", ErrorCode.BAD_MODEL) from error
    return tensors, facts if isinstance(facts, dict) else {}


def build_model(
    tensors: dict[str, np.ndarray], facts: dict, name: str, fingerprint: str = ""
) -> tuple[SceneModel, Header]:
    """Validate the arrays and facts of a file and build the model from them.

    Args:
        tensors, facts: from `read_file` or `unpack`.
        name: the file name for error texts.
        fingerprint: as in `load`.

    Raises:
        UserError: if they are no model, or the model of another cloud.
    """
    retrain = "Train the scene again"
    if facts.get("format") != FORMAT:
        why = f"its format is {facts.get('format', 'unknown')}, this version reads {FORMAT}"
        raise UserError(f"{name} is not a readable .saga file", why, retrain, ErrorCode.BAD_MODEL)
    complete = all(type(facts.get(entry)) is kind for entry, kind in _ENTRIES.items())
    if not complete or not 0 <= facts["steps"] < MAX_ID:  # the range of the wire format
        raise UserError(
            f"{name} is not a readable .saga file", "its header is incomplete", retrain, ErrorCode.BAD_MODEL
        )
    header = Header(*(facts[entry] for entry in _ENTRIES))
    if fingerprint and header.fingerprint != fingerprint:
        why = "the cloud has changed since the training, or the file belongs to another scene"
        raise UserError(f"{name} is the model of another cloud", why, retrain, ErrorCode.OTHER_CLOUD)
    return _checked(tensors, header, name), header


def _checked(tensors: dict[str, np.ndarray], header: Header, name: str) -> SceneModel:
    bad = UserError(
        f"{name} is not a readable .saga file", "its arrays are missing, not finite or of the wrong size",
        "Train the scene again", ErrorCode.BAD_MODEL,
    )  # fmt: skip
    if not all(np.isfinite(array).all() for array in tensors.values()):
        raise bad
    segments, quantiles = _segments(tensors, header.count), tensors.get("quantiles", np.zeros(0))
    if segments is None or quantiles.ndim != 1 or len(quantiles) < 2:
        raise bad
    levels = None
    if "levels.features" in tensors:
        levels = storage.from_arrays(tensors, header.count, header.steps)
        if levels is None:
            raise bad
    if "features" not in tensors:
        return SceneModel(segments, quantiles, levels=levels)
    empty = np.zeros(0)
    features, gate, table = (tensors.get(key, empty) for key in ("features", "gate", "affinity.quantiles"))
    if features.shape != (header.count, gate.shape[-1]) or gate.shape != (2, features.shape[-1]) or len(table) < 2:
        raise bad
    return SceneModel(segments, quantiles, AffinityModel(features.astype(np.float32), gate, table, header.steps))


def _segments(tensors: dict[str, np.ndarray], count: int) -> Segments | None:
    """The segments of `count` Gaussians; None if the arrays describe none."""
    keys = ("offsets", "ids", "scales", "standing")
    offsets, ids, scales, prominence = (tensors.get(f"segments.{key}", np.zeros(0)) for key in keys)
    if any(array.ndim != 1 for array in (offsets, ids, scales, prominence)) or len(offsets) != len(scales) + 1:
        return None
    if len(prominence) != len(scales) or not (prominence > 0).all():
        return None
    if offsets.dtype != np.int64 or offsets[0] != 0 or offsets[-1] != len(ids) or (np.diff(offsets) < 0).any():
        return None
    if count < 0 or ids.dtype != np.int32 or (len(ids) and not 0 <= ids.min() <= ids.max() < count):
        return None
    if (np.diff(scales, prepend=0) < 0).any():
        return None
    return Segments(offsets, ids, scales, count, prominence)

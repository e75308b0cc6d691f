"""The `.saga` file: a trained model beside the scene it belongs to (safetensors: numbers and text, never code)."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from blender_saga.wire.errors import UserError

from .model import AffinityModel

FORMAT = "1"
_ENTRIES = {"fingerprint": str, "source": str, "count": int, "steps": int, "settings": str}


@dataclass(frozen=True)
class Header:
    """What the file says about its model.

    Attributes:
        fingerprint: of the cloud the model belongs to (GaussianCloud.fingerprint).
        source: path of the splat file it was trained on, or "".
        count: number of Gaussians.
        steps: optimiser steps.
        settings: training settings as JSON text.
    """

    fingerprint: str
    source: str = ""
    count: int = 0
    steps: int = 0
    settings: str = "{}"


def save(path: str | Path, model: AffinityModel, header: Header) -> None:
    """Write a model; an older file stays whole until the new one is complete.

    Raises:
        UserError: if the file cannot be written.
    """
    path = Path(path)
    facts: dict[str, object] = asdict(header) | {"count": len(model.features), "steps": model.steps, "format": FORMAT}
    tensors: dict[str, np.ndarray] = {
        "features": model.features.astype(np.float16),
        "gate": model.gate.astype(np.float32),
        "quantiles": model.quantiles.astype(np.float32),
    }
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(to_bytes(tensors, {"saga": json.dumps(facts)}))
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # it may never have come to be
            beside.unlink()
        fix = "Choose a folder that you may write to, with room on its disk"
        why = error.strerror or str(error)
        raise UserError(f"The model cannot be saved to {path}", why, fix, "cannot_write") from error


def load(path: str | Path, fingerprint: str = "") -> tuple[AffinityModel, Header]:
    """Read a model.

    Args:
        path: the `.saga` file.
        fingerprint: of the cloud it must belong to; "" takes any.

    Raises:
        UserError: if the file is missing, is no `.saga` file or belongs to another cloud.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}", fix="Train the scene first", code="no_model")
    retrain = "Train the scene again"
    try:
        with safe_open(str(path), framework="numpy") as file:
            facts = json.loads((file.metadata() or {}).get("saga", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a file, not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path.name} is not a readable .saga file", str(error), retrain, "bad_model") from error
    facts = facts if isinstance(facts, dict) else {}
    if facts.get("format") != FORMAT:
        why = f"its format is {facts.get('format', 'unknown')}, this version reads {FORMAT}"
        raise UserError(f"{path.name} is not a readable .saga file", why, retrain, "bad_model")
    if not all(isinstance(facts.get(name), kind) for name, kind in _ENTRIES.items()):
        raise UserError(f"{path.name} is not a readable .saga file", "its header is not whole", retrain, "bad_model")
    header = Header(*(facts[name] for name in _ENTRIES))
    if fingerprint and header.fingerprint != fingerprint:
        why = "the cloud has changed since, or the file is another scene's"
        raise UserError(f"{path.name} is the model of another cloud", why, retrain, "other_cloud")
    return _checked(tensors, header, path.name), header


def _checked(tensors: dict[str, np.ndarray], header: Header, name: str) -> AffinityModel:
    empty = np.zeros(0)
    features, gate, quantiles = (tensors.get(key, empty) for key in ("features", "gate", "quantiles"))
    fits = features.shape == (header.count, gate.shape[-1]) and gate.shape == (2, features.shape[-1])
    fits = fits and quantiles.ndim == 1 and len(quantiles) > 1
    if not fits or not all(np.isfinite(a).all() for a in (features, gate, quantiles)):
        why = "its arrays are missing, not finite or of the wrong size"
        raise UserError(f"{name} is not a readable .saga file", why, "Train the scene again", "bad_model")
    return AffinityModel(features.astype(np.float32), gate, quantiles, header.steps)

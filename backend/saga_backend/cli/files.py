"""Input files of the command line (scenes, labels, views), and its progress output."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.formats.registry import read_splat
from blender_saga.gaussians.loaded import LoadedSplat
from blender_saga.gaussians.view import View, look_at

from ..common.progress import Control

log = logging.getLogger(__name__)


def read_scene(path: Path) -> LoadedSplat:
    """Read a splat of any format and log its warnings.

    Raises:
        UserError: if it cannot be read.
    """
    loaded = read_splat(path)
    for warning in loaded.warnings:
        log.warning("%s: %s", path.name, warning)
    log.info("%s: %d Gaussians, SH degree %d", path.name, len(loaded.cloud), loaded.cloud.sh_degree)
    return loaded


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of the Gaussians of a cloud, [N] or [N,2] int32, and names by label for each column."""

    values: np.ndarray
    names: tuple[dict[int, str], ...]


def read_labels(path: Path, loaded: LoadedSplat) -> Labels:
    """Read the labels of a file's vertices, without the labels of dropped Gaussians.

    Names come from an `objects.json` beside the file, if there is one.

    Raises:
        UserError: if the file is no integer array with a row for every vertex.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"The labels {path} cannot be read", str(error), "Save them with numpy.save") from error
    count = len(loaded.cloud) if loaded.kept is None else len(loaded.kept)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu":
        raise UserError(
            f"The labels {path.name} cannot be used", "they are not whole numbers", fix="Save them as int32, 0 for none"
        )
    if values.shape not in ((count,), (count, 1), (count, 2)):
        raise UserError(
            f"The labels {path.name} do not fit the scene",
            f"their shape is {list(values.shape)}, and the file has {count} Gaussians",
            f"Give int [{count}] or [{count},2]",
        )
    values = values if loaded.kept is None else values[loaded.kept]
    if not (values > 0).any():
        raise UserError(
            f"The labels {path.name} cannot be used",
            "all of them are 0, which means no object",
            fix="Give all Gaussians of an object the same number, from 1 on",
        )
    return Labels(np.maximum(values, 0).astype(np.int32), (_names(path.with_name("objects.json")), {}))


def _names(path: Path) -> dict[int, str]:
    try:
        objects = json.loads(path.read_text(encoding="utf-8"))["objects"]
        return {int(entry["id"]): str(entry["name"]) for entry in objects}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is not readable, so the objects have no names (%r)", path, error)
        return {}


def read_view(path: Path) -> View:
    """Read a view file (formats: `select --help`).

    Raises:
        UserError: if it is missing or no view.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        size = (int(values["width"]), int(values["height"]))
        if "eye" in values:
            return _look_at_view(values, *size)
        return View(values["viewmat"], values["K"], *size, bool(values.get("orthographic", False)))
    except OSError as error:
        raise UserError(
            f"The view {path} cannot be read",
            error.strerror or str(error),
            fix="Check that the file exists and that you may read it",
        ) from error
    except KeyError as error:
        raise UserError(f"The view {path.name} cannot be used", f"it has no {error}", "See select --help") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"The view {path.name} cannot be used", str(error), "See select --help") from error


def _look_at_view(values: dict, width: int, height: int) -> View:
    eye, target = np.array(values["eye"], float), np.array(values["target"], float)
    up, fov = np.array(values.get("up", (0, -1, 0)), float), float(values.get("fov", 50))
    if not all(v.shape == (3,) and np.isfinite(v).all() for v in (eye, target, up)) or not 0 < fov < 180:
        raise ValueError("eye, target and up must have three numbers each, and fov must lie between 0 and 180 degrees")
    if np.allclose(eye, target) or not up.any():
        raise ValueError("eye and target are the same place, or up has no direction")
    focal = 0.5 * width / np.tan(np.radians(fov) / 2)
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return View(look_at(eye, target, up), K, width, height)


def check_output(path: Path) -> None:
    """Reject an output path that cannot be written, before the work.

    Raises:
        UserError: if its folder is missing, or it is a folder.
    """
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path} cannot be written", "its folder does not exist", "Make the folder first")
    if path.is_dir():
        raise UserError(f"{path} cannot be written", "it is a folder", "Give the name of a file")


def check_folder(folder: Path) -> None:
    """Refuse a folder for pictures that cannot be made, before the work.

    Raises:
        UserError: if it is a file or its parent is missing.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The pictures cannot be written to {folder}",
            error.strerror or str(error),
            fix="Choose a folder that you may write to",
        ) from error


def save_picture(folder: Path, name: str, picture: np.ndarray) -> Path:
    """Write a picture [H,W,3] uint8 as NAME.png; returns its path.

    Raises:
        UserError: if it cannot be written.
    """
    from PIL import Image  # not for every command

    path = folder / (name.removesuffix(".ply").replace("/", "_").replace("\\", "_") + ".png")
    try:
        Image.fromarray(picture).save(path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written", error.strerror or str(error), fix="Choose another place for it"
        ) from error
    return path


class LoggedControl(Control):
    """Progress as lines on standard error: each new phase, then at most one line every five seconds.

    Attributes:
        seconds: duration of each phase, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self._phase, self._begun, self._printed = "", time.monotonic(), 0.0

    def emit(self, phase: str, step: int, total: int) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self.end()
            self._phase, self._begun, self._printed = phase, now, now
            print(f"{phase} ...", file=sys.stderr, flush=True)
        elif now - self._printed >= 5:
            self._printed = now
            left = (now - self._begun) * (total - step) / max(step, 1)
            print(f"{phase}: {step} of {total}, about {left:.0f} s left", file=sys.stderr, flush=True)

    def end(self) -> None:
        """End the current phase."""
        if self._phase:
            took = time.monotonic() - self._begun
            self.seconds[self._phase] = round(self.seconds.get(self._phase, 0.0) + took, 2)
        self._phase = ""


def check_fingerprint(cloud: GaussianCloud, expected: str, model: Path, scene: Path) -> None:
    """Reject a model of another cloud.

    Raises:
        UserError: if the fingerprints differ.
    """
    if cloud.fingerprint() != expected:
        raise UserError(
            f"The model {model.name} does not belong to {scene.name}",
            "it was trained on another cloud",
            "Train again, or give the right splat with --scene",
            code=ErrorCode.FINGERPRINT,
        )

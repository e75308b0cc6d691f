"""From options to views and masks, for `train` and `evaluate`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud

from ..cameras.photo import Frame
from ..cameras.read import Cameras, read_cameras
from ..common.progress import Control
from ..training.sources import Inputs, ViewSize, capture_frames, load_folder_masks, read_photo_inputs
from ..training.train import Sources
from .checkout import need_checkout
from .options import FAULTS

if TYPE_CHECKING:
    from ..evaluation.simulated import MaskDamage  # only a checkout has it

log = logging.getLogger(__name__)

_NAMES = ("builtin", "simulated")


@dataclass(frozen=True, eq=False)
class Subject:
    """The cloud of a training, its labels [N] or [N,2] if any, and its views if given."""

    cloud: GaussianCloud
    labels: np.ndarray | None = None
    frames: Sequence[Frame] = ()


def from_photos(options: argparse.Namespace) -> bool:
    """Whether --views names cameras of photos."""
    return isinstance(options.views, str) and options.views != "virtual"


def view_limit(options: argparse.Namespace) -> int:
    """Maximum number of virtual views; 0: the default."""
    return options.views if isinstance(options.views, int) else options.view_limit


def photo_cameras(path: Path, log_notes: bool = True) -> Cameras:
    """Cameras at the size of their photos; logs a note for each omission.

    Raises:
        UserError: if there are none.
    """
    cameras = read_cameras(path)
    for note in cameras.notes if log_notes else ():
        log.warning("%s: %s", path.name, note)
    return cameras


def photo_frames(options: argparse.Namespace, cloud: GaussianCloud) -> list[Frame]:
    """The frames of --views at the size to render, without those that do not see the splat.

    Raises:
        UserError: if no frame sees the splat.
    """
    inputs = read_photo_inputs(Path(options.views), cloud, ViewSize(options.view_limit, options.width, options.height))
    _log_notes(inputs)
    view = inputs.frames[0].view
    log.info("%d views of %d x %d pixels", len(inputs.frames), view.width, view.height)
    return list(inputs.frames)


def _log_notes(inputs: Inputs) -> None:
    for note in inputs.notes:
        log.warning("%s", note)


def capture_views(options: argparse.Namespace, cloud: GaussianCloud, control: Control) -> list[Frame]:
    """Virtual views of the splat, whose y axis points down."""
    size = ViewSize(view_limit(options), options.width, options.height)
    frames, coverage = capture_frames(cloud, size, control, up=(0.0, -1.0, 0.0))
    log.info("%d virtual views, coverage %.0f %%", len(frames), 100 * coverage)
    return frames


def mask_source(options: argparse.Namespace) -> str:
    """ "builtin", "simulated", or the name of a folder."""
    return options.masks or ("simulated" if getattr(options, "synthetic", False) else "builtin")


def given_faults(options: argparse.Namespace) -> dict[str, Any]:
    """The faults of simulated masks that were asked for, by the names of MaskDamage.

    Raises:
        UserError: if there are some and the masks are not simulated.
    """
    given = {name: value for name in FAULTS if (value := getattr(options, name)) is not None}
    if given and mask_source(options) != "simulated":
        what = f"--{next(iter(given))} applies to simulated masks"
        raise UserError(what, f"the masks are {mask_source(options)}", "Add --masks simulated, or leave it out")
    if "ragged" in given:
        given["ragged"] = tuple(given["ragged"])
    return given


def damage(options: argparse.Namespace) -> MaskDamage:
    """The faults of simulated masks.

    Raises:
        UserError: if they are given for other masks, or are out of range.
    """
    given = given_faults(options)
    need_checkout("evaluation/simulated.py", "--masks simulated")
    from ..evaluation.simulated import MaskDamage

    return MaskDamage(**given)


def sources(options: argparse.Namespace, subject: Subject, control: Control) -> tuple[Sources, Sequence[Frame]]:
    """The sources of a training, and its views if they are known already.

    Raises:
        UserError: for missing or unsuitable masks or labels.
    """
    kind, frames = mask_source(options), subject.frames
    given_faults(options)
    if kind == "builtin":
        return Sources([f.view for f in frames] or None), frames
    if kind == "simulated":
        return _simulated(options, subject, control)
    if kind not in _NAMES and not Path(kind).is_dir():
        why = "it is neither a folder nor one of " + ", ".join(_NAMES)
        raise UserError(f"There are no masks {kind}", why, fix="Give one of these")
    frames = frames or capture_views(options, subject.cloud, control)
    inputs = Inputs(frames)
    load_folder_masks(Path(kind), inputs)
    _log_notes(inputs)
    return Sources([frame.view for frame in frames], inputs.masks), frames


def _simulated(options: argparse.Namespace, subject: Subject, control: Control) -> tuple[Sources, Sequence[Frame]]:
    """Masks made from the labels, and the views they are in."""
    faults = damage(options)
    from ..evaluation.simulated import SimulatedMasks

    if subject.labels is None:
        raise UserError("Simulated masks need labels", "there are none", "Give --labels labels.npy")
    frames = subject.frames or capture_views(options, subject.cloud, control)
    views = [frame.view for frame in frames]
    return Sources(views, SimulatedMasks(subject.cloud, subject.labels, views, options.seed, faults)), frames

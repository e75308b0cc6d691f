"""The views and masks of a training, for a message from Blender and for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from blender_saga.errors import REPORT, ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire import codec
from blender_saga.wire.messages import Train, TrainSettings, TrainSources

from ..cameras.photo import Frame, virtual_frames
from ..cameras.read import frames_with_splat, read_cameras, resize_frames, subsample
from ..cameras.virtual import CaptureSettings, capture
from ..common.progress import Control
from ..common.validation import check_shape, check_view
from ..masks.cache import MaskCache
from ..masks.extract import Local, Pictures, extract, tasks_of
from ..masks.mask_folder import MaskFolder
from ..masks.sam.generator import fit
from ..masks.sam.model import chosen_file, open_sam
from ..masks.sam.settings import SamSettings
from ..methods.checkpoint import training_key
from ..rasterizer.select import rasterizer

DEFAULT_VIEWS = 40
"""Maximum number of virtual views of the splat."""
MASKS = ("builtin", "files", "sam")


@dataclass(frozen=True)
class ViewSize:
    """Maximum number of views (0: all), and their size in pixels (0: see `cameras.read.resize_frames`)."""

    limit: int = 0
    width: int = 0
    height: int = 0


@dataclass(eq=False)
class Inputs:
    """The views and masks of a training.

    Attributes:
        frames: its views; empty: the training captures views of the splat itself.
        masks: [M,H,W] bool of every view, or None for the built-in masks.
        coverage: share of the splat's surface that the views see, 0 to 1; 1 if unknown.
        notes: sentences for the user about omissions and assumptions.
    """

    frames: Sequence[Frame] = ()
    masks: Sequence[np.ndarray] | None = None
    coverage: float = 1.0
    notes: list[str] = field(default_factory=list)

    @property
    def views(self) -> list[View] | None:
        """The views for `train.Sources`; None without frames."""
        return [frame.view for frame in self.frames] or None


def prepare_inputs(
    sources: TrainSources, cloud: GaussianCloud, settings: TrainSettings, control: Control, device: str = "cpu"
) -> Inputs:
    """The inputs of a Train message; Segment Anything runs on `device`.

    Raises:
        UserError: if the sources are not usable; no work was done.
    """
    size = ViewSize(settings.views, settings.width, settings.height)
    if sources.masks not in MASKS:
        raise UserError(
            f"There is no mask source '{sources.masks}'", fix=f"Use: {', '.join(MASKS)}", code=ErrorCode.BAD_SETTINGS
        )
    if sources.cameras and sources.views:
        raise UserError(
            "Views come from photos or from cameras, not from both",
            fix="Choose one of the two",
            code=ErrorCode.BAD_SETTINGS,
        )
    inputs = _message_views(sources, cloud, size)
    if sources.masks != "builtin":
        if not inputs.frames:
            inputs.frames, inputs.coverage = capture_frames(cloud, size, control, up=(0.0, 0.0, 1.0))
        if sources.masks == "sam":
            find_masks(sources, inputs, cloud, device, control)
        load_folder_masks(Path(sources.masks_folder), inputs)
    return inputs


def request_key(request: Train) -> str:
    """The key of a training's inputs, which ignores the path of the model file.

    Files of photos and masks count by name, size and time. Masks that the training finds itself do not count.
    """
    from_files = request.sources.masks == "files"
    files = [request.sources.cameras, request.sources.masks_folder if from_files else ""]
    return training_key(codec.encode(0, replace(request, model_file="")), files=[path for path in files if path])


def find_masks(sources: TrainSources, inputs: Inputs, cloud: GaussianCloud, device: str, control: Control) -> None:
    """Find the masks of the frames with Segment Anything and keep them in `masks_folder`; existing masks are reused.

    Raises:
        UserError: if its weights or settings cannot be used, or the masks cannot be kept.
        Cancelled: if the control was cancelled; finished masks stay.
    """
    if not sources.masks_folder:
        raise UserError(
            "There is no folder to keep the masks in", fix="Choose a folder for the masks", code=ErrorCode.BAD_SETTINGS
        )
    values = vars(sources.sam).copy()
    sam = open_sam(chosen_file(values.pop("weights")), device, control)
    settings, notes = fit(sam, SamSettings(**values))
    pictures = Pictures(cloud, rasterizer(device), settings.longest_side)
    tasks = tasks_of(inputs.frames, pictures, settings, sam.sha256)
    engine = Local(sam, settings, notes)
    done = extract(tasks, MaskCache(Path(sources.masks_folder)), engine, pictures, control)
    inputs.notes.extend(notes)
    if done.reused:
        inputs.notes.append(f"The masks of {done.reused} of {len(tasks)} pictures came from an earlier run")


def _message_views(sources: TrainSources, cloud: GaussianCloud, size: ViewSize) -> Inputs:
    if sources.cameras:
        return read_photo_inputs(Path(sources.cameras), cloud, size, sources.to_object)
    if not sources.views:
        return Inputs()
    for view in sources.views:
        check_view(view)
        if sources.masks == "sam":
            check_shape(view)
    frames = virtual_frames(list(sources.views))
    if sources.names:
        if len(sources.names) != len(frames):
            why = f"{len(sources.names)} names for {len(frames)} views"
            raise UserError("The views are not usable", why, fix=REPORT, code=ErrorCode.BAD_VIEW)
        # With an ending like photos have: otherwise ".001" of "Camera.001" would pass for one.
        frames = [replace(frame, name=f"{name}.png") for frame, name in zip(frames, sources.names, strict=True)]
    return _visible_inputs(frames, cloud, size)


def read_photo_inputs(path: Path, cloud: GaussianCloud, size: ViewSize, to_cloud: np.ndarray | None = None) -> Inputs:
    """The photo cameras that see the splat, at the size to draw.

    Args:
        path: see `cameras.read.read_cameras`.
        cloud: of the splat.
        size: of the views.
        to_cloud: [4,4] from the cameras' world to the space of the cloud; None: the spaces are the same.

    Raises:
        UserError: if no camera sees the splat.
    """
    cameras = read_cameras(path)
    frames = cameras.frames
    if to_cloud is not None:
        from_cloud = _inverse(to_cloud)
        frames = [replace(frame, view=frame.view.of_object(from_cloud)) for frame in frames]
    inputs = _visible_inputs(frames, cloud, size)
    inputs.notes[:0] = [f"{path.name}: {note}" for note in cameras.notes]
    return inputs


def _inverse(matrix: np.ndarray) -> np.ndarray:
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or np.linalg.det(matrix) == 0:
        why = "the transform from their world to the splat cannot be inverted"
        raise UserError(
            "The cameras are not usable",
            why,
            fix="Give the splat's object a scale other than zero",
            code=ErrorCode.BAD_VIEW,
        )
    return np.linalg.inv(matrix)


def _visible_inputs(frames: list[Frame], cloud: GaussianCloud, size: ViewSize) -> Inputs:
    """The frames that see the splat, at the size to draw."""
    wanted = [replace(frame, view=to_cloud_units(frame.view)) for frame in subsample(frames, size.limit)]
    wanted = resize_frames(wanted, size.width, size.height)
    kept = frames_with_splat(wanted, cloud)
    left_out = len(wanted) - len(kept)
    notes = [f"{left_out} of {len(wanted)} views do not show the splat and were left out"] if left_out else []
    return Inputs(kept, notes=notes)


def to_cloud_units(view: View) -> View:
    """The same picture from a camera in the units of the cloud, which measure the sizes of masks.

    The matrix of a view of a scaled object contains the scale. A non-uniform rest of the scale stays in it.
    """
    scale = float(np.cbrt(abs(np.linalg.det(view.viewmat[:3, :3]))))
    if not scale > 0:
        raise UserError(
            "The view is not usable",
            "the scale of the object is zero",
            fix="Give the object a scale other than zero",
            code=ErrorCode.BAD_VIEW,
        )
    viewmat = view.viewmat.copy()
    viewmat[:3] /= scale
    K = view.K.copy()
    if view.orthographic:
        K[:2, :2] *= scale
    return replace(view, viewmat=viewmat, K=K, near=view.near / scale)


def capture_frames(
    cloud: GaussianCloud, size: ViewSize, control: Control, up: tuple[float, float, float]
) -> tuple[list[Frame], float]:
    """Virtual views of the splat, and the share of its surface that they see, 0 to 1."""
    settings = CaptureSettings(size.limit or DEFAULT_VIEWS, size.width or 480, size.height or 360, up)
    captured = capture(cloud, settings, control)
    return virtual_frames(captured.views), captured.coverage


def load_folder_masks(folder: Path, inputs: Inputs) -> None:
    """Use the masks of a folder for the frames of `inputs`, after a trial of the first file.

    Raises:
        UserError: if the folder is missing, fits no frame, or its first file cannot be used.
    """
    masks = MaskFolder(folder, inputs.frames)
    masks.check_first()
    if masks.missing:
        missing = f"{len(masks.missing)} of {len(masks)} views have no masks ({masks.missing[0]} ...)"
        inputs.notes.append(f"{folder.name}: {missing}")
    inputs.masks = masks

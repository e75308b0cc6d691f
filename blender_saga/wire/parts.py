"""What stands inside messages: settings, objects, prompts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..gaussians.cloud import GaussianCloud
from ..gaussians.view import View
from .message import Part, PathUse, path_field


def no_ids() -> np.ndarray:
    """[0] int32, which means all ids in order."""
    return np.zeros(0, np.int32)


def no_gaussians() -> GaussianCloud:
    """An empty cloud."""
    none = np.zeros((0, 3), np.float32)
    return GaussianCloud(none, np.zeros((0, 4), np.float32), none, none[:, 0], none[:, None])


@dataclass(frozen=True)
class TrainSettings(Part):
    """The user's settings of a training; 0 means the default of the device.

    Attributes:
        method: "saga" trains features with a scale; "click-gaussian" features of two levels; "segments" only finds the
            segments on which the masks agree.
        recipe: "prototypes" trains a code for every segment, "paper" a feature for every Gaussian, as its authors do;
            "three-levels" (click-gaussian) the paper's with a level between the two.
        steps: optimizer steps.
        views: limit of virtual views.
        width, height: pixels of a virtual view.
        pixels: pixels sampled a step.
        seed: seed of the random numbers.
    """

    method: str = "saga"
    recipe: str = "prototypes"
    steps: int = 0
    views: int = 0
    width: int = 0
    height: int = 0
    pixels: int = 0
    seed: int = 0


def no_turn() -> np.ndarray:
    """The identity, [4,4] float64."""
    return np.eye(4)


@dataclass(frozen=True)
class SamOptions(Part):
    """Settings of Segment Anything; the defaults are those of the paper.

    Attributes:
        weights: path of its weights file on the backend's machine.
        points_per_side: points per side of the prompt grid on the image.
        iou: lowest predicted quality of a mask, 0..1.
        stability: lowest IoU 0..1 of a mask with itself at another cut-off.
        nms: IoU 0..1 of boxes above which the worse of two masks is dropped.
        least_area: area in pixels below which islands are removed and holes are filled.
        crop_layers: number of extra passes over quarters, sixteenths and so on.
        longest_side: longest side in pixels; larger photos are scaled down, and views are rendered at this size.
    """

    weights: str = path_field(PathUse.file)
    points_per_side: int = 32
    iou: float = 0.88
    stability: float = 0.95
    nms: float = 0.7
    least_area: int = 100
    crop_layers: int = 0
    longest_side: int = 1024


@dataclass(frozen=True, eq=False)
class TrainSources(Part):
    """The views and masks of a training; the defaults need only the cloud.

    Without views and cameras, the backend chooses and renders views of the cloud.

    Attributes:
        views: cameras in the space of the cloud as it was loaded, of any size; they are rendered at the size of the
            settings.
        names: names of the views, which mask files use. Empty for view_000, view_001 and so on.
        cameras: path of the cameras of photos: a COLMAP folder, a transforms.json, an LLFF folder; "" for none.
        to_object: [4,4] from the world of those cameras to the space of the cloud as it was loaded.
        masks: "builtin": segments of the cloud itself; "files": those of `masks_folder`; "sam": Segment Anything finds
            them in the photos or views and keeps them in `masks_folder`.
        masks_folder: folder with a file for each photo or view.
        sam: settings of Segment Anything.
    """

    views: tuple[View, ...] = ()
    names: tuple[str, ...] = ()
    cameras: str = path_field(PathUse.cameras)
    to_object: np.ndarray = field(default_factory=no_turn)
    masks: str = "builtin"
    masks_folder: str = path_field(PathUse.masks_folder)
    sam: SamOptions = field(default_factory=SamOptions)


@dataclass(frozen=True, eq=False)
class ObjectPoints(Part):
    """An object of a query.

    Attributes:
        matrix: [4,4] float64, object to world.
        ids: [M] int32, `saga:id` of its points in order; empty means 0..count-1 of the scene.
        moved: [K] int32, 0..M-1: points that are not at the scene's center of their id, because copies were moved
            separately.
        cloud: K Gaussians: the moved points (without harmonics) in the space of the scene.
    """

    matrix: np.ndarray
    ids: np.ndarray = field(default_factory=no_ids)
    moved: np.ndarray = field(default_factory=no_ids)
    cloud: GaussianCloud = field(default_factory=no_gaussians)


@dataclass(frozen=True, eq=False)
class Prompt(Part):
    """A prompt in one view: clicked pixels, a box or a lasso, all of them positive or negative.

    Attributes:
        view: the view of the prompt, in world space.
        pixels: column and row, float32, origin at the top left corner. "points": [P,2], clicked pixels in
            the image. "box": [2,2], two opposite corners. "lasso": [K,2], the corners in order, K >= 3. Boxes and
            lassos may extend beyond the image.
        kind: "points", "box" or "lasso".
        positive: False to exclude.
    """

    view: View
    pixels: np.ndarray
    kind: str = "points"
    positive: bool = True


@dataclass(frozen=True)
class CleanUp(Part):
    """The cleanup of a selection, in this order; each step is optional and reported.

    Attributes:
        floaters: drop isolated specks, and faint Gaussians that are much larger than the others.
        connected: keep only the pieces that were clicked.
        holes: add small gaps that the selection surrounds.
        visible: keep only Gaussians that are visible in the view of a positive prompt.
    """

    floaters: bool = False
    connected: bool = False
    holes: bool = False
    visible: bool = False


@dataclass(frozen=True)
class Cleaned(Part):
    """The number of points that each step of the cleanup dropped (`holes`: added); 0 for skipped steps."""

    floaters: int = 0
    connected: int = 0
    holes: int = 0
    visible: int = 0


AUTOMATIC = -1.0
"""A scale or threshold that the backend chooses."""


def automatic(value: float | None) -> float:
    """A scale or threshold as it travels: None is AUTOMATIC."""
    return AUTOMATIC if value is None else value


@dataclass(frozen=True)
class SelectOptions(Part):
    """How a click is answered: the sidebar fills it, it travels in the click, and the backend reads it.

    Attributes:
        method: "segments": by the segments on which the masks agree; "saga": by similarity of features;
            "click-gaussian": by clusters; "auto": by the clusters where the scene has some, else by the segments where
            they hold the click and no threshold is given, else by features. An InstantClick has its own method.
        scale: granularity 0 (parts) to 1 (largest segments); negative: chosen from the click.
        threshold: cosine similarity above which a Gaussian is selected; negative: the default.
        snap: replace a selection by features with the segment nearest to it.
        scores: also send the similarity of every point.
        clean_up: what is done to the selection afterwards.
        weights: path of Segment Anything's weights on the backend's machine. An InstantClick needs them; "auto" asks
            Segment Anything too where it has encoded the view and neither segments nor features are sure.
        neighbors: how many views around the object an InstantClick asks too, 0 to 8; negative: by how long each takes.
    """

    method: str = "auto"
    scale: float = AUTOMATIC
    threshold: float = AUTOMATIC
    snap: bool = True
    scores: bool = False
    clean_up: CleanUp = field(default_factory=CleanUp)
    weights: str = path_field(PathUse.file)
    neighbors: int = -1

    @property
    def wanted_scale(self) -> float | None:
        """The scale, None where it is automatic."""
        return None if self.scale < 0 else self.scale

    @property
    def wanted_threshold(self) -> float | None:
        """The threshold, None where it is automatic."""
        return None if self.threshold < 0 else self.threshold

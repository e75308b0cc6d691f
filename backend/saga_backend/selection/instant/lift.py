"""From a mask in one picture to Gaussians, with the help of a few neighboring views.

In the view of the clicks, the Gaussians with more than half of their blending weight inside the mask are selected.
Cameras then orbit the selection. In each of these neighbor views, the selection so far gives the prompt for the
segmenter, and its mask votes if it agrees with the votes so far. The score of a Gaussian is its weight inside the masks
over its weight in the views, each view weighted by the agreement of its mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from blender_saga.gaussians.view import View

from ...masks.sampled import unproject
from ...rasterizer.contributions import Contributions

PIXELS = 50_000
"""Approximate number of pixels of a view that vote."""
AGREES = 0.5  # minimum IoU with the votes so far for a neighbor's mask to vote
POWER = 4  # exponent of the IoU in the weight of a vote
_POINTS = 3  # point prompts for a neighbor's mask
_FILLS = 0.33  # radius of the object in a neighbor's picture, as a share of its shorter side
_VISIBLE = 0.02  # share of the selection's weight in the clicks' view; a neighbor that shows less abstains
_KNOWN = 0.05  # total weight in pixels from which on a Gaussian counts as visible
_ENOUGH = 0.15  # share of a neighbor's weight that the selection needs for its mask to be trusted
_ADDS = 0.04  # share of a neighbor's weight without a vote; with less, the view is not worth its encoding
_PREVIEW = 4_000  # approximate number of pixels for the estimate of a neighbor's information gain
NEIGHBORS = ((40, 0), (-40, 0), (0, 45), (80, 15), (-80, 15), (125, 20), (-125, 20), (180, 25))
"""Orbits of the camera around the object in degrees (azimuth, then elevation)."""


@dataclass(frozen=True, eq=False)
class GridView:
    """A view with the rows of a grid of its pixels [P,2]."""

    view: View
    pixels: np.ndarray
    rows: Contributions

    def sample(self, picture: np.ndarray) -> np.ndarray:
        """[P]: a picture [H,W] at these pixels."""
        return picture[self.pixels[:, 1], self.pixels[:, 0]]

    def draw(self, values: np.ndarray) -> np.ndarray:
        """[h,w] float32: values [N] blended on the grid."""
        columns = len(np.unique(self.pixels[:, 0]))
        return self.rows.blend(values).reshape(-1, columns)


def grid(view: View, pixels: int = PIXELS) -> np.ndarray:
    """[P,2] int32: an even grid of approximately `pixels` pixels (column, row), row by row."""
    step = max(1, round((view.width * view.height / pixels) ** 0.5))
    rows, columns = np.mgrid[step // 2 : view.height : step, step // 2 : view.width : step]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.int32)


class VoteAccumulator:
    """The votes so far.

    Attributes:
        inside, shown: [N] float64, weight inside the masks, and total weight.
    """

    def __init__(self, count: int) -> None:
        self.inside, self.shown = np.zeros(count), np.zeros(count)

    def vote(self, grid_view: GridView, mask: np.ndarray, weight: float = 1.0) -> None:
        """Count a view's mask [H,W] bool."""
        members = grid_view.sample(mask).astype(np.float64)
        self.inside += weight * grid_view.rows.total_weight(len(self.inside), members)
        self.shown += weight * grid_view.rows.total_weight(len(self.inside))

    @property
    def known(self) -> np.ndarray:
        """[N] bool: visible in a view that voted."""
        return self.shown > _KNOWN

    @property
    def scores(self) -> np.ndarray:
        """[N] float32, 0..1; 0 without a vote."""
        return np.divide(self.inside, self.shown, out=np.zeros(len(self.shown)), where=self.known).astype(np.float32)

    @property
    def selected(self) -> np.ndarray:
        """[N] bool."""
        return self.scores > 0.5


def orbit_views(view: View, mask: np.ndarray, depth: np.ndarray) -> Iterator[View]:
    """Views around the object under a mask, nearest first; none if the mask is empty.

    Args:
        view: of the mask.
        mask: [H,W] bool.
        depth: [H,W] camera z, 0 for background.
    """
    rows, columns = np.nonzero(mask & (depth > 0))
    if not len(rows):
        return
    points = unproject(view, np.stack([columns, rows], axis=1), depth[rows, columns]).astype(np.float64)
    center = np.median(points, axis=0)
    radius = max(float(np.quantile(np.linalg.norm(points - center, axis=1), 0.95)), 1e-9)
    side = min(view.width, view.height) * _FILLS
    K = view.K.copy()
    K[:2, 2] = view.width / 2, view.height / 2
    if view.orthographic:
        K[:2, :2] *= side / (radius * abs(K[0, 0]))
    focal = abs(view.K[0, 0])
    distance = center[2] if view.orthographic else max(radius * focal / side, 1.5 * radius)
    for azimuth, up in NEIGHBORS:
        turn = np.eye(4)
        turn[:3, :3] = _turn(np.radians(azimuth), np.radians(up))
        there, back = np.eye(4), np.eye(4)
        there[:3, 3], back[:3, 3] = -center, (0, 0, distance)
        yield replace(view, viewmat=back @ turn @ there @ view.viewmat, K=K)


def _turn(azimuth: float, up: float) -> np.ndarray:
    """[3,3] rotation of the world for a camera (x right, y down) that orbits by an azimuth, then by an elevation."""
    c, s = np.cos(azimuth), np.sin(azimuth)
    walk = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(up), np.sin(up)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ walk


def selected_weight(grid_view: GridView, votes: VoteAccumulator) -> float:
    """Total weight of the selection in a view."""
    return float(grid_view.rows.total_weight(len(votes.shown))[votes.selected].sum())


def shows(grid_view: GridView, votes: VoteAccumulator, reference: float) -> bool:
    """Whether a view shows enough of the selection for a prompt; `reference`: its weight in the clicks' view."""
    return selected_weight(grid_view, votes) > _VISIBLE * reference


def preview_pixels(view: View) -> np.ndarray:
    """[P,2] int32: a coarse grid of pixels of a neighbor, for `information_gain`."""
    return grid(view, _PREVIEW)


def information_gain(rows: Contributions, votes: VoteAccumulator) -> float:
    """The gain of a neighbor view, 0..1: the share of its weight that has no vote yet.

    It is lower if the view shows little of the selection, which gives the prompt there, and 0 if little is new.

    Args:
        rows: of its pixels.
        votes: the votes so far.
    """
    total = max(float(rows.weights.sum()), 1e-9)
    unknown = float(rows.weights[~votes.known[rows.ids]].sum()) / total
    chosen = float(rows.weights[votes.selected[rows.ids]].sum()) / total
    return unknown * min(1.0, chosen / _ENOUGH) if unknown > _ADDS else 0.0


def inside(grid_view: GridView, chosen: np.ndarray, most: int = _POINTS) -> np.ndarray:
    """[P,2] int: pixels deep inside the region of some Gaussians [N] bool, deepest first; none if invisible."""
    region = grid_view.draw(chosen.astype(np.float32)) > 0.5
    places = grid_view.pixels.reshape(*region.shape, 2)
    out: list[np.ndarray] = []
    while region.any() and len(out) < most:
        deep = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(np.argmax(deep), region.shape)
        out.append(places[row, column])
        reach = max(2.0 * deep[row, column], 2.0)
        y, x = np.ogrid[: region.shape[0], : region.shape[1]]
        region = region & ((y - row) ** 2 + (x - column) ** 2 > reach**2)
    return np.array(out).reshape(-1, 2)


def agreement(grid_view: GridView, votes: VoteAccumulator, mask: np.ndarray) -> float:
    """Agreement of a mask [H,W] with the selection, 0..1, by the weight of the Gaussians with a vote.

    It is their IoU times the share of the unselected Gaussians that the mask leaves out. Without that factor, a mask of
    the whole picture would pass in a close view of the object.
    """
    count = len(votes.shown)
    selected = votes.selected
    other = votes.known & ~selected
    within = grid_view.rows.total_weight(count, grid_view.sample(mask).astype(np.float64))
    everywhere = grid_view.rows.total_weight(count)
    both, wrong = within[selected].sum(), within[other].sum()
    union = everywhere[selected].sum() + wrong
    left_out = 1 - wrong / max(everywhere[other].sum(), 1e-9)
    return float(both / union * left_out) if union > 0 else 0.0

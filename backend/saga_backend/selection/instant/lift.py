"""From a mask in one picture to Gaussians, with the help of a few neighboring views.

In the view of the clicks every Gaussian has a share of its blending weight inside the mask; those with more than half
are selected. Cameras then go around what was found. In each of them the selection so far says where to point, the
segmenter is asked, and if its mask agrees with what is known, it votes: a Gaussian's score is its weight inside the
masks over its weight in the views, each view weighted by how well its mask agrees.
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
"""About as many pixels of a view vote."""
AGREES = 0.5  # IoU with what is known from which on a neighbor's mask votes
POWER = 4  # of the IoU, in the weight of its vote
_POINTS = 3  # that a neighbor's mask is asked with
_FILLS = 0.33  # of the shorter side of a neighbor's picture: the thing's radius there
_VISIBLE = 0.02  # of the selection's weight in the clicks' view; a neighbor that shows less abstains
_KNOWN = 0.05  # pixels of weight from which on a Gaussian was seen
_ENOUGH = 0.15  # of a neighbor's weight: what is selected so far must make up as much for its mask to be trusted
_ADDS = 0.04  # of its weight: a neighbor that shows less that nobody has voted on is not worth its encoding
_COARSE = 4_000  # about as many pixels of a neighbor tell what it adds
NEIGHBORS = ((40, 0), (-40, 0), (0, 45), (80, 15), (-80, 15), (125, 20), (-125, 20), (180, 25))
"""Degrees that a camera goes around the thing (azimuth, then up)."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A view with the rows of a grid of its pixels [P,2]."""

    view: View
    pixels: np.ndarray
    rows: Contributions

    def at(self, picture: np.ndarray) -> np.ndarray:
        """[P]: a picture [H,W] at these pixels."""
        return picture[self.pixels[:, 1], self.pixels[:, 0]]

    def drawn(self, values: np.ndarray) -> np.ndarray:
        """[h,w] float32: how values [N] look, on the grid."""
        columns = len(np.unique(self.pixels[:, 0]))
        return self.rows.blend(values).reshape(-1, columns)


def grid(view: View, pixels: int = PIXELS) -> np.ndarray:
    """[P,2] int32: an even grid of about so many pixels (column, row), row by row."""
    step = max(1, round((view.width * view.height / pixels) ** 0.5))
    rows, columns = np.mgrid[step // 2 : view.height : step, step // 2 : view.width : step]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.int32)


class VoteAccumulator:
    """The votes so far.

    Attributes:
        inside, shown: [N] float64, weight inside masks and in all.
    """

    def __init__(self, count: int) -> None:
        self.inside, self.shown = np.zeros(count), np.zeros(count)

    def vote(self, seen: Seen, mask: np.ndarray, weight: float = 1.0) -> None:
        """Count a view's mask [H,W] bool."""
        members = seen.at(mask).astype(np.float64)
        self.inside += weight * seen.rows.total_weight(len(self.inside), members)
        self.shown += weight * seen.rows.total_weight(len(self.inside))

    @property
    def known(self) -> np.ndarray:
        """[N] bool: seen by a view that voted."""
        return self.shown > _KNOWN

    @property
    def scores(self) -> np.ndarray:
        """[N] float32, 0..1; 0 where nothing is known."""
        return np.divide(self.inside, self.shown, out=np.zeros(len(self.shown)), where=self.known).astype(np.float32)

    @property
    def selected(self) -> np.ndarray:
        """[N] bool."""
        return self.scores > 0.5


def orbit_views(view: View, mask: np.ndarray, depth: np.ndarray) -> Iterator[View]:
    """Neighboring views of what a mask shows, nearest first; none if it shows nothing.

    Args:
        view: of the mask.
        mask: [H,W] bool.
        depth: [H,W] camera z, 0 where nothing is.
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
    """[3,3] rotation of the world before a camera (x right, y down) that walks around it and then above it."""
    c, s = np.cos(azimuth), np.sin(azimuth)
    walk = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(up), np.sin(up)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ walk


def shown_of(seen: Seen, votes: VoteAccumulator) -> float:
    """Weight of the selection so far in a view."""
    return float(seen.rows.total_weight(len(votes.shown))[votes.selected].sum())


def shows(seen: Seen, votes: VoteAccumulator, reference: float) -> bool:
    """Whether a view shows enough of the selection to be asked; `reference`: its weight in the clicks' view."""
    return shown_of(seen, votes) > _VISIBLE * reference


def preview_pixels(view: View) -> np.ndarray:
    """[P,2] int32: the few pixels of a neighbor by which `information_gain` is told."""
    return grid(view, _COARSE)


def information_gain(rows: Contributions, votes: VoteAccumulator) -> float:
    """What asking a neighbor would add, 0..1: the share of its weight that nobody has voted on yet.

    Less where it shows little of what is selected so far, by which it would be asked; 0 where it adds next to nothing.

    Args:
        rows: of its pixels.
        ballot: the votes so far.
    """
    total = max(float(rows.weights.sum()), 1e-9)
    unknown = float(rows.weights[~votes.known[rows.ids]].sum()) / total
    chosen = float(rows.weights[votes.selected[rows.ids]].sum()) / total
    return unknown * min(1.0, chosen / _ENOUGH) if unknown > _ADDS else 0.0


def inside(seen: Seen, chosen: np.ndarray, most: int = _POINTS) -> np.ndarray:
    """[P,2] int, pixels well inside of what some Gaussians [N] bool show, the deepest first; none where they do not."""
    region = seen.drawn(chosen.astype(np.float32)) > 0.5
    places = seen.pixels.reshape(*region.shape, 2)
    out: list[np.ndarray] = []
    while region.any() and len(out) < most:
        deep = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(np.argmax(deep), region.shape)
        out.append(places[row, column])
        reach = max(2.0 * deep[row, column], 2.0)
        y, x = np.ogrid[: region.shape[0], : region.shape[1]]
        region = region & ((y - row) ** 2 + (x - column) ** 2 > reach**2)
    return np.array(out).reshape(-1, 2)


def agreement(seen: Seen, votes: VoteAccumulator, mask: np.ndarray) -> float:
    """How well a mask [H,W] agrees with the selection so far, 0..1, by the weight of what is known.

    It is their IoU, times the share of what is known not to belong that the mask leaves out: close to a thing there is
    little else in the picture, and a mask of all of it would do.
    """
    count = len(votes.shown)
    selected = votes.selected
    other = votes.known & ~selected
    within = seen.rows.total_weight(count, seen.at(mask).astype(np.float64))
    everywhere = seen.rows.total_weight(count)
    both, wrong = within[selected].sum(), within[other].sum()
    union = everywhere[selected].sum() + wrong
    left_out = 1 - wrong / max(everywhere[other].sum(), 1e-9)
    return float(both / union * left_out) if union > 0 else 0.0

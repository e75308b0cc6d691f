"""From a Click to the contribution rows of its pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from blender_saga.errors import REPORT, ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import Click, ObjectPoints

from ..rasterizer.contributions import SHOWN_ALPHA, Contributions, concatenate
from ..rasterizer.cpu import contributions_of
from ..rasterizer.projection import Projected, merge, project
from . import duplicates
from .duplicates import Groups, group_points
from .prompts import PromptPixels, prototypes, sample

_MAIN = 0.5  # share of a pixel's largest weight that makes a Gaussian visible there


@dataclass(frozen=True, eq=False)
class QueryObjects:
    """The objects that take part in a query.

    Attributes:
        cloud: the trained cloud, a row for every id.
        placements: the transform and the points of every object.
        ids: the ids of every object, one array each.
        all_ids: [T] int32, the ids of all points of all objects, in order.
        moved_clouds: for every object with points away from their trained position, the Gaussians of its points;
            else None.
        groups: the groups of the points, if some ids occur more than once.
    """

    cloud: GaussianCloud
    placements: tuple[ObjectPoints, ...]
    ids: list[np.ndarray]
    all_ids: np.ndarray
    moved_clouds: list[GaussianCloud | None]
    groups: Groups | None = None

    def project(self, view: View, pixels: np.ndarray | None = None) -> Projected:
        """All points at their place in the scene, as `projection.project`; ids are indices into `all_ids`."""
        parts = []
        for placement, members, moved in zip(self.placements, self.ids, self.moved_clouds, strict=True):
            some = members if len(placement.ids) and moved is None else None
            cloud = self.cloud if moved is None else moved
            parts.append(project(cloud, view.of_object(placement.matrix), pixels, some))
        if len(parts) == 1:
            return parts[0]
        starts = np.concatenate([[0], np.cumsum([len(i) for i in self.ids])])[:-1]
        return merge(parts, [int(s) for s in starts])

    def positions(self, index: int, chosen: np.ndarray) -> np.ndarray:
        """[K,3] float32: some points [M] bool of object number `index`, in its space."""
        moved = self.moved_clouds[index]
        return self.cloud.means[self.ids[index][chosen]] if moved is None else moved.means[chosen]

    def rows(self, view: View, pixels: np.ndarray) -> Contributions:
        """Rows of pixels [P,2] int32; ids are the model's."""
        return self.to_model_ids(self.point_rows(view, pixels))

    def point_rows(self, view: View, pixels: np.ndarray) -> Contributions:
        """Rows of pixels [P,2] int32; ids are indices into `all_ids`."""
        if not len(pixels):
            return Contributions(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
        return contributions_of(self.project(view, pixels), view, pixels)

    def to_model_ids(self, rows: Contributions) -> Contributions:
        """Rows over indices into `all_ids` as rows over the model's ids."""
        return Contributions(rows.offsets, self.all_ids[rows.ids], rows.weights)


@dataclass(frozen=True, eq=False)
class ResolvedClick:
    """The Gaussians under the prompts of a click.

    Attributes:
        rows: of Q pixels or prototypes, over the model's Gaussians.
        positive: [Q] bool.
        positive_ids, negative_ids: ids of the Gaussians visible at the positive and at the negative pixels.
        prompts: the hits of the single prompts.
    """

    rows: Contributions
    positive: np.ndarray
    positive_ids: np.ndarray
    negative_ids: np.ndarray
    prompts: tuple[PromptHits, ...]


@dataclass(frozen=True, eq=False)
class PromptHits:
    """The rows and sign of a prompt, the ids of the Gaussians visible there, and the groups of points it hits."""

    rows: Contributions
    positive: bool
    visible_ids: np.ndarray
    groups: np.ndarray


def query_objects(cloud: GaussianCloud, objects: tuple[ObjectPoints, ...]) -> QueryObjects:
    """The objects of a query; an empty tuple stands for the cloud as trained.

    Raises:
        UserError: for points that the trained cloud does not have.
    """
    objects = objects or (ObjectPoints(np.eye(4)),)
    ids = [_ids(part, len(cloud)) for part in objects]
    moved = [_moved_cloud(cloud, part, members) for part, members in zip(objects, ids, strict=True)]
    return QueryObjects(cloud, objects, ids, np.concatenate(ids), moved, group_points(objects, ids, len(cloud)))


def _ids(part: ObjectPoints, count: int) -> np.ndarray:
    ids = part.ids if len(part.ids) else np.arange(count, dtype=np.int32)
    if ids.min() < 0 or ids.max() >= count:
        why = "the trained cloud does not have some of its points"
        raise UserError("An object does not fit this model", why, "Train it on its own", ErrorCode.BAD_IDS)
    return ids


def _moved_cloud(cloud: GaussianCloud, part: ObjectPoints, ids: np.ndarray) -> GaussianCloud | None:
    if not len(part.moved):
        return None
    if len(part.moved) != len(part.cloud) or part.moved.min() < 0 or part.moved.max() >= len(ids):
        raise UserError("An object is not usable", "its moved points do not fit it", fix=REPORT, code=ErrorCode.BAD_IDS)
    moved = cloud.with_degree(0).take(ids)
    for name in ("means", "quats", "scales", "opacities"):
        getattr(moved, name)[part.moved] = getattr(part.cloud, name)
    return moved


def resolve_click(
    request: Click, objects: QueryObjects, describe: Callable[[Contributions], np.ndarray]
) -> ResolvedClick:
    """Find the Gaussians under the prompts of a click.

    Args:
        request: the click.
        objects: its objects.
        describe: vectors of rows (prompts.prototypes), to reduce a box or lasso to a few prototypes.

    Raises:
        UserError: if a prompt is not usable (prompts.sample), or there is none.
    """
    if not request.prompts:
        raise UserError("The click is not usable", "it has no prompts", fix=REPORT, code=ErrorCode.BAD_CLICK)
    pixels = [sample(prompt) for prompt in request.prompts]  # first of all: one bad prompt rejects the whole click
    hits = []
    for prompt, rows, part in zip(request.prompts, _prompt_rows(request, objects, pixels), pixels, strict=True):
        inside, groups = len(part.pixels), objects.groups
        kept = _reduce(prompt.kind, objects.to_model_ids(rows), inside, describe)
        hit_groups = groups.hit(rows, inside) if groups is not None else np.zeros(0, int)
        hits.append(PromptHits(kept, prompt.positive, _visible_ids(kept), hit_groups))
    return _combine(hits)


def _combine(prompts: Sequence[PromptHits]) -> ResolvedClick:
    signs = [prompt.positive for prompt in prompts]
    none = prompts[0].visible_ids[:0]
    positive_ids, negative_ids = (
        np.unique(np.concatenate([none, *(p.visible_ids for p in prompts if p.positive == sign)]))
        for sign in (True, False)
    )
    rows = concatenate([prompt.rows for prompt in prompts])
    positive = np.repeat(signs, [len(prompt.rows) for prompt in prompts])
    return ResolvedClick(rows, positive, positive_ids, negative_ids, tuple(prompts))


def interpretations(objects: QueryObjects, resolved: ResolvedClick) -> list[tuple[ResolvedClick, np.ndarray | None]]:
    """The meanings of a click among duplicates (module duplicates), each with its points [T] bool (None: all)."""
    prompts, groups = resolved.prompts, objects.groups
    if groups is None:
        return [(resolved, None)]
    parts = duplicates.interpretations(groups, [p.groups for p in prompts], [p.positive for p in prompts])
    return [(_combine([prompts[i] for i in part.prompts]), part.scope) for part in parts] or [(resolved, None)]


def _prompt_rows(request: Click, objects: QueryObjects, sampled: list[PromptPixels]) -> list[Contributions]:
    """The rows of every prompt over points: pixels inside, then pixels around. Each view is projected once."""
    out: dict[int, Contributions] = {}
    of_view: dict[bytes, list[int]] = {}
    for index, prompt in enumerate(request.prompts):
        of_view.setdefault(prompt.view.key, []).append(index)
    for indices in of_view.values():
        pixels = [np.concatenate([sampled[i].pixels, sampled[i].around]) for i in indices]
        rows = objects.point_rows(request.prompts[indices[0]].view, np.concatenate(pixels))
        ends = np.cumsum([len(p) for p in pixels])
        for index, end, count in zip(indices, ends, map(len, pixels), strict=True):
            out[index] = rows.take(np.arange(end - count, end))
    return [out[i] for i in range(len(sampled))]


def _reduce(
    kind: str, rows: Contributions, inside: int, describe: Callable[[Contributions], np.ndarray]
) -> Contributions:
    """The rows of clicked pixels; the prototypes of a box or lasso, or one background row where it shows nothing."""
    if kind == "points":
        return rows
    shown = np.flatnonzero(rows.alphas()[:inside] >= SHOWN_ALPHA)
    if not len(shown):
        return rows.take(np.arange(1))
    return prototypes(rows.take(shown), rows.take(np.arange(inside, len(rows))), describe)


def _visible_ids(rows: Contributions) -> np.ndarray:
    """Ids of the Gaussians with at least half of the largest weight at a pixel: the visible ones."""
    if not len(rows.ids):
        return rows.ids
    filled = np.diff(rows.offsets) > 0
    largest = np.maximum.reduceat(rows.weights, rows.offsets[:-1][filled])
    return rows.ids[rows.weights >= _MAIN * np.repeat(largest, np.diff(rows.offsets)[filled])]

"""From a Click to rows of the clicked pixels, and from a mask of Gaussians to a Selection."""

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
from .duplicates import Groups, groups
from .prompts import Sampled, prototypes, sample

_MAIN = 0.5  # of a pixel's largest weight: the Gaussians that one sees there


@dataclass(frozen=True, eq=False)
class QueryObjects:
    """The objects that take part in a query.

    Attributes:
        cloud: the trained cloud, a row for every id.
        objects: where they stand.
        ids: of every object its ids, one array each.
        all_ids: [T] int32, the ids of all points of all objects, in order.
        own: of every object the Gaussians of its points, where some stand elsewhere than their ids; else None.
        groups: where the points belong, if some ids are there more than once.
    """

    cloud: GaussianCloud
    objects: tuple[ObjectPoints, ...]
    ids: list[np.ndarray]
    all_ids: np.ndarray
    own: list[GaussianCloud | None]
    groups: Groups | None = None

    def projected(self, view: View, pixels: np.ndarray | None = None) -> Projected:
        """All points where they stand, as `projection.project`; ids are places in `all_ids`."""
        parts = []
        for part, members, own in zip(self.objects, self.ids, self.own, strict=True):
            some = members if len(part.ids) and own is None else None
            parts.append(project(self.cloud if own is None else own, view.of_object(part.matrix), pixels, some))
        if len(parts) == 1:
            return parts[0]
        starts = np.concatenate([[0], np.cumsum([len(i) for i in self.ids])])[:-1]
        return merge(parts, [int(s) for s in starts])

    def places(self, index: int, chosen: np.ndarray) -> np.ndarray:
        """[K,3] float32, in the space of object number `index`: its points at a mask [M] bool."""
        own = self.own[index]
        return self.cloud.means[self.ids[index][chosen]] if own is None else own.means[chosen]

    def rows(self, view: View, pixels: np.ndarray) -> Contributions:
        """Rows of pixels [P,2] int32; ids are the model's."""
        return self.named(self.places_at(view, pixels))

    def places_at(self, view: View, pixels: np.ndarray) -> Contributions:
        """Rows of pixels [P,2] int32; ids are places in `all_ids`."""
        if not len(pixels):
            return Contributions(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
        return contributions_of(self.projected(view, pixels), view, pixels)

    def named(self, rows: Contributions) -> Contributions:
        """Rows over places as rows over the model's ids."""
        return Contributions(rows.offsets, self.all_ids[rows.ids], rows.weights)


@dataclass(frozen=True, eq=False)
class ResolvedClick:
    """What the prompts of a click show.

    Attributes:
        rows: of Q pixels or prototypes, over the model's Gaussians.
        positive: [Q] bool.
        wanted, refused: ids of the Gaussians that one sees at the positive and at the negative pixels.
        pointed: the prompts that all this was put together from.
    """

    rows: Contributions
    positive: np.ndarray
    wanted: np.ndarray
    refused: np.ndarray
    pointed: tuple[PromptHits, ...]


@dataclass(frozen=True, eq=False)
class PromptHits:
    """What one prompt shows: its rows, sign, ids of the Gaussians that one sees, and the groups of points it hits."""

    rows: Contributions
    positive: bool
    main: np.ndarray
    hits: np.ndarray


def query_objects(cloud: GaussianCloud, objects: tuple[ObjectPoints, ...]) -> QueryObjects:
    """Who takes part; no objects stand for the cloud as it was trained.

    Raises:
        UserError: for points that the trained cloud does not have.
    """
    objects = objects or (ObjectPoints(np.eye(4)),)
    ids = [_ids(part, len(cloud)) for part in objects]
    own = [_own(cloud, part, members) for part, members in zip(objects, ids, strict=True)]
    return QueryObjects(cloud, objects, ids, np.concatenate(ids), own, groups(objects, ids, len(cloud)))


def _ids(part: ObjectPoints, count: int) -> np.ndarray:
    ids = part.ids if len(part.ids) else np.arange(count, dtype=np.int32)
    if ids.min() < 0 or ids.max() >= count:
        why = "it has points that the trained cloud does not have"
        raise UserError("An object does not fit this model", why, "Train it on its own", ErrorCode.BAD_IDS)
    return ids


def _own(cloud: GaussianCloud, part: ObjectPoints, ids: np.ndarray) -> GaussianCloud | None:
    if not len(part.moved):
        return None
    if len(part.moved) != len(part.cloud) or part.moved.min() < 0 or part.moved.max() >= len(ids):
        raise UserError("An object is not usable", "its moved points do not fit it", fix=REPORT, code=ErrorCode.BAD_IDS)
    there = cloud.with_degree(0).take(ids)
    for name in ("means", "quats", "scales", "opacities"):
        getattr(there, name)[part.moved] = getattr(part.cloud, name)
    return there


def resolve_click(
    request: Click, taking_part: QueryObjects, look: Callable[[Contributions], np.ndarray]
) -> ResolvedClick:
    """Look where the prompts point.

    Args:
        request: the click.
        taking_part: its objects.
        look: how pixels are alike (prompts.prototypes), to put those of a box or lasso together to a few prototypes.

    Raises:
        UserError: if a prompt is not usable (prompts.sample), or there is none.
    """
    if not request.prompts:
        raise UserError("The click is not usable", "it has no prompts", fix=REPORT, code=ErrorCode.BAD_CLICK)
    sampled = [sample(prompt) for prompt in request.prompts]  # all, before the work: one bad prompt refuses the click
    seen = _look(request, taking_part, sampled)
    pointed = []
    for prompt, rows, part in zip(request.prompts, seen, sampled, strict=True):
        inside, there = len(part.pixels), taking_part.groups
        kept = _of_prompt(prompt.kind, taking_part.named(rows), inside, look)
        hits = there.hit(rows, inside) if there is not None else np.zeros(0, int)
        pointed.append(PromptHits(kept, prompt.positive, _main(kept), hits))
    return _together(pointed)


def _together(pointed: Sequence[PromptHits]) -> ResolvedClick:
    signs = [prompt.positive for prompt in pointed]
    none = pointed[0].main[:0]
    wanted, refused = (
        np.unique(np.concatenate([none, *(p.main for p in pointed if p.positive == sign)])) for sign in (True, False)
    )
    rows = concatenate([prompt.rows for prompt in pointed])
    return ResolvedClick(rows, np.repeat(signs, [len(p.rows) for p in pointed]), wanted, refused, tuple(pointed))


def interpretations(taking_part: QueryObjects, asked: ResolvedClick) -> list[tuple[ResolvedClick, np.ndarray | None]]:
    """What a click says of which points [T] bool (None: all), where copies of them take part (module copies)."""
    pointed, there = asked.pointed, taking_part.groups
    if there is None:
        return [(asked, None)]
    found = duplicates.interpretations(there, [p.hits for p in pointed], [p.positive for p in pointed])
    return [(_together([pointed[i] for i in r.prompts]), r.scope) for r in found] or [(asked, None)]


def _look(request: Click, taking_part: QueryObjects, sampled: list[Sampled]) -> list[Contributions]:
    """The rows of every prompt over places, of the pixels inside and then of those around. A view is projected once."""
    out: dict[int, Contributions] = {}
    of_view: dict[bytes, list[int]] = {}
    for index, prompt in enumerate(request.prompts):
        of_view.setdefault(prompt.view.key, []).append(index)
    for indices in of_view.values():
        pixels = [np.concatenate([sampled[i].pixels, sampled[i].around]) for i in indices]
        rows = taking_part.places_at(request.prompts[indices[0]].view, np.concatenate(pixels))
        ends = np.cumsum([len(p) for p in pixels])
        for index, end, count in zip(indices, ends, map(len, pixels), strict=True):
            out[index] = rows.take(np.arange(end - count, end))
    return [out[i] for i in range(len(sampled))]


def _of_prompt(
    kind: str, rows: Contributions, inside: int, look: Callable[[Contributions], np.ndarray]
) -> Contributions:
    """Clicked pixels as they are; of a box or lasso what it shows, or a row that says that there is nothing."""
    if kind == "points":
        return rows
    shown = np.flatnonzero(rows.alphas()[:inside] >= SHOWN_ALPHA)
    if not len(shown):
        return rows.take(np.arange(1))
    return prototypes(rows.take(shown), rows.take(np.arange(inside, len(rows))), look)


def _main(rows: Contributions) -> np.ndarray:
    """Ids of the Gaussians that one sees at the pixels: those with at least half of the largest weight."""
    if not len(rows.ids):
        return rows.ids
    filled = np.diff(rows.offsets) > 0
    largest = np.maximum.reduceat(rows.weights, rows.offsets[:-1][filled])
    return rows.ids[rows.weights >= _MAIN * np.repeat(largest, np.diff(rows.offsets)[filled])]

"""Instant select: prompts of a user to Gaussians, by a segmenter of pictures and without any training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from blender_saga.gaussians.view import View
from blender_saga.wire.messages import Prompt

from ...common.neighbors import nearest_known
from ...common.progress import Control
from ...masks.extract import as_bytes
from ...rasterizer.cpu import Picture
from ..prompts import inside as inside_polygon
from ..prompts import sample
from .lift import (
    AGREES,
    NEIGHBORS,
    POWER,
    Seen,
    VoteAccumulator,
    agreement,
    grid,
    information_gain,
    inside,
    orbit_views,
    preview_pixels,
    shown_of,
    shows,
)
from .segmenter import Encoded, PixelPrompt, Segmenter
from .stage import Stage

LONGEST_SIDE = 1024
"""Pixels of a picture's longer side: what SAM sees of it."""
_REMEMBERED = 64
_REFUSED = 0.5  # of a negative pixel's largest weight: the Gaussians that one sees there


@dataclass(frozen=True, eq=False)
class Lifted:
    """What was selected.

    Attributes:
        selected: [N] bool.
        scores: [N] float32, share of a Gaussian's weight inside the masks, 0..1.
        known: [N] bool, seen by a view that voted; the others have the verdict of the nearest one.
        votes: number of views that voted.
        note: why nothing is selected, or "".
    """

    selected: np.ndarray
    scores: np.ndarray
    known: np.ndarray
    votes: int
    note: str = ""


@dataclass(eq=False)
class _Glance:
    """A view of the clicks, at the size that is looked at, and what is pointed at in it."""

    view: View
    pointed: PixelPrompt


@dataclass(frozen=True, eq=False)
class _First:
    """What the first view of the clicks showed: its rows, the mask [H,W], camera z [H,W]."""

    seen: Seen
    mask: np.ndarray
    depth: np.ndarray


@dataclass(eq=False)
class Instant:
    """Answers prompts.

    Attributes:
        segmenter: finds masks in pictures.
        stage: the scene.
        means: [N,3] centers, by which Gaussians that no view shows find their nearest.
        neighbors: views around the thing that are asked too, at most len(NEIGHBORS).
        control: progress and cancel.
        remembered: the neighbors that were asked, by the first prompt and their number: one more click asks the same
            pictures again.
    """

    segmenter: Segmenter
    stage: Stage
    means: np.ndarray
    neighbors: int = len(NEIGHBORS)
    control: Control = field(default_factory=Control)
    remembered: dict[tuple, list[View]] = field(default_factory=dict)

    def select(self, prompts: Sequence[Prompt], scale: float | None = None) -> Lifted:
        """Select what prompts point at.

        Args:
            prompts: clicks, boxes and lassos, each in its view.
            scale: 0 (the smallest of the masks that one click may mean) to 1 (the largest); None: the segmenter's
                choice.

        Raises:
            UserError: if a prompt is not usable.
        """
        glances = _glances(prompts)
        votes, refused = VoteAccumulator(self.stage.count), np.zeros(self.stage.count, bool)
        first: _First | None = None
        voted = 0
        for glance in glances:
            refused |= self._refused(glance)
            if glance.pointed.wants:
                seen, picture = self._seen(glance.view), self.stage.picture(glance.view)
                mask = _meant(self._encoded(glance.view, picture), glance.pointed, scale)
                votes.vote(seen, mask)
                voted += 1
                first = first or _First(seen, mask, picture.depth)
        if first is None:
            return self._answer(votes, 0, "There are only negative clicks")
        if not votes.selected.any():
            return self._answer(votes, voted, "Nothing is under the click")
        for glance in glances:  # now it is known what they take away from
            if not glance.pointed.wants:
                voted += self._ask(self._seen(glance.view), votes, glance.pointed, 1.0)
        voted += self._from_around(first, votes, refused, _first_place(prompts))
        return self._answer(votes, voted)

    def _from_around(self, first: _First, votes: VoteAccumulator, refused: np.ndarray, place: tuple) -> int:
        """Let the neighbors vote; how many did."""
        reference, voted = shown_of(first.seen, votes), 0
        asked: list[View] = []
        for view in self._neighbors(first, votes, (*place, self.neighbors)):
            self.control.progress("looking from around", len(asked), self.neighbors)
            asked.append(view)
            seen = self._seen(view)
            if shows(seen, votes, reference):
                no = inside(seen, refused & ~votes.selected, 1)
                voted += self._ask(seen, votes, PixelPrompt(no + 0.5, np.zeros(len(no), bool)))
        while len(self.remembered) >= _REMEMBERED:
            self.remembered.pop(next(iter(self.remembered)))
        self.remembered[(*place, self.neighbors)] = asked
        return voted

    def _neighbors(self, first: _First, votes: VoteAccumulator, place: tuple) -> Iterator[View]:
        """Those that were asked before; else all, each of which sees what one before it saw; or of few always the one
        that adds most to the votes so far.
        """
        known = self.remembered.get(place)
        views = list(orbit_views(first.seen.view, first.mask, first.depth)) if known is None else known
        if known is not None or self.neighbors >= len(views):
            yield from views
            return
        left = [(view, self.stage.rows(view, preview_pixels(view))) for view in views] if self.neighbors else []
        for _ in range(min(self.neighbors, len(left))):
            adds = [information_gain(rows, votes) for _, rows in left]
            if max(adds) == 0:
                return
            yield left.pop(int(np.argmax(adds)))[0]

    def prepare(self, view: View) -> None:
        """Encode a view ahead, so that the first click in it is answered at once."""
        view = fitted_view(view)
        self._encoded(view, None)

    def views_of(self, prompts: Sequence[Prompt]) -> list[View]:
        """The views of the prompts, as they are looked at.

        Raises:
            UserError: if a prompt is not usable.
        """
        return [glance.view for glance in _glances(prompts)]

    def _seen(self, view: View) -> Seen:
        pixels = grid(view)
        return Seen(view, pixels, self.stage.rows(view, pixels))

    def _encoded(self, view: View, picture: Picture | None) -> Encoded:
        return self.segmenter.encode(view, lambda: as_bytes((picture or self.stage.picture(view)).rgb))

    def _ask(self, seen: Seen, votes: VoteAccumulator, more: PixelPrompt, weight: float = 0.0) -> bool:
        """Ask the segmenter about what is selected so far; whether its mask agrees and has voted.

        Args:
            seen: where from.
            votes: so far.
            more: what else is pointed at there.
            weight: of the vote; 0: by how well the mask agrees.
        """
        points = inside(seen, votes.selected)
        if not len(points):
            return False
        positive = np.concatenate([np.ones(len(points), bool), more.positive])
        pointed = PixelPrompt(np.concatenate([points + 0.5, more.points]), positive)
        masks, _ = self._encoded(seen.view, None).masks(pointed)
        agreements = [agreement(seen, votes, mask) for mask in masks]
        best = int(np.argmax(agreements))
        if agreements[best] < AGREES:
            return False
        votes.vote(seen, masks[best], weight or agreements[best] ** POWER)
        return True

    def _refused(self, glance: _Glance) -> np.ndarray:
        """[N] bool: the Gaussians that one sees at the negative points."""
        out = np.zeros(self.stage.count, bool)
        pixels = np.floor(glance.pointed.points[~glance.pointed.positive]).astype(np.int32)
        if len(pixels):
            rows = self.stage.rows(glance.view, pixels)
            for begin, end in zip(rows.offsets[:-1], rows.offsets[1:], strict=True):
                weights = rows.weights[begin:end]
                out[rows.ids[begin:end][weights >= _REFUSED * weights.max(initial=0)]] = True
        return out

    def _answer(self, votes: VoteAccumulator, voted: int, note: str = "") -> Lifted:
        if not votes.selected.any():
            none = np.zeros(self.stage.count, bool)
            return Lifted(none, none.astype(np.float32), votes.known, voted, note or "Nothing agrees with the clicks")
        place = nearest_known(self.means, votes.known)
        return Lifted(votes.selected[place], votes.scores[place], votes.known, voted, note)


def fitted_view(view: View) -> View:
    """A view of at most LONGEST_SIDE pixels along its longer side."""
    factor = min(1.0, LONGEST_SIDE / max(view.width, view.height))
    return view.resized(max(1, round(view.width * factor)), max(1, round(view.height * factor)))


def _first_place(prompts: Sequence[Prompt]) -> tuple:
    """What a selection began with; the same while it is refined."""
    return prompts[0].view.key, prompts[0].kind, prompts[0].pixels.tobytes()


def _glances(prompts: Sequence[Prompt]) -> list[_Glance]:
    """The prompts by view, in the order in which they came."""
    by_view: dict[bytes, list[Prompt]] = {}
    for prompt in prompts:
        sample(prompt)  # refuses what cannot be used
        by_view.setdefault(prompt.view.key, []).append(prompt)
    return [_glance(group) for group in by_view.values()]


def _glance(prompts: list[Prompt]) -> _Glance:
    whole = prompts[0].view
    view = fitted_view(whole)
    factor = np.array([view.width / whole.width, view.height / whole.height])
    points, signs, boxes = [], [], []
    for prompt in prompts:
        if prompt.kind == "points":
            points.append(prompt.pixels * factor)
            signs += [prompt.positive] * len(prompt.pixels)
            continue
        corners = prompt.pixels.astype(np.float64) * factor
        if prompt.positive:
            low, high = corners.min(axis=0), corners.max(axis=0)
            boxes.append(np.concatenate([np.clip(low, 0, None), np.minimum(high, (view.width, view.height))]))
        if prompt.kind == "lasso" or not prompt.positive:
            points.append(_middle(prompt.kind, corners, view))
            signs.append(prompt.positive)
    box = None
    if boxes:
        every = np.array(boxes)
        box = np.concatenate([every[:, :2].min(axis=0), every[:, 2:].max(axis=0)])
    at = np.concatenate([np.zeros((0, 2)), *points]).astype(np.float64)
    return _Glance(view, PixelPrompt(at, np.array(signs, bool), box))


def _middle(kind: str, corners: np.ndarray, view: View) -> np.ndarray:
    """[1,2] the pixel deepest inside a box or lasso."""
    from scipy import ndimage

    if kind == "box":
        return corners.mean(axis=0, keepdims=True)
    deep = ndimage.distance_transform_edt(np.pad(inside_polygon(corners, view), 1))[1:-1, 1:-1]
    row, column = np.unravel_index(np.argmax(deep), deep.shape)
    return np.array([[column + 0.5, row + 0.5]])


def _meant(encoded: Encoded, pointed: PixelPrompt, scale: float | None) -> np.ndarray:
    """[H,W] bool: the mask that is meant: the best of those that hold most positive and fewest negative points."""
    masks, quality = encoded.masks(pointed)
    places = np.floor(pointed.points).astype(int)
    rows, columns = (np.clip(places[:, 1 - i], 0, masks.shape[1 + i] - 1) for i in range(2))
    right = (masks[:, rows, columns] == pointed.positive).sum(axis=1)
    if scale is not None and len(masks) > 1:
        order = np.argsort(masks.sum(axis=(1, 2)), kind="stable")
        return masks[order[round(scale * (len(masks) - 1))]]
    return masks[int(np.argmax(right + quality * 0.5))]

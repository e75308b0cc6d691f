"""Instant select: from prompts to Gaussians by a segmenter of pictures, without any training."""

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
    GridView,
    VoteAccumulator,
    agreement,
    grid,
    information_gain,
    inside,
    orbit_views,
    preview_pixels,
    selected_weight,
    shows,
)
from .segmenter import Encoded, PixelPrompt, Segmenter
from .stage import Stage

LONGEST_SIDE = 1024
"""Pixels of a picture's longer side: the resolution of SAM."""
_REMEMBERED = 64
_VISIBLE = 0.5  # share of a pixel's largest weight that makes a Gaussian visible there


@dataclass(frozen=True, eq=False)
class Lifted:
    """A selection of Gaussians from masks.

    Attributes:
        selected: [N] bool.
        scores: [N] float32, share of a Gaussian's weight inside the masks, 0..1.
        known: [N] bool, visible in a view that voted; the others copy the nearest known Gaussian.
        votes: number of views that voted.
        note: why nothing is selected, or "".
    """

    selected: np.ndarray
    scores: np.ndarray
    known: np.ndarray
    votes: int
    note: str = ""


@dataclass(eq=False)
class _ViewPrompt:
    """A view of the clicks at the size for the segmenter, and its prompt."""

    view: View
    prompt: PixelPrompt


@dataclass(frozen=True, eq=False)
class _FirstView:
    """The first view with a positive prompt: its rows, the mask [H,W], camera z [H,W]."""

    grid_view: GridView
    mask: np.ndarray
    depth: np.ndarray


@dataclass(eq=False)
class Instant:
    """Answers prompts.

    Attributes:
        segmenter: finds masks in pictures.
        stage: the scene.
        means: [N,3] centers, to give invisible Gaussians the result of the nearest visible one.
        neighbors: number of views around the object, at most len(NEIGHBORS).
        control: progress and cancel.
        remembered: the neighbor views of a selection, by its first prompt and their number; a further click reuses
            their pictures.
    """

    segmenter: Segmenter
    stage: Stage
    means: np.ndarray
    neighbors: int = len(NEIGHBORS)
    control: Control = field(default_factory=Control)
    remembered: dict[tuple, list[View]] = field(default_factory=dict)

    def select(self, prompts: Sequence[Prompt], scale: float | None = None) -> Lifted:
        """Select the Gaussians under prompts.

        Args:
            prompts: clicks, boxes and lassos, each in its view.
            scale: 0 (the smallest candidate mask of a click) to 1 (the largest); None: the segmenter's choice.

        Raises:
            UserError: if a prompt is not usable.
        """
        view_prompts = _view_prompts(prompts)
        votes, negative = VoteAccumulator(self.stage.count), np.zeros(self.stage.count, bool)
        first: _FirstView | None = None
        voted = 0
        for each in view_prompts:
            negative |= self._negative(each)
            if each.prompt.has_positive:
                grid_view, picture = self._grid_view(each.view), self.stage.picture(each.view)
                mask = _choose_mask(self._encode(each.view, picture), each.prompt, scale)
                votes.vote(grid_view, mask)
                voted += 1
                first = first or _FirstView(grid_view, mask, picture.depth)
        if first is None:
            return self._answer(votes, 0, "There are only negative clicks")
        if not votes.selected.any():
            return self._answer(votes, voted, "Nothing is under the click")
        for each in view_prompts:  # negative prompts last: they need the selection that they remove from
            if not each.prompt.has_positive:
                voted += self._prompt_and_vote(self._grid_view(each.view), votes, each.prompt, 1.0)
        voted += self._vote_from_neighbors(first, votes, negative, _first_prompt_key(prompts))
        return self._answer(votes, voted)

    def _vote_from_neighbors(self, first: _FirstView, votes: VoteAccumulator, negative: np.ndarray, key: tuple) -> int:
        """Let the neighbor views vote; returns the number of votes."""
        reference, voted = selected_weight(first.grid_view, votes), 0
        views: list[View] = []
        for view in self._neighbors(first, votes, (*key, self.neighbors)):
            self.control.progress("looking from around", len(views), self.neighbors)
            views.append(view)
            grid_view = self._grid_view(view)
            if shows(grid_view, votes, reference):
                points = inside(grid_view, negative & ~votes.selected, 1)
                prompt = PixelPrompt(points + 0.5, np.zeros(len(points), bool))
                voted += self._prompt_and_vote(grid_view, votes, prompt)
        while len(self.remembered) >= _REMEMBERED:
            self.remembered.pop(next(iter(self.remembered)))
        self.remembered[(*key, self.neighbors)] = views
        return voted

    def _neighbors(self, first: _FirstView, votes: VoteAccumulator, key: tuple) -> Iterator[View]:
        """The neighbor views to prompt.

        A remembered selection repeats its views. Otherwise all views come in their order, so each overlaps one before
        it. If only some are allowed, the next view is the one that shows the most Gaussians without a vote.
        """
        known = self.remembered.get(key)
        views = list(orbit_views(first.grid_view.view, first.mask, first.depth)) if known is None else known
        if known is not None or self.neighbors >= len(views):
            yield from views
            return
        left = [(view, self.stage.rows(view, preview_pixels(view))) for view in views] if self.neighbors else []
        for _ in range(min(self.neighbors, len(left))):
            gains = [information_gain(rows, votes) for _, rows in left]
            if max(gains) == 0:
                return
            yield left.pop(int(np.argmax(gains)))[0]

    def prepare(self, view: View) -> None:
        """Encode a view ahead of the first click in it."""
        view = fitted_view(view)
        self._encode(view, None)

    def views_of(self, prompts: Sequence[Prompt]) -> list[View]:
        """The views of the prompts, at the size for the segmenter.

        Raises:
            UserError: if a prompt is not usable.
        """
        return [each.view for each in _view_prompts(prompts)]

    def _grid_view(self, view: View) -> GridView:
        pixels = grid(view)
        return GridView(view, pixels, self.stage.rows(view, pixels))

    def _encode(self, view: View, picture: Picture | None) -> Encoded:
        return self.segmenter.encode(view, lambda: as_bytes((picture or self.stage.picture(view)).rgb))

    def _prompt_and_vote(
        self, grid_view: GridView, votes: VoteAccumulator, more: PixelPrompt, weight: float = 0.0
    ) -> bool:
        """Prompt the segmenter with the selection so far; returns whether its mask agrees and has voted.

        Args:
            grid_view: the view of the mask.
            votes: the votes so far.
            more: further points of the prompt.
            weight: of the vote; 0: by the agreement of the mask.
        """
        points = inside(grid_view, votes.selected)
        if not len(points):
            return False
        positive = np.concatenate([np.ones(len(points), bool), more.positive])
        prompt = PixelPrompt(np.concatenate([points + 0.5, more.points]), positive)
        masks, _ = self._encode(grid_view.view, None).masks(prompt)
        agreements = [agreement(grid_view, votes, mask) for mask in masks]
        best = int(np.argmax(agreements))
        if agreements[best] < AGREES:
            return False
        votes.vote(grid_view, masks[best], weight or agreements[best] ** POWER)
        return True

    def _negative(self, view_prompt: _ViewPrompt) -> np.ndarray:
        """[N] bool: the Gaussians visible at the negative points."""
        out = np.zeros(self.stage.count, bool)
        prompt = view_prompt.prompt
        pixels = np.floor(prompt.points[~prompt.positive]).astype(np.int32)
        if len(pixels):
            rows = self.stage.rows(view_prompt.view, pixels)
            for begin, end in zip(rows.offsets[:-1], rows.offsets[1:], strict=True):
                weights = rows.weights[begin:end]
                out[rows.ids[begin:end][weights >= _VISIBLE * weights.max(initial=0)]] = True
        return out

    def _answer(self, votes: VoteAccumulator, voted: int, note: str = "") -> Lifted:
        if not votes.selected.any():
            none = np.zeros(self.stage.count, bool)
            return Lifted(
                none, none.astype(np.float32), votes.known, voted, note or "No Gaussian agrees with the clicks"
            )
        source = nearest_known(self.means, votes.known)
        return Lifted(votes.selected[source], votes.scores[source], votes.known, voted, note)


def fitted_view(view: View) -> View:
    """The view with at most LONGEST_SIDE pixels along its longer side."""
    factor = min(1.0, LONGEST_SIDE / max(view.width, view.height))
    return view.resized(max(1, round(view.width * factor)), max(1, round(view.height * factor)))


def _first_prompt_key(prompts: Sequence[Prompt]) -> tuple:
    """Key of a selection's first prompt; constant while the selection is refined."""
    return prompts[0].view.key, prompts[0].kind, prompts[0].pixels.tobytes()


def _view_prompts(prompts: Sequence[Prompt]) -> list[_ViewPrompt]:
    """The prompts by view, in their order."""
    by_view: dict[bytes, list[Prompt]] = {}
    for prompt in prompts:
        sample(prompt)  # rejects unusable prompts
        by_view.setdefault(prompt.view.key, []).append(prompt)
    return [_view_prompt(group) for group in by_view.values()]


def _view_prompt(prompts: list[Prompt]) -> _ViewPrompt:
    full = prompts[0].view
    view = fitted_view(full)
    factor = np.array([view.width / full.width, view.height / full.height])
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
    places = np.concatenate([np.zeros((0, 2)), *points]).astype(np.float64)
    return _ViewPrompt(view, PixelPrompt(places, np.array(signs, bool), box))


def _middle(kind: str, corners: np.ndarray, view: View) -> np.ndarray:
    """[1,2]: the pixel deepest inside a box or lasso."""
    from scipy import ndimage

    if kind == "box":
        return corners.mean(axis=0, keepdims=True)
    deep = ndimage.distance_transform_edt(np.pad(inside_polygon(corners, view), 1))[1:-1, 1:-1]
    row, column = np.unravel_index(np.argmax(deep), deep.shape)
    return np.array([[column + 0.5, row + 0.5]])


def _choose_mask(encoded: Encoded, prompt: PixelPrompt, scale: float | None) -> np.ndarray:
    """[H,W] bool: the candidate mask with the most positive and fewest negative points, the best of equal ones."""
    masks, quality = encoded.masks(prompt)
    places = np.floor(prompt.points).astype(int)
    rows, columns = (np.clip(places[:, 1 - i], 0, masks.shape[1 + i] - 1) for i in range(2))
    correct = (masks[:, rows, columns] == prompt.positive).sum(axis=1)
    if scale is not None and len(masks) > 1:
        order = np.argsort(masks.sum(axis=(1, 2)), kind="stable")
        return masks[order[round(scale * (len(masks) - 1))]]
    return masks[int(np.argmax(correct + quality * 0.5))]

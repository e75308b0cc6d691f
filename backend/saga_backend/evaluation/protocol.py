"""The evaluation protocol of the design (section 10): clicks on labeled segments, rules, 3D and 2D scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View

from ..common.progress import Control
from ..rasterizer.contributions import Contributions
from ..rasterizer.cpu import all_pixels, contributions
from .metrics import (
    SEEN,
    accuracy,
    deepest_pixel,
    iou,
    next_click,
    selected_pixels,
    true_map,
    update_largest_weights,
)

Selector = Callable[["Sight", np.ndarray, np.ndarray, float | None], np.ndarray]
"""(sight, pixels [P,2] int, positive [P] bool, scale or None for the automatic one) -> mask [N] bool."""

RULES = ("default", "reference")
LEVELS = ("objects", "parts")
SWITCH = ((1.0,), (0.0,))
"""The positions for each of LEVELS if a switch replaces the slider: objects are coarse, parts are fine."""
SCORES = ("miou_3d", "miou_3d_all", "miou_2d", "macc_2d")


@dataclass(frozen=True, eq=False)
class Sight:
    """A view for clicks and scores, with the contribution rows of all its pixels in row-major order."""

    view: View
    rows: Contributions

    def rows_at(self, pixels: np.ndarray) -> Contributions:
        """The contribution rows of some pixels [P,2] (column, row)."""
        pixels = np.asarray(pixels, np.int64)
        return self.rows.take(pixels[:, 1] * self.view.width + pixels[:, 0])


@dataclass(frozen=True)
class ProtocolSettings:
    """Settings of the protocol.

    Attributes:
        rules: some of RULES.
        clicks: reference views of a segment; each gets a first click.
        scales: slider positions that the rule `reference` tries.
        by_level: the same for each of LEVELS; replaces `scales`.
        cap: largest number of clicks when clicks are counted; 0: clicks are not counted.
        smallest: pixels of a segment that a view must show to be used for a click or a score.
    """

    rules: tuple[str, ...] = RULES
    clicks: int = 3
    scales: tuple[float, ...] = tuple(round(0.05 * i, 2) for i in range(21))
    by_level: tuple[tuple[float, ...], ...] = ()
    cap: int = 20
    smallest: int = 40

    def of_level(self, number: int) -> ProtocolSettings:
        """The settings for one of LEVELS."""
        return replace(self, scales=self.by_level[number]) if self.by_level else self


@dataclass(frozen=True, eq=False)
class Task:
    """A labeled scene.

    Attributes:
        labels: [N] or [N,2] int, object (and part); 0 = none.
        seen: [N] bool, the Gaussians that count for the 3D IoU.
        sights: the views for clicks and scores.
        names: for each level, the names by label; may be incomplete.
    """

    labels: np.ndarray
    seen: np.ndarray
    sights: Sequence[Sight]
    names: tuple[dict[int, str], ...] = ()


def observe(
    cloud: GaussianCloud, views: Sequence[View], keep: int = 12, control: Control | None = None
) -> tuple[list[Sight], np.ndarray]:
    """Rasterize a cloud once from all views.

    Args:
        cloud: N Gaussians.
        views: all views.
        keep: number of evenly spaced views to keep with all their rows (about 20 to 80 MB each).
        control: progress and cancellation.

    Returns:
        The kept views, and [N] bool, the Gaussians that are seen in some view.
    """
    control = control or Control()
    kept = set(np.unique(np.linspace(0, len(views) - 1, min(keep, len(views))).round().astype(int)).tolist())
    largest = np.zeros(len(cloud), np.float32)
    sights = []
    for index, view in enumerate(views):
        control.progress("rendering views", index, len(views))
        rows = contributions(cloud, view, all_pixels(view))
        update_largest_weights(largest, rows)
        if index in kept:
            sights.append(Sight(view, rows))
    return sights, largest >= SEEN


def evaluate(
    selector: Selector, task: Task, settings: ProtocolSettings | None = None, control: Control | None = None
) -> dict:
    """Click every labeled segment under every rule.

    Returns:
        {rule: {level: {miou_3d, miou_3d_all, miou_2d, macc_2d, clicks_to_85, clicks_to_90, per_object}}}. A score is
        the mean over the clicks of a segment, then over the segments. Segments without a view have None as scores and
        do not count in the means.
    """
    settings, control = settings or ProtocolSettings(), control or Control()
    columns = task.labels.reshape(len(task.labels), -1).T
    rules: dict[str, dict] = {rule: {} for rule in settings.rules}
    for number, (level, column) in enumerate(zip(LEVELS, columns, strict=False)):
        segments = Level(selector, task, np.ascontiguousarray(column), settings.of_level(number))
        names = task.names[number] if task.names else {}
        labels = np.unique(column[column > 0])
        entries: dict[str, list[dict]] = {rule: [] for rule in settings.rules}
        for index, label in enumerate(labels):
            control.progress(f"evaluating {level}", index, len(labels))
            for rule, entry in segments.score(int(label)).items():
                entries[rule].append({"label": int(label), "name": names.get(int(label), ""), **entry})
        for rule in settings.rules:
            rules[rule][level] = summary(entries[rule])
    return rules


def summary(entries: list[dict]) -> dict:
    """The result of a level: the means over the segments with clicks, and the entries of all segments."""
    keys = (*SCORES, "clicks_to_85", "clicks_to_90")
    clicked = [entry for entry in entries if entry["clicks"]]
    return {key: mean([entry[key] for entry in clicked]) for key in keys} | {"per_object": entries}


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are not None, to four digits; None if there are none."""
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


@dataclass(frozen=True, eq=False)
class Prompt:
    """The clicks of a user in a view of P pixels.

    Attributes:
        pixels: [C,2] int (column, row), the clicks.
        positive: [C] bool, False for "not this".
        mask: [P] bool, the pixels of the segment.
        known: [P] bool, the pixels with a known value in `mask`; None: all.
    """

    pixels: np.ndarray
    positive: np.ndarray
    mask: np.ndarray
    known: np.ndarray | None = None


def select_by(
    rule: str, selector: Selector, sight: Sight, prompt: Prompt, scales: Sequence[float]
) -> tuple[float | None, np.ndarray]:
    """Scale and mask [N] of a rule: `default` uses the automatic scale, `reference` the scale with the best IoU.

    Several scales can have the same IoU in this view. A user has no reason to move the slider between them, so the
    scale counts whose selection is nearest to the automatic one by IoU, and the middle one among equals.
    """
    automatic = selector(sight, prompt.pixels, prompt.positive, None)
    if rule == "default":
        return None, automatic
    masks = [selector(sight, prompt.pixels, prompt.positive, scale) for scale in scales]
    known = slice(None) if prompt.known is None else prompt.known
    ious = [iou(drawn[known], prompt.mask[known]) for drawn in selected_pixels(sight.rows, np.stack(masks))]
    equal = np.flatnonzero(np.array(ious) == max(ious))
    similarity = np.array([iou(masks[index], automatic) for index in equal])
    equal = equal[similarity == similarity.max()]
    best = int(equal[len(equal) // 2])
    return scales[best], masks[best]


@dataclass(frozen=True, eq=False)
class Click:
    """A first click: the index of its view, its pixel, and the scale and mask of its selection."""

    sight: int
    pixel: np.ndarray
    scale: float | None
    mask: np.ndarray


@dataclass(eq=False)
class Level:
    """One level of labels [N] under the protocol, with the true label map [H,W] of every view."""

    selector: Selector
    task: Task
    labels: np.ndarray
    settings: ProtocolSettings
    maps: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.maps = [
            true_map(sight.rows, self.labels).reshape(sight.view.height, sight.view.width) for sight in self.task.sights
        ]

    def score(self, label: int) -> dict[str, dict]:
        """The entry of a segment under each rule."""
        places = [(index, deepest_pixel(self.maps[index] == label)) for index in self._reference_views(label)]
        rules = self.settings.rules
        if not places:
            empty = dict.fromkeys((*SCORES, "clicks_to_85", "clicks_to_90")) | {"clicks": []}
            return {rule: dict(empty) for rule in rules}
        clicks = {rule: [self.click(rule, label, *place) for place in places] for rule in rules}
        scores = self._scores(label, [click for rule in rules for click in clicks[rule]])
        out = {}
        for position, rule in enumerate(rules):
            own = scores[position * len(places) : (position + 1) * len(places)]
            means = {key: mean([score[key[1:]] for score in own]) for key in SCORES}
            out[rule] = means | self._count_clicks(label, clicks[rule][0]) | {"clicks": own}
        return out

    def _reference_views(self, label: int) -> list[int]:
        """A few views, evenly spaced among those that show at least half as many pixels of the segment as the best."""
        areas = np.array([np.count_nonzero(true == label) for true in self.maps])
        good = np.flatnonzero(areas >= max(self.settings.smallest, areas.max() / 2))
        count = min(self.settings.clicks, len(good))
        return good[np.linspace(0, len(good) - 1, count).round().astype(int)].tolist() if count else []

    def click(self, rule: str, label: int, index: int, pixel: np.ndarray) -> Click:
        """Make a first click on a segment.

        Args:
            rule: one of RULES.
            label: the segment.
            index: the view's index in `task.sights`.
            pixel: [2] column, row.
        """
        prompt = Prompt(pixel[None], np.ones(1, bool), (self.maps[index] == label).ravel())
        scale, mask = select_by(rule, self.selector, self.task.sights[index], prompt, self.settings.scales)
        return Click(index, pixel, scale, mask)

    def _scores(self, label: int, clicks: list[Click]) -> list[dict]:
        """The 3D scores of each click's selection, and its 2D scores in all views except the view of the click."""
        masks = np.stack([click.mask for click in clicks])
        ious: list[list[float]] = [[] for _ in clicks]
        accuracies: list[list[float]] = [[] for _ in clicks]
        for index, (sight, true_labels) in enumerate(zip(self.task.sights, self.maps, strict=True)):
            true = (true_labels == label).ravel()
            if np.count_nonzero(true) < self.settings.smallest:
                continue
            for number, drawn in enumerate(selected_pixels(sight.rows, masks)):
                if clicks[number].sight != index:
                    ious[number].append(iou(drawn, true))
                    accuracies[number].append(accuracy(drawn, true))
        true_3d, seen = self.labels == label, self.task.seen
        return [
            {
                "view": click.sight,
                "pixel": click.pixel.tolist(),
                "scale": click.scale,
                "iou_3d": round(iou(click.mask[seen], true_3d[seen]), 4),
                "iou_3d_all": round(iou(click.mask, true_3d), 4),
                "iou_2d": mean(ious[number]),
                "acc_2d": mean(accuracies[number]),
            }
            for number, click in enumerate(clicks)
        ]

    def _count_clicks(self, label: int, first: Click) -> dict[str, int | None]:
        """Count the clicks until the 3D IoU is 0.85 and 0.90. Corrections are in the reference view, at one scale."""
        sight, true_labels = self.task.sights[first.sight], self.maps[first.sight]
        true_3d = (self.labels == label)[self.task.seen]
        cap = self.settings.cap
        pixels, positive, mask = first.pixel[None], np.ones(1, bool), first.mask
        if not cap:
            return {"clicks_to_85": None, "clicks_to_90": None}
        reached: dict[str, int | None] = {"clicks_to_85": cap, "clicks_to_90": cap}
        for used in range(1, cap + 1):
            score = iou(mask[self.task.seen], true_3d)
            for key, goal in (("clicks_to_85", 0.85), ("clicks_to_90", 0.90)):
                if score >= goal:
                    reached[key] = min(reached[key] or cap, used)
            if score >= 0.90 or used == cap:
                break
            drawn = selected_pixels(sight.rows, mask[None])[0].reshape(true_labels.shape)
            click = next_click(drawn, true_labels == label)
            if click is None or (pixels == click[0]).all(axis=1).any():
                break  # no error is left in this view, or a click did not help
            pixels, positive = np.vstack([pixels, click[0]]), np.append(positive, click[1])
            mask = self.selector(sight, pixels, positive, first.scale)
        return reached

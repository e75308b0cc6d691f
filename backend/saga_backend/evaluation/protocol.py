"""The evaluation protocol of the design (section 10): clicks on labeled things, rules, 3D and 2D scores."""

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
    raise_largest_weights,
    selected_pixels,
    true_map,
)

Selector = Callable[["Sight", np.ndarray, np.ndarray, float | None], np.ndarray]
"""(sight, pixels [P,2] int, positive [P] bool, scale or None for automatic) -> mask [N] bool."""

RULES = ("default", "reference")
LEVELS = ("objects", "parts")
SWITCH = ((1.0,), (0.0,))
"""Positions for each of LEVELS where a switch takes the slider's place: objects are coarse, parts are fine."""
SCORES = ("miou_3d", "miou_3d_all", "miou_2d", "macc_2d")


@dataclass(frozen=True, eq=False)
class Sight:
    """A view that is clicked and judged in, with the rows of all its pixels, row by row."""

    view: View
    rows: Contributions

    def rows_at(self, pixels: np.ndarray) -> Contributions:
        """The rows of some pixels [P,2] (column, row)."""
        pixels = np.asarray(pixels, np.int64)
        return self.rows.take(pixels[:, 1] * self.view.width + pixels[:, 0])


@dataclass(frozen=True)
class ProtocolSettings:
    """How things are clicked.

    Attributes:
        rules: which of RULES.
        clicks: reference views, each with a first click, per thing.
        scales: the slider's positions tried under the rule `reference`.
        by_level: the same for each of LEVELS, in place of `scales`.
        cap: clicks after which the count of clicks gives up; 0: not counted.
        smallest: pixels of a thing a view must show to be clicked or judged in.
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
    """What is evaluated on.

    Attributes:
        labels: [N] or [N,2] int, object (and part); 0 = none.
        seen: [N] bool, the Gaussians that count for the 3D IoU.
        sights: the views clicked and judged in.
        names: for each level the names by label, where known.
    """

    labels: np.ndarray
    seen: np.ndarray
    sights: Sequence[Sight]
    names: tuple[dict[int, str], ...] = ()


def observe(
    cloud: GaussianCloud, views: Sequence[View], keep: int = 12, control: Control | None = None
) -> tuple[list[Sight], np.ndarray]:
    """Look at a cloud from all views once.

    Args:
        cloud: N Gaussians.
        views: where from.
        keep: how many evenly spaced views to keep with all their rows (about 20 to 80 MB each).

    Returns:
        The kept views, and [N] bool which Gaussians some view sees.
    """
    control = control or Control()
    kept = set(np.unique(np.linspace(0, len(views) - 1, min(keep, len(views))).round().astype(int)).tolist())
    largest = np.zeros(len(cloud), np.float32)
    sights = []
    for index, view in enumerate(views):
        control.progress("looking", index, len(views))
        rows = contributions(cloud, view, all_pixels(view))
        raise_largest_weights(largest, rows)
        if index in kept:
            sights.append(Sight(view, rows))
    return sights, largest >= SEEN


def evaluate(
    selector: Selector, task: Task, settings: ProtocolSettings | None = None, control: Control | None = None
) -> dict:
    """Click every labeled thing under every rule.

    Returns:
        {rule: {level: {miou_3d, miou_3d_all, miou_2d, macc_2d, clicks_to_85, clicks_to_90, per_object}}}; a score is
        the mean over things of the mean over their clicks. Things that no view shows are listed with None and left
        out of the means.
    """
    settings, control = settings or ProtocolSettings(), control or Control()
    columns = task.labels.reshape(len(task.labels), -1).T
    rules: dict[str, dict] = {rule: {} for rule in settings.rules}
    for number, (level, column) in enumerate(zip(LEVELS, columns, strict=False)):
        things = Level(selector, task, np.ascontiguousarray(column), settings.of_level(number))
        names = task.names[number] if task.names else {}
        wanted = np.unique(column[column > 0])
        entries: dict[str, list[dict]] = {rule: [] for rule in settings.rules}
        for index, label in enumerate(wanted):
            control.progress(f"evaluating {level}", index, len(wanted))
            for rule, entry in things.judge(int(label)).items():
                entries[rule].append({"label": int(label), "name": names.get(int(label), ""), **entry})
        for rule in settings.rules:
            rules[rule][level] = summary(entries[rule])
    return rules


def summary(entries: list[dict]) -> dict:
    """A level's line of the result: the means over the things that were clicked, and the things themselves."""
    keys = (*SCORES, "clicks_to_85", "clicks_to_90")
    shown = [entry for entry in entries if entry["clicks"]]
    return {key: mean([entry[key] for entry in shown]) for key in keys} | {"per_object": entries}


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of what is there, to four digits; None where nothing is."""
    there = [value for value in values if value is not None]
    return round(float(np.mean(there)), 4) if there else None


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a user points at in a view of P pixels.

    Attributes:
        pixels: [C,2] int (column, row), the clicks.
        positive: [C] bool, False for "not this".
        wanted: [P] bool, the pixels of the thing.
        known: [P] bool, the pixels of which it is known whether they are the thing's; None: all.
    """

    pixels: np.ndarray
    positive: np.ndarray
    wanted: np.ndarray
    known: np.ndarray | None = None


def select_by(
    rule: str, selector: Selector, sight: Sight, prompt: Prompt, scales: Sequence[float]
) -> tuple[float | None, np.ndarray]:
    """Scale and mask [N] of a rule: `default` touches nothing, `reference` takes the scale that looks best.

    Where several scales look the same in this view, nobody has a reason to move the slider between them: of those the
    one counts whose selection is most like what the click began with, and of equal ones the middle.
    """
    untouched = selector(sight, prompt.pixels, prompt.positive, None)
    if rule == "default":
        return None, untouched
    masks = [selector(sight, prompt.pixels, prompt.positive, scale) for scale in scales]
    known = slice(None) if prompt.known is None else prompt.known
    looks = [iou(drawn[known], prompt.wanted[known]) for drawn in selected_pixels(sight.rows, np.stack(masks))]
    equal = np.flatnonzero(np.array(looks) == max(looks))
    likeness = np.array([iou(masks[index], untouched) for index in equal])
    equal = equal[likeness == likeness.max()]
    best = int(equal[len(equal) // 2])
    return scales[best], masks[best]


@dataclass(frozen=True, eq=False)
class Click:
    """A first click: in which view, where, and what was selected with which scale."""

    sight: int
    pixel: np.ndarray
    scale: float | None
    mask: np.ndarray


@dataclass(eq=False)
class Level:
    """One level of labels [N] under the protocol; keeps the true label map [H,W] of every view."""

    selector: Selector
    task: Task
    labels: np.ndarray
    settings: ProtocolSettings
    maps: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.maps = [
            true_map(sight.rows, self.labels).reshape(sight.view.height, sight.view.width) for sight in self.task.sights
        ]

    def judge(self, label: int) -> dict[str, dict]:
        """Entry of a thing under each rule."""
        places = [(index, deepest_pixel(self.maps[index] == label)) for index in self._reference_views(label)]
        rules = self.settings.rules
        if not places:
            empty = dict.fromkeys((*SCORES, "clicks_to_85", "clicks_to_90")) | {"clicks": []}
            return {rule: dict(empty) for rule in rules}
        clicks = {rule: [self.click(rule, label, *place) for place in places] for rule in rules}
        scores = self._scores(label, [click for rule in rules for click in clicks[rule]])
        out = {}
        for position, rule in enumerate(rules):
            mine = scores[position * len(places) : (position + 1) * len(places)]
            means = {key: mean([score[key[1:]] for score in mine]) for key in SCORES}
            out[rule] = means | self._patience(label, clicks[rule][0]) | {"clicks": mine}
        return out

    def _reference_views(self, label: int) -> list[int]:
        """A few views, spread over those that show the thing at least half as large as the best one."""
        areas = np.array([np.count_nonzero(true == label) for true in self.maps])
        good = np.flatnonzero(areas >= max(self.settings.smallest, areas.max() / 2))
        count = min(self.settings.clicks, len(good))
        return good[np.linspace(0, len(good) - 1, count).round().astype(int)].tolist() if count else []

    def click(self, rule: str, label: int, index: int, pixel: np.ndarray) -> Click:
        """What a first click on a thing selects.

        Args:
            rule: one of RULES.
            label: the thing.
            index: of the view among the task's sights.
            pixel: [2] column, row.
        """
        prompt = Prompt(pixel[None], np.ones(1, bool), (self.maps[index] == label).ravel())
        scale, mask = select_by(rule, self.selector, self.task.sights[index], prompt, self.settings.scales)
        return Click(index, pixel, scale, mask)

    def _scores(self, label: int, clicks: list[Click]) -> list[dict]:
        """3D scores of each click's selection, and its 2D scores in all views but the one it was made in."""
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

    def _patience(self, label: int, first: Click) -> dict[str, int | None]:
        """Clicks until the 3D IoU reaches 0.85 and 0.90, correcting in the reference view; the scale stays."""
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
                break  # nothing left to correct from here, or a click that did not help
            pixels, positive = np.vstack([pixels, click[0]]), np.append(positive, click[1])
            mask = self.selector(sight, pixels, positive, first.scale)
        return reached

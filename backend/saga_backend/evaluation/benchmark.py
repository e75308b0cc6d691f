"""Run a published benchmark: points or a mask in a reference view, IoU and accuracy in the target views.

The procedure is SAGA's (A.2). On NVOS, points are sampled from the scribbles; on SPIn-NeRF, inside and outside the
reference mask. The selection is rendered in the target views and compared there. The paper does not give the number of
points; here it is a setting. mIoU is the mean over the target views of an object, then over the objects, as in the
script of LERF-Mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud

from ..cameras.photo import Frame
from ..common.progress import Control
from ..rasterizer.cpu import all_pixels, contributions, render
from .datasets import lerf_mask, nvos, ovs3d, spin_nerf
from .datasets.common import Benchmark, LabeledObject
from .metrics import accuracy, iou, selected_pixels
from .pictures import color, mark, paint, sheet
from .protocol import RULES, SCORES, Prompt, ProtocolSettings, Selector, Sight, mean, select_by, summary

KINDS = {"nvos": nvos, "spin-nerf": spin_nerf, "lerf-mask": lerf_mask, "3d-ovs": ovs3d}
"""The modules that read the benchmarks. Each has `cameras_of` and `load`."""
Propagator = Callable[[Sight, np.ndarray, float | None], np.ndarray]
"""Label propagation: (view, mask of its pixels [P] bool, scale or None) -> mask of the Gaussians [N] bool."""
_SHEET_OBJECTS = 6
"""Objects on a sheet, at most."""


@dataclass(frozen=True)
class PromptSettings:
    """The prompts of an object in its reference view.

    Attributes:
        positive: number of random points on the object.
        negative: number of random points off the object.
        seed: seed of the random points.
        propagate: uses the whole reference mask instead of points (Click-Gaussian, section 4.1); None: points.
    """

    positive: int = 5
    negative: int = 5
    seed: int = 0
    propagate: Propagator | None = None


@dataclass(eq=False)
class _Case:
    """The state of one object: its prompt, and for each rule the selection and the scores so far."""

    object: LabeledObject
    prompt: Prompt
    scales: dict[str, float | None] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    scores: dict[str, list[dict]] = field(default_factory=lambda: {rule: [] for rule in RULES})
    pictures: tuple | None = None  # image, truth, result of the first target


def run_benchmark(
    selector: Selector, cloud: GaussianCloud, benchmark: Benchmark, prompts: PromptSettings, control: Control
) -> tuple[dict, np.ndarray]:
    """Evaluate a selector on a benchmark.

    Returns:
        The rules in the form of `protocol.evaluate`, each object with its targets; the 3D scores are empty because a
        benchmark has no labels in 3D. And a sheet [H,W,3] uint8 of points | truth | result for the rule `reference`.

    Raises:
        UserError: if a mask is damaged, or all target masks are empty.
    """
    rng = np.random.default_rng(prompts.seed)
    cases = [_Case(each, _make_prompt(each, prompts, rng)) for each in benchmark.objects]
    _select(_selector_of(selector, prompts), cloud, cases, control)
    targets = {id(truth.frame): truth.frame for case in cases for truth in case.object.targets}
    for index, frame in enumerate(targets.values()):
        control.progress("comparing target views", index, len(targets))
        _score(cloud, frame, cases)
    if not any(case.scores["default"] for case in cases):
        raise UserError(
            "The benchmark cannot be evaluated",
            "the masks of all target views are empty",
            fix="Check the masks of the dataset",
        )
    rules = {rule: {"objects": summary([_entry(n, case, rule) for n, case in enumerate(cases)])} for rule in RULES}
    kind = "points" if prompts.propagate is None else "mask"
    titles = (f"reference view, {kind}", "target view, truth", "result")
    return rules, sheet([case.pictures for case in cases if case.pictures][:_SHEET_OBJECTS], titles)


def _make_prompt(target: LabeledObject, prompts: PromptSettings, rng: np.random.Generator) -> Prompt:
    pixels, positive = [], []
    points = (0, 0) if prompts.propagate else (prompts.positive, prompts.negative)
    for region, count, sign in ((target.positive, points[0], True), (target.negative, points[1], False)):
        rows, columns = np.nonzero(region)
        sample = rng.choice(len(rows), min(count, len(rows)), replace=False)
        pixels.append(np.stack([columns[sample], rows[sample]], axis=1))
        positive += [sign] * len(sample)
    mask, known = target.positive.ravel(), (target.positive | target.negative).ravel()
    return Prompt(np.concatenate(pixels), np.array(positive, bool), mask, known)


def _selector_of(selector: Selector, prompts: PromptSettings) -> Callable[[_Case], Selector]:
    """The selector of a case: the selector itself for points, label propagation for a mask."""
    propagate = prompts.propagate
    if propagate is None:
        return lambda case: selector
    return lambda case: lambda sight, pixels, positive, scale: propagate(sight, case.prompt.mask, scale)


def _select(
    selector_of: Callable[[_Case], Selector], cloud: GaussianCloud, cases: Sequence[_Case], control: Control
) -> None:
    """Select every object. Only the rows of one reference view are in memory at a time."""
    by_view: dict[int, list[_Case]] = {}
    for case in cases:
        by_view.setdefault(id(case.object.reference), []).append(case)
    for index, group in enumerate(by_view.values()):
        control.progress("clicking in reference views", index, len(by_view))
        view = group[0].object.reference.view
        sight = Sight(view, contributions(cloud, view, all_pixels(view)))
        for case in group:
            for rule in RULES:
                scales = ProtocolSettings.scales
                selection = select_by(rule, selector_of(case), sight, case.prompt, scales)
                case.scales[rule], case.masks[rule] = selection


def _score(cloud: GaussianCloud, frame: Frame, cases: Sequence[_Case]) -> None:
    """Score all objects in one target view. Objects with an empty mask in this view get no score."""
    rows = contributions(cloud, frame.view, all_pixels(frame.view))
    for case in cases:
        for truth in (t for t in case.object.targets if t.frame is frame):
            true = truth.mask()
            if not true.any():
                continue
            drawn = dict(zip(RULES, selected_pixels(rows, np.stack([case.masks[r] for r in RULES])), strict=True))
            for rule, mask in drawn.items():
                score = {"view": frame.name, "iou": iou(mask, true.ravel()), "acc": accuracy(mask, true.ravel())}
                case.scores[rule].append(score)
            if case.pictures is None:
                case.pictures = _draw_pictures(cloud, frame, case, true, drawn["reference"].reshape(true.shape))


def _draw_pictures(cloud: GaussianCloud, frame: Frame, case: _Case, true: np.ndarray, drawn: np.ndarray) -> tuple:
    """The reference view with its points, and a target view with the true mask and with the result."""
    prompt, reference = case.prompt, case.object.reference.view
    dots = [color(0) if sign else np.zeros(3) + 0.9 for sign in prompt.positive]
    small = reference.resized(frame.view.width, frame.view.height)
    left = mark(render(cloud, small).rgb, _scale_pixels(prompt, case, frame), dots)
    if not len(dots):
        whole = Image.fromarray(case.object.positive).resize((small.width, small.height), Image.Resampling.NEAREST)
        left = paint(left, [np.asarray(whole)])
    rgb = render(cloud, frame.view).rgb
    return left, paint(rgb, [true]), paint(rgb, [drawn])


def _scale_pixels(prompt: Prompt, case: _Case, frame: Frame) -> np.ndarray:
    """The pixels of the prompt when the reference view has the size of the target view."""
    own, other = case.object.reference.view, frame.view
    return prompt.pixels * np.array([other.width / own.width, other.height / own.height])


def _entry(number: int, case: _Case, rule: str) -> dict:
    """The entry of an object, with the keys of `protocol.evaluate`."""
    targets = [score | {"iou": round(score["iou"], 4), "acc": round(score["acc"], 4)} for score in case.scores[rule]]
    click = {
        "view": case.object.reference.name,
        "pixels": case.prompt.pixels.tolist(),
        "positive": case.prompt.positive.tolist(),
        "scale": case.scales[rule],
    }
    empty: dict = dict.fromkeys((*SCORES, "clicks_to_85", "clicks_to_90"))
    means = {"miou_2d": mean([t["iou"] for t in targets]), "macc_2d": mean([t["acc"] for t in targets])}
    own = {"label": number + 1, "name": case.object.name}
    return own | empty | means | {"clicks": [click] if targets else [], "targets": targets}

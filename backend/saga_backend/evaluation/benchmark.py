"""Running a published benchmark: points or a mask in a reference view, IoU and accuracy in the target views.

SAGA (A.2): on NVOS points are drawn at random from the scribbles, on SPIn-NeRF inside and outside the reference mask,
the selection is rendered in the target views and compared there. How many points it takes is not said; here it is a
setting. mIoU is the mean over a thing's target views, then over things, as LERF-Mask's own script has it.
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
"""The modules that read the benchmarks: `cameras_of` and `load` each."""
Propagator = Callable[[Sight, np.ndarray, float | None], np.ndarray]
"""Label propagation: from a view, what of its P pixels [P] bool a mask covers, and a scale or None, to [N] bool."""
_PICTURED = 6  # things on a sheet


@dataclass(frozen=True)
class PromptSettings:
    """What is said of a thing in its reference view.

    Attributes:
        positive: points drawn at random on the thing.
        negative: points drawn at random off it.
        seed: of the draw.
        propagate: takes the whole reference mask in place of the points (Click-Gaussian, section 4.1); None: points.
    """

    positive: int = 5
    negative: int = 5
    seed: int = 0
    propagate: Propagator | None = None


@dataclass(eq=False)
class _Case:
    """A thing while it is judged: its prompt, and under each rule the selection and the scores so far."""

    thing: LabeledObject
    prompt: Prompt
    scales: dict[str, float | None] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    scores: dict[str, list[dict]] = field(default_factory=lambda: {rule: [] for rule in RULES})
    shown: tuple | None = None  # image, truth, result of its first target


def run_benchmark(
    selector: Selector, cloud: GaussianCloud, benchmark: Benchmark, prompts: PromptSettings, control: Control
) -> tuple[dict, np.ndarray]:
    """Judge a selector on a benchmark.

    Returns:
        The rules as `protocol.evaluate` gives them (no 3D scores: there is no truth in 3D), each thing with its
        targets; and a sheet [H,W,3] uint8 of points | truth | result under the rule `reference`.

    Raises:
        UserError: if the masks are damaged, or all targets are empty.
    """
    rng = np.random.default_rng(prompts.seed)
    cases = [_Case(thing, _prompt(thing, prompts, rng)) for thing in benchmark.things]
    _select(_selector_of(selector, prompts), cloud, cases, control)
    targets = {id(truth.frame): truth.frame for case in cases for truth in case.thing.targets}
    for index, frame in enumerate(targets.values()):
        control.progress("judging target views", index, len(targets))
        _judge(cloud, frame, cases)
    if not any(case.scores["default"] for case in cases):
        raise UserError(
            "There is nothing to compare with",
            "every mask of every target view is empty",
            fix="Give masks that show something",
        )
    rules = {rule: {"objects": summary([_entry(n, case, rule) for n, case in enumerate(cases)])} for rule in RULES}
    said = "points" if prompts.propagate is None else "mask"
    titles = (f"reference view, {said}", "target view, truth", "result")
    return rules, sheet([case.shown for case in cases if case.shown][:_PICTURED], titles)


def _prompt(thing: LabeledObject, prompts: PromptSettings, rng: np.random.Generator) -> Prompt:
    pixels, positive = [], []
    points = (0, 0) if prompts.propagate else (prompts.positive, prompts.negative)
    for region, count, sign in ((thing.positive, points[0], True), (thing.negative, points[1], False)):
        rows, columns = np.nonzero(region)
        some = rng.choice(len(rows), min(count, len(rows)), replace=False)
        pixels.append(np.stack([columns[some], rows[some]], axis=1))
        positive += [sign] * len(some)
    wanted, known = thing.positive.ravel(), (thing.positive | thing.negative).ravel()
    return Prompt(np.concatenate(pixels), np.array(positive, bool), wanted, known)


def _selector_of(selector: Selector, prompts: PromptSettings) -> Callable[[_Case], Selector]:
    """What selects a thing: by points the selector itself, else its whole mask in the reference view."""
    propagate = prompts.propagate
    if propagate is None:
        return lambda case: selector
    return lambda case: lambda sight, pixels, positive, scale: propagate(sight, case.prompt.wanted, scale)


def _select(
    selector_of: Callable[[_Case], Selector], cloud: GaussianCloud, cases: Sequence[_Case], control: Control
) -> None:
    """Selections of every thing, one reference view's rows in memory at a time."""
    by_view: dict[int, list[_Case]] = {}
    for case in cases:
        by_view.setdefault(id(case.thing.reference), []).append(case)
    for index, group in enumerate(by_view.values()):
        control.progress("clicking in reference views", index, len(by_view))
        view = group[0].thing.reference.view
        sight = Sight(view, contributions(cloud, view, all_pixels(view)))
        for case in group:
            for rule in RULES:
                scales = ProtocolSettings.scales
                chosen = select_by(rule, selector_of(case), sight, case.prompt, scales)
                case.scales[rule], case.masks[rule] = chosen


def _judge(cloud: GaussianCloud, frame: Frame, cases: Sequence[_Case]) -> None:
    """Scores of all things in one target view; a thing that the view does not show is not judged there."""
    rows = contributions(cloud, frame.view, all_pixels(frame.view))
    for case in cases:
        for truth in (t for t in case.thing.targets if t.frame is frame):
            true = truth.mask()
            if not true.any():
                continue
            drawn = dict(zip(RULES, selected_pixels(rows, np.stack([case.masks[r] for r in RULES])), strict=True))
            for rule, mask in drawn.items():
                score = {"view": frame.name, "iou": iou(mask, true.ravel()), "acc": accuracy(mask, true.ravel())}
                case.scores[rule].append(score)
            if case.shown is None:
                case.shown = _pictured(cloud, frame, case, true, drawn["reference"].reshape(true.shape))


def _pictured(cloud: GaussianCloud, frame: Frame, case: _Case, true: np.ndarray, drawn: np.ndarray) -> tuple:
    """The reference view with its points, the true mask and the result in a target view."""
    prompt, reference = case.prompt, case.thing.reference.view
    dots = [color(0) if sign else np.zeros(3) + 0.9 for sign in prompt.positive]
    asked = reference.resized(frame.view.width, frame.view.height)
    left = mark(render(cloud, asked).rgb, _scaled(prompt, case, frame), dots)
    if not len(dots):
        whole = Image.fromarray(case.thing.positive).resize((asked.width, asked.height), Image.Resampling.NEAREST)
        left = paint(left, [np.asarray(whole)])
    rgb = render(cloud, frame.view).rgb
    return left, paint(rgb, [true]), paint(rgb, [drawn])


def _scaled(prompt: Prompt, case: _Case, frame: Frame) -> np.ndarray:
    """The prompt's pixels in the reference view drawn at the target's size."""
    own, other = case.thing.reference.view, frame.view
    return prompt.pixels * np.array([other.width / own.width, other.height / own.height])


def _entry(number: int, case: _Case, rule: str) -> dict:
    """A thing's line, with the keys of the protocol's."""
    targets = [score | {"iou": round(score["iou"], 4), "acc": round(score["acc"], 4)} for score in case.scores[rule]]
    click = {
        "view": case.thing.reference.name,
        "pixels": case.prompt.pixels.tolist(),
        "positive": case.prompt.positive.tolist(),
        "scale": case.scales[rule],
    }
    empty: dict = dict.fromkeys((*SCORES, "clicks_to_85", "clicks_to_90"))
    means = {"miou_2d": mean([t["iou"] for t in targets]), "macc_2d": mean([t["acc"] for t in targets])}
    own = {"label": number + 1, "name": case.thing.name}
    return own | empty | means | {"clicks": [click] if targets else [], "targets": targets}

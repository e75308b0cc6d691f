"""Time to quality: snapshots of a training, evaluated after the training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..common.progress import Control
from ..model.scene_model import SceneModel
from .protocol import LEVELS, SWITCH, ProtocolSettings, Selector, Task, evaluate

GOOD = 0.90
"""The mIoU that counts as good (design section 9)."""
_SIGHTS = 3  # views with clicks: a snapshot takes only seconds to evaluate


@dataclass(eq=False)
class Snapshots:
    """Snapshots of a training. Their number is bounded, and so are the memory and the time to evaluate them.

    Attributes:
        limit: largest number of snapshots; beyond it, every second one is dropped.
        kept: (seconds since the start, model). The seconds are training time alone: evaluation comes later.
    """

    limit: int = 24
    kept: list[tuple[float, SceneModel]] = field(default_factory=list)
    _start: float = field(default_factory=time.perf_counter)
    _published: int = 0
    _stride: int = 1

    def publish(self, model: SceneModel) -> None:
        """Add a snapshot (Sources.publish)."""
        if self._published % self._stride == 0:
            self.kept.append((time.perf_counter() - self._start, model))
        self._published += 1
        if len(self.kept) > self.limit:
            self.kept, self._stride = self.kept[::2], 2 * self._stride

    def publish_trained(self, model: SceneModel) -> None:
        """Add a snapshot if it has features. Without them, it cannot be evaluated by features."""
        if model.affinity or model.levels:
            self.publish(model)

    def finish(self, model: SceneModel) -> None:
        """Add the trained model, which is never dropped."""
        self.kept.append((time.perf_counter() - self._start, model))


def curve(
    snapshots: Snapshots, selector_of: Callable[[SceneModel], Selector], task: Task, control: Control | None = None
) -> list[list[float | None]]:
    """Quality over time: [step, seconds, mIoU of objects, mIoU of parts] of every snapshot.

    The IoU is in 3D, under the rule `reference`, with one click for each object or part, in one of three views.
    """
    step = max(1, len(task.sights) // _SIGHTS)
    few = replace(task, sights=task.sights[::step][:_SIGHTS])
    settings = ProtocolSettings(rules=("reference",), clicks=1, cap=0)
    points: list[list[float | None]] = []
    for index, (seconds, model) in enumerate(snapshots.kept):
        (control or Control()).progress("evaluating snapshots", index, len(snapshots.kept))
        own = replace(settings, by_level=SWITCH if model.levels else ())
        levels = evaluate(selector_of(model), few, own)["reference"]
        scores = [levels[level]["miou_3d"] if level in levels else None for level in LEVELS]
        points.append([model.steps, round(seconds, 2), *scores])
    return points


def seconds_to(points: list[list[float | None]], goal: float = GOOD) -> dict[str, float | None]:
    """For each level, the seconds until the mIoU of a curve first reached the goal; None if it never did."""
    reached: dict[str, float | None] = {}
    for column, level in enumerate(LEVELS, start=2):
        good = [point[1] for point in points if (point[column] or 0) >= goal]
        reached[level] = good[0] if good else None
    return reached

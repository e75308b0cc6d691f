"""Time to quality: models kept while they were trained, judged afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..common.progress import Control
from ..model.scene_model import SceneModel
from .protocol import LEVELS, SWITCH, ProtocolSettings, Selector, Task, evaluate

GOOD = 0.90
"""The mIoU that counts as quality (design section 9)."""
_SIGHTS = 3  # views that are clicked in: a snapshot is judged in seconds


@dataclass(eq=False)
class Snapshots:
    """Snapshots of a training, thinned as they come: memory and the time to judge them stay bounded.

    Attributes:
        most: more than this many are never kept; when there are, every second one goes.
        kept: seconds since the start, model; the seconds are the training's own, nothing is judged meanwhile.
    """

    most: int = 24
    kept: list[tuple[float, SceneModel]] = field(default_factory=list)
    _begun: float = field(default_factory=time.perf_counter)
    _seen: int = 0
    _stride: int = 1

    def publish(self, model: SceneModel) -> None:
        """Take a snapshot in (Sources.publish)."""
        if self._seen % self._stride == 0:
            self.kept.append((time.perf_counter() - self._begun, model))
        self._seen += 1
        if len(self.kept) > self.most:
            self.kept, self._stride = self.kept[::2], 2 * self._stride

    def publish_trained(self, model: SceneModel) -> None:
        """The same, without snapshots that have no features yet: by features they cannot be judged."""
        if model.affinity or model.levels:
            self.publish(model)

    def finish(self, model: SceneModel) -> None:
        """Take the trained model in, which is never thinned out."""
        self.kept.append((time.perf_counter() - self._begun, model))


def curve(
    snapshots: Snapshots, selector_of: Callable[[SceneModel], Selector], task: Task, control: Control | None = None
) -> list[list[float | None]]:
    """Quality over time: [step, seconds, mIoU of objects, mIoU of parts] of every kept snapshot.

    3D IoU under the rule `reference`, one click a thing, each in one of three views.
    """
    step = max(1, len(task.sights) // _SIGHTS)
    few = replace(task, sights=task.sights[::step][:_SIGHTS])
    settings = ProtocolSettings(rules=("reference",), clicks=1, cap=0)
    points: list[list[float | None]] = []
    for index, (seconds, model) in enumerate(snapshots.kept):
        (control or Control()).progress("judging snapshots", index, len(snapshots.kept))
        own = replace(settings, by_level=SWITCH if model.levels else ())
        levels = evaluate(selector_of(model), few, own)["reference"]
        scores = [levels[level]["miou_3d"] if level in levels else None for level in LEVELS]
        points.append([model.steps, round(seconds, 2), *scores])
    return points


def seconds_to(points: list[list[float | None]], goal: float = GOOD) -> dict[str, float | None]:
    """For each level the seconds after which a curve's mIoU first reached the goal, None where it never did."""
    reached: dict[str, float | None] = {}
    for column, level in enumerate(LEVELS, start=2):
        good = [point[1] for point in points if (point[column] or 0) >= goal]
        reached[level] = good[0] if good else None
    return reached

"""How often a text finds the right thing: every caption of a scene is asked once, by both ways to search."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from blender_saga.wire.messages import Cluster

from ..common.progress import Control
from ..model.clustering import divide
from ..text.clip_model import LoadedClip
from ..text.mask_vectors import TextSources
from ..text.search import build_index, find
from ..text.text_index import TextIndex
from .metrics import iou
from .protocol import mean

RULE = (
    "a caption is right when the best candidate is said to match and its 3D IoU with a thing of that caption, over the "
    "Gaussians that some view sees, is at least 0.5"
)
_RIGHT = 0.5
_LOOKED_AT = 5  # candidates


@dataclass(frozen=True, eq=False)
class TextTask:
    """What is asked and what is right.

    Attributes:
        things: by caption the Gaussians [N] bool of every thing that is called so.
        absent: captions that nothing is called.
        seen: [N] bool, the Gaussians that count.
    """

    things: dict[str, list[np.ndarray]]
    absent: list[str]
    seen: np.ndarray


def text_task(labels: np.ndarray, captions: dict[int, str], words: list[str], seen: np.ndarray) -> TextTask:
    """The task of a scene.

    Args:
        labels: [N] int, the thing of every Gaussian.
        captions: by label; what nobody sees is not asked for.
        words: the vocabulary.
        seen: [N] bool.
    """
    things: dict[str, list[np.ndarray]] = {}
    for label, name in captions.items():
        mask = labels == label
        if (mask & seen).any():
            things.setdefault(name, []).append(mask)
    return TextTask(things, [word for word in words if word not in set(captions.values())], seen)


def judge_text(sources: TextSources, clip: LoadedClip, task: TextTask, control: Control) -> dict:
    """Both ways (clusters alone without features): {top1, way, ways: {way: {...}}, vocabulary, rule}."""
    ways = ["votes", "clusters"] if sources.model.affinity else ["clusters"]
    tree = divide(Cluster(""), sources.cloud, sources.model, control)
    judged = {way: judge_way(build_index(way, sources, clip, control, tree), clip, task) for way in ways}
    first = judged[ways[0]]
    return {
        "top1": first["top1"],
        "way": ways[0],
        "vocabulary": len(task.things),
        "things": sum(len(masks) for masks in task.things.values()),
        "rule": RULE,
        "ways": judged,
    }


def judge_way(index: TextIndex, clip: LoadedClip, task: TextTask) -> dict:
    """Share of the captions whose first candidate is right, and of those absent that are answered by "nothing"."""
    entries = [_judge(index, clip, text, masks, task) for text, masks in task.things.items()]
    nothing = [find(index, text, clip, 1).matches == 0 for text in task.absent]
    return {
        "top1": mean([float(entry.right) for entry in entries]),
        "top5": mean([float(max(entry.ious, default=0.0) >= _RIGHT) for entry in entries]),
        "absent": len(nothing),
        "absent_said": mean([float(said) for said in nothing]),
        "targets": len(index),
        "pictures": len(index.vectors),
        "captions": [asdict(entry) for entry in entries],
    }


@dataclass(frozen=True)
class _Asked:
    """One caption: whether it was answered right, the first candidate's score, the IoU of the first few."""

    text: str
    right: bool
    score: float | None
    ious: list[float]


def _judge(index: TextIndex, clip: LoadedClip, text: str, masks: list[np.ndarray], task: TextTask) -> _Asked:
    ranking = find(index, text, clip, _LOOKED_AT)
    ious = [round(max(_iou(index, int(t), mask, task) for mask in masks), 4) for t in ranking.targets]
    right = ranking.matches > 0 and ious[0] >= _RIGHT
    return _Asked(text, right, round(float(ranking.scores[0]), 4) if ious else None, ious)


def _iou(index: TextIndex, target: int, true: np.ndarray, task: TextTask) -> float:
    return iou(index.mask(target)[task.seen], true[task.seen])

"""The accuracy of text search: one search for every caption of a scene, with both ways to search."""

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
    "a caption is right if the search reports its first candidate as a match, and the 3D IoU of this candidate with a "
    "segment of that caption, over the Gaussians that some view sees, is at least 0.5"
)
_RIGHT_IOU = 0.5
_CANDIDATES = 5  # candidates of a search that are compared


@dataclass(frozen=True, eq=False)
class TextTask:
    """Captions to search for, and their right answers.

    Attributes:
        segments: by caption, the Gaussians [N] bool of every segment with that caption.
        absent: captions that no segment has.
        seen: [N] bool, the Gaussians that count.
    """

    segments: dict[str, list[np.ndarray]]
    absent: list[str]
    seen: np.ndarray


def text_task(labels: np.ndarray, captions: dict[int, str], words: list[str], seen: np.ndarray) -> TextTask:
    """The task of a scene.

    Args:
        labels: [N] int, the segment of every Gaussian.
        captions: by label; captions of segments that no view shows are dropped.
        words: the vocabulary.
        seen: [N] bool.
    """
    segments: dict[str, list[np.ndarray]] = {}
    for label, name in captions.items():
        mask = labels == label
        if (mask & seen).any():
            segments.setdefault(name, []).append(mask)
    return TextTask(segments, [word for word in words if word not in set(captions.values())], seen)


def judge_text(sources: TextSources, clip: LoadedClip, task: TextTask, control: Control) -> dict:
    """Evaluate both ways to search, or clusters alone without features.

    Returns:
        {top1, way, vocabulary, things, rule, ways: {way: scores of the way}}.
    """
    ways = ["votes", "clusters"] if sources.model.affinity else ["clusters"]
    tree = divide(Cluster(""), sources.cloud, sources.model, control)
    scores = {way: judge_way(build_index(way, sources, clip, control, tree), clip, task) for way in ways}
    first = scores[ways[0]]
    return {
        "top1": first["top1"],
        "way": ways[0],
        "vocabulary": len(task.segments),
        "things": sum(len(masks) for masks in task.segments.values()),
        "rule": RULE,
        "ways": scores,
    }


def judge_way(index: TextIndex, clip: LoadedClip, task: TextTask) -> dict:
    """The share of captions with a right first candidate, and the share of absent captions without a match."""
    entries = [_judge(index, clip, text, masks, task) for text, masks in task.segments.items()]
    nothing = [find(index, text, clip, 1).matches == 0 for text in task.absent]
    return {
        "top1": mean([float(entry.right) for entry in entries]),
        "top5": mean([float(max(entry.ious, default=0.0) >= _RIGHT_IOU) for entry in entries]),
        "absent": len(nothing),
        "absent_said": mean([float(said) for said in nothing]),
        "targets": len(index),
        "pictures": len(index.vectors),
        "captions": [asdict(entry) for entry in entries],
    }


@dataclass(frozen=True)
class _CaptionScore:
    """The result of one caption: whether it is right, the score of the first candidate, the IoU of the first few."""

    text: str
    right: bool
    score: float | None
    ious: list[float]


def _judge(index: TextIndex, clip: LoadedClip, text: str, masks: list[np.ndarray], task: TextTask) -> _CaptionScore:
    ranking = find(index, text, clip, _CANDIDATES)
    ious = [round(max(_iou(index, int(t), mask, task) for mask in masks), 4) for t in ranking.targets]
    right = ranking.matches > 0 and ious[0] >= _RIGHT_IOU
    return _CaptionScore(text, right, round(float(ranking.scores[0]), 4) if ious else None, ious)


def _iou(index: TextIndex, target: int, true: np.ndarray, task: TextTask) -> float:
    return iou(index.mask(target)[task.seen], true[task.seen])

"""From a text to ranked targets, and from a list of words to a name for each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.messages import Clusters

from ..common.progress import Control
from .clip_model import LoadedClip
from .cluster_renders import ClipRenderer, cluster_index
from .mask_vectors import TextSources
from .relevancy import CANONICAL, MATCHES
from .text_index import WAYS, TextIndex
from .votes import vote_index

MOST_LETTERS = 300
"""Of a text: CLIP ignores everything beyond its 77 tokens."""
_SAME_TARGET = 0.85  # IoU of two targets that count as one


@dataclass(frozen=True, eq=False)
class Ranking:
    """Targets of an index, best first.

    Attributes:
        targets: [C] int, their numbers.
        scores: [C] float32, relevancy 0..1.
        matches: number of leading targets that fit the text better than the canonical phrases.
    """

    targets: np.ndarray
    scores: np.ndarray
    matches: int


def resolve_way(way: str, has_features: bool) -> str:
    """The way to search; "auto": by votes if the model has features, else by clusters.

    Raises:
        UserError: for an unknown way.
    """
    if way == "auto":
        return "votes" if has_features else "clusters"
    if way not in WAYS:
        raise UserError(
            f"There is no way of search '{way}'", fix=f"Use auto, {', '.join(WAYS)}", code=ErrorCode.BAD_SETTINGS
        )
    return way


def build_index(way: str, sources: TextSources, clip: LoadedClip, control: Control, tree: Clusters | None) -> TextIndex:
    """Build the index of a scene.

    Args:
        way: "votes" or "clusters".
        sources: the scene; only votes need views and masks.
        clip: makes the vectors.
        control: progress and cancel.
        tree: the scene's objects and parts, for clusters only.

    Raises:
        UserError: if the scene has nothing to find.
        Cancelled: if the control was cancelled.
    """
    if way == "votes":
        return vote_index(sources, clip, control)
    assert tree is not None  # the caller gives it
    members = node_members(tree)
    if not members:
        raise UserError("The scene has nothing to search", tree.note or "it has no clusters", "Train it")
    return cluster_index(sources.cloud, members, ClipRenderer(clip, sources.raster, sources.up), control)


def node_members(tree: Clusters) -> list[np.ndarray]:
    """Ids of the Gaussians of every node and its parts, int64, rising."""
    count = len(tree.parents)
    ends = np.arange(1, count + 1)
    for node in range(count - 1, -1, -1):  # parts follow their parent: a node and its parts are a range
        if tree.parents[node] >= 0:
            ends[tree.parents[node]] = max(ends[tree.parents[node]], ends[node])
    order = np.argsort(tree.labels, kind="stable")
    starts = np.searchsorted(tree.labels[order], np.arange(count + 1))
    return [np.sort(order[starts[node] : starts[ends[node]]]) for node in range(count)]


def find(index: TextIndex, text: str, clip: LoadedClip, limit: int) -> Ranking:
    """Rank the targets by their fit to a text, in whole percents; the best of nearly equal targets stands for all.

    Raises:
        UserError: for a text that is empty or too long, or an index of other weights.
    """
    words = clean_text(text)
    if index.clip != clip.identity:
        raise UserError(
            "The text index of the scene belongs to other CLIP weights",
            fix="Search again with the same weights",
            code=ErrorCode.OTHER_CLIP,
        )
    scores = index.scores(clip.encode_texts([words]), canonical(clip))[0]
    kept: list[int] = []
    sizes = np.diff(index.offsets)
    order = np.lexsort((-sizes, -np.round(scores, 2), scores <= MATCHES))
    for target in order:  # of equal percentages the larger first: the object before its part
        if len(kept) == limit:
            break
        if not any(_iou(index.members(int(target)), index.members(other)) > _SAME_TARGET for other in kept):
            kept.append(int(target))
    targets = np.array(kept, np.int64)
    return Ranking(targets, scores[targets], int((scores[targets] > MATCHES).sum()))


def choose_names(index: TextIndex, words: Sequence[str], clip: LoadedClip) -> tuple[list[str], np.ndarray]:
    """The best word for each target with its score [K]; "" if no word fits better than the canonical phrases.

    Raises:
        UserError: if there are no words.
    """
    distinct = list(dict.fromkeys(clean_text(word) for word in words))
    if not distinct:
        raise UserError("There are no words to choose names from", fix="Give words, separated by commas")
    scores = index.scores(clip.encode_texts(distinct), canonical(clip))
    best = scores.max(axis=0, initial=0)
    chosen = [
        distinct[int(word)] if score > MATCHES else "" for word, score in zip(scores.argmax(axis=0), best, strict=True)
    ]
    return chosen, best.astype(np.float32)


def canonical(clip: LoadedClip) -> np.ndarray:
    """[C,D] vectors of the canonical phrases."""
    return clip.encode_texts(CANONICAL)


def clean_text(text: str) -> str:
    """The text with single spaces.

    Raises:
        UserError: if it is empty or too long.
    """
    words = " ".join(text.split())
    if not words:
        raise UserError("There is no text to search for", fix="Describe an object, for example: red chair")
    if len(words) > MOST_LETTERS:
        raise UserError("The text is too long", f"it has {len(words)} letters", f"Use at most {MOST_LETTERS}")
    return words


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / max(len(a) + len(b) - common, 1)

"""From a text to ranked targets, and from a list of words to a name for each: what Blender and the tools ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.messages import Clusters

from ..common.progress import Control
from .clip_model import LoadedClip
from .cluster_renders import cluster_index
from .relevancy import CANONICAL, MATCHES
from .seen_masks import TextSources
from .text_index import WAYS, TextIndex
from .votes import vote_index

MOST_LETTERS = 300
"""Of a text: what is beyond CLIP's 77 tokens it does not read."""
_ALIKE = 0.85  # IoU from which on two targets are one to the user


@dataclass(frozen=True, eq=False)
class Ranking:
    """Targets of an index, the best first.

    Attributes:
        targets: [C] int, their numbers.
        scores: [C] float32, relevancy 0..1.
        matches: how many of them, from the first on, fit the text better than the canonical phrases.
    """

    targets: np.ndarray
    scores: np.ndarray
    matches: int


def way_for(way: str, has_features: bool) -> str:
    """The way to search; "auto": by votes where there are features to count them by, else by clusters.

    Raises:
        UserError: for an unknown way.
    """
    if way == "auto":
        return "votes" if has_features else "clusters"
    if way not in WAYS:
        raise UserError(
            f"There is no way '{way}' to search", fix=f"Use auto, {', '.join(WAYS)}", code=ErrorCode.BAD_SETTINGS
        )
    return way


def build_index(way: str, sources: TextSources, clip: LoadedClip, control: Control, tree: Clusters | None) -> TextIndex:
    """The index of a scene.

    Args:
        way: "votes" or "clusters".
        sources: the scene; views and masks are needed for votes only.
        clip: makes the vectors.
        control: progress and cancel.
        tree: the scene's things and parts, for clusters only.

    Raises:
        UserError: if there is nothing that could be found.
        Cancelled: if the control was cancelled.
    """
    if way == "votes":
        return vote_index(sources, clip, control)
    assert tree is not None  # the caller knows
    members = node_members(tree)
    if not members:
        raise UserError("There is nothing to describe in words", tree.note or "the scene has no clusters", "Train it")
    return cluster_index(sources.cloud, members, (clip, sources.raster, sources.up), control)


def node_members(tree: Clusters) -> list[np.ndarray]:
    """Ids of the Gaussians of every node with all its parts, int64, rising."""
    count = len(tree.parents)
    ends = np.arange(1, count + 1)
    for node in range(count - 1, -1, -1):  # parts follow their parent: a node and its parts are a range of numbers
        if tree.parents[node] >= 0:
            ends[tree.parents[node]] = max(ends[tree.parents[node]], ends[node])
    order = np.argsort(tree.labels, kind="stable")
    starts = np.searchsorted(tree.labels[order], np.arange(count + 1))
    return [np.sort(order[starts[node] : starts[ends[node]]]) for node in range(count)]


def find(index: TextIndex, text: str, clip: LoadedClip, limit: int) -> Ranking:
    """Rank the targets by how well a text fits them, in whole percents; of those that are nearly the same the best
    stands for all.

    Raises:
        UserError: for a text that is empty or too long, or an index of other weights.
    """
    words = checked(text)
    if index.clip != clip.identity:
        raise UserError(
            "The scene was described by other CLIP weights", fix="Describe it again", code=ErrorCode.OTHER_CLIP
        )
    scores = index.scores(clip.encode_texts([words]), canonical(clip))[0]
    kept: list[int] = []
    sizes = np.diff(index.offsets)
    order = np.lexsort((-sizes, -np.round(scores, 2), scores <= MATCHES))
    for target in order:  # of equal percentages the larger first: a whole, not its part
        if len(kept) == limit:
            break
        if not any(_iou(index.members(int(target)), index.members(other)) > _ALIKE for other in kept):
            kept.append(int(target))
    found = np.array(kept, np.int64)
    return Ranking(found, scores[found], int((scores[found] > MATCHES).sum()))


def names(index: TextIndex, words: Sequence[str], clip: LoadedClip) -> tuple[list[str], np.ndarray]:
    """The word that fits each target best, "" where none fits better than the canonical phrases, and its score [K].

    Raises:
        UserError: if there are no words.
    """
    given = list(dict.fromkeys(checked(word) for word in words))
    if not given:
        raise UserError("There are no words to choose names from", fix="Give some, with commas between them")
    scores = index.scores(clip.encode_texts(given), canonical(clip))
    best = scores.max(axis=0, initial=0)
    chosen = [
        given[int(word)] if score > MATCHES else "" for word, score in zip(scores.argmax(axis=0), best, strict=True)
    ]
    return chosen, best.astype(np.float32)


def canonical(clip: LoadedClip) -> np.ndarray:
    """[C,D] vectors of the canonical phrases."""
    return clip.encode_texts(CANONICAL)


def checked(text: str) -> str:
    """The text without space around it.

    Raises:
        UserError: if nothing is left, or it is too long to be a name.
    """
    words = " ".join(text.split())
    if not words:
        raise UserError("There is no text to look for", fix="Type what the thing is, for example: red chair")
    if len(words) > MOST_LETTERS:
        raise UserError("The text is too long", f"it has {len(words)} letters", f"Use at most {MOST_LETTERS}")
    return words


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / max(len(a) + len(b) - common, 1)

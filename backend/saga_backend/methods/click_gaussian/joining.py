"""Merging of clusters of the same object: most masks contain both, and their features are similar.

HDBSCAN finds clusters of masks' mean features. A thing whose masks are often cut or joined with others has several
kinds of them, and more than one cluster. How alike two clusters are does not say whether they are one thing: parts of
which many masks are missing come as close to each other. The masks themselves say it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .guidance import nearest_cluster
from .levels import LevelView
from .model import LIKE
from .settings import ClickSettings

_TOGETHER = 0.5  # minimum share of pixel pairs in one mask for a merge


def join(clusters: np.ndarray, shown: Iterable[tuple[np.ndarray, np.ndarray]], alike: float = LIKE) -> np.ndarray:
    """The clusters of a level [C,D] after the merge: unit vectors [J,D] float32.

    Args:
        clusters: [C,D] float32 unit vectors.
        shown: of every view, features [P,D] of its pixels and their masks [P], from 1; 0 is none.
        alike: cosine up to which two clusters are never one thing.
    """
    together, pairs, pixels = _counted(clusters, shown)
    centers, left = clusters.astype(np.float64), np.ones(len(clusters), bool)
    while True:
        share = np.where(pairs > 0, together / np.maximum(pairs, 1), 0) * (centers @ centers.T > alike)
        share[np.diag_indices(len(share))] = share[~left] = share[:, ~left] = 0
        best = np.where(share == share.max(initial=0), pairs, -1)  # among equal shares, the one with the most pairs
        a, b = np.unravel_index(best.argmax(), share.shape)
        if share[a, b] <= _TOGETHER:
            return centers[left].astype(np.float32)
        center = pixels[a] * centers[a] + pixels[b] * centers[b]
        centers[a], pixels[a], left[b] = center / np.linalg.norm(center), pixels[a] + pixels[b], False
        for table in (together, pairs):  # pixel pairs add up
            table[a] += table[b]
            table[:, a] += table[:, b]


def _counted(
    clusters: np.ndarray, shown: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[C,C] pairs of pixels of two clusters in one mask, [C,C] in one view, and [C] pixels; those in some mask."""
    together, pairs, pixels = (np.zeros((len(clusters),) * n) for n in (2, 2, 1))
    for features, masks in shown:
        covered = masks > 0
        which, _ = nearest_cluster(features[covered], clusters)
        table = np.zeros((masks.max(initial=0) + 1, len(clusters)))
        np.add.at(table, (masks[covered], which), 1)
        in_view = table.sum(axis=0)
        together += table.T @ table
        pairs += np.outer(in_view, in_view)
        pixels += in_view
    return together, pairs, pixels


def join_levels(
    features: np.ndarray, clusters: list[np.ndarray], views: Sequence[LevelView], settings: ClickSettings
) -> list[np.ndarray]:
    """The merged clusters of every level; arguments as for `guidance.global_clusters`, which computes them."""
    out = []
    for level, centers in enumerate(clusters):
        span = settings.span(
            level
        )  # one view at a time, because the pixels of all views would take hundreds of megabytes
        out.append(join(centers, ((v.rows.blend(features)[:, span], v.labels[level]) for v in views)))
    return out

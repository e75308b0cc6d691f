"""A trained Click-Gaussian model: features of a few levels, clusters of the whole scene, and the lookup by clicks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numba
import numpy as np

from ...masks.sampled import mask_scale
from ...rasterizer.contributions import SHOWN_ALPHA, Contributions
from ..saga.model import Answer
from .guidance import nearest_cluster

LIKE = 0.9
"""Minimum cosine of a click's feature and its clusters (section 4.1), see `LevelClusters.like`."""
_BELONGS = 0.5  # minimum cosine of a Gaussian and its cluster
_MIN_BEST = 0.7  # minimum cosine of the most similar cluster if none reaches LIKE


@dataclass(frozen=True, eq=False)
class LevelClusters:
    """The clusters of one level.

    Attributes:
        span: (first, end) channels of the level's feature.
        centers: [C,D_l] float32, unit vectors: the global features.
        labels: [N] int16, the cluster of every Gaussian; -1: none.
        sizes: [C] float32, 3D scale of every cluster (SAGA Eq. 2 over its Gaussians), scene units.
        like: minimum cosine of a click and its clusters: at least LIKE, and above the cosine of any two clusters of
            different objects. Masks that are often wrong leave the parts of an object at cosines of 0.95.
    """

    span: tuple[int, int]
    centers: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    like: float = LIKE

    def cosines(self, features: np.ndarray) -> np.ndarray:
        """[P,C] float32: cosine of features [P,D] with every cluster."""
        part = features[:, self.span[0] : self.span[1]]
        return part @ self.centers.T / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True, eq=False)
class LevelModel:
    """Features of L levels of granularity and their clusters.

    Attributes:
        features: [N,D] float32.
        levels: coarsest first.
        steps: number of optimizer steps of its training.
    """

    features: np.ndarray
    levels: tuple[LevelClusters, ...]
    steps: int = 0
    _last: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_last", len(self.levels) - 1)

    def level_of(self, scale: float | None) -> int:
        """The level of a slider position: 1 is the coarsest, 0 the finest; None: the coarsest."""
        return 0 if scale is None else round((1 - scale) * self._last)

    def scale_of(self, level: int) -> float:
        """The slider position of a level."""
        return 1 - level / max(self._last, 1)

    def scale_gate(self, scale: float) -> np.ndarray:
        """[D] float32: 1 for the channels of a slider position's level, 0 for the others."""
        out = np.zeros(self.features.shape[1], np.float32)
        out[slice(*self.levels[self.level_of(scale)].span)] = 1
        return out

    def select(
        self, rows: Contributions, positive: np.ndarray, scale: float | None = None, threshold: float | None = None
    ) -> Answer:
        """Select the clusters of the clicks.

        A negative click removes its cluster of the coarsest level at which this cluster differs from those of all
        positive clicks.

        Args:
            rows: rows of the P clicked pixels; ids index this model.
            positive: [P] bool, False for "not this".
            scale: 0..1, see `level_of`.
            threshold: minimum cosine of a cluster; None: the minimum of each level.
        """
        visible = rows.alphas() >= SHOWN_ALPHA
        pixels, positive = rows.take(visible).blend(self.features), np.asarray(positive, bool)[visible]
        level = self.level_of(scale)
        clusters = self.levels[level]
        chosen = self._clusters_of(level, pixels[positive], threshold)
        mask = members(clusters.labels, chosen)
        for pixel in pixels[~positive]:
            mask &= ~self._removal(pixel[None], pixels[positive], level, threshold)
        size, limit = float(clusters.sizes[chosen].max(initial=0.0)), clusters.like if threshold is None else threshold
        return Answer(mask, mask.astype(np.float32), self.scale_of(level), size, limit, _note(positive, chosen, mask))

    def scores(self, rows: Contributions, positive: np.ndarray, level: int) -> np.ndarray:
        """[N] float32: highest cosine of every Gaussian with a positive click [P] at a level."""
        span = slice(*self.levels[level].span)
        clicks = rows.take(np.asarray(positive, bool)).blend(self.features)[:, span]
        clicks /= np.maximum(np.linalg.norm(clicks, axis=1, keepdims=True), 1e-12)
        return nearest_cluster(self.features[:, span], np.ascontiguousarray(clicks))[1]

    def propagate(self, rows: Contributions, inside: np.ndarray, scale: float | None = None) -> Answer:
        """Select the clusters of a mask in one view: label propagation (section 4.1).

        A cluster is selected if most of its pixels in the view are inside the mask.

        Args:
            rows: rows of the P pixels of the view.
            inside: [P] bool, the pixels inside the mask.
            scale: 0..1, see `level_of`.
        """
        level = self.level_of(scale)
        clusters = self.levels[level]
        cosines = clusters.cosines(rows.blend(self.features))
        visible = (rows.alphas() >= SHOWN_ALPHA) & (cosines.max(axis=1, initial=-1) > LIKE)
        best = cosines.argmax(axis=1)
        counts = np.bincount(best[visible], minlength=len(clusters.centers))
        counts_inside = np.bincount(best[visible & inside], minlength=len(clusters.centers))
        chosen = np.flatnonzero(2 * counts_inside > counts)
        mask = members(clusters.labels, chosen)
        note = "" if mask.any() else "The mask shows no cluster of this level; try another level"
        size = float(clusters.sizes[chosen].max(initial=0))
        return Answer(mask, mask.astype(np.float32), self.scale_of(level), size, LIKE, note)

    def _clusters_of(self, level: int, pixels: np.ndarray, threshold: float | None) -> np.ndarray:
        """The clusters of the features of pixels [P,D] at a level."""
        limit = self.levels[level].like if threshold is None else threshold
        cosines = self.levels[level].cosines(pixels)
        chosen = cosines > limit
        if cosines.size:
            best, uncertain = cosines.argmax(axis=1), ~chosen.any(axis=1)
            uncertain &= cosines.max(axis=1) > min(_MIN_BEST, limit)
            chosen[uncertain, best[uncertain]] = True
        return np.flatnonzero(chosen.any(axis=0))

    def _removal(
        self, negative: np.ndarray, positives: np.ndarray, coarsest: int, threshold: float | None
    ) -> np.ndarray:
        """[N] bool: the Gaussians that a negative click removes."""
        for level in range(coarsest, len(self.levels)):
            clusters = self._clusters_of(level, negative, threshold)
            clusters = clusters[~np.isin(clusters, self._clusters_of(level, positives, threshold))]
            if len(clusters):
                return members(self.levels[level].labels, clusters)
        return np.zeros(len(self.features), bool)


def model_of(
    features: np.ndarray,
    clusters: list[np.ndarray],
    spans: list[slice],
    means: np.ndarray,
    steps: int,
    distinct: bool = True,
) -> LevelModel:
    """Build the model and assign every Gaussian to a cluster.

    Args:
        features: [N,D] float32.
        clusters: centers [C,D_l] of the clusters of every level.
        spans: channels of every level.
        means: [N,3] centers of the Gaussians, scene units.
        steps: number of optimizer steps.
        distinct: True if all clusters are different objects; False merges clusters with a cosine above LIKE at a click.
    """
    levels = []
    for centers, span in zip(clusters, spans, strict=True):
        labels, cosines = nearest_cluster(features[:, span], centers)
        labels[cosines <= _BELONGS] = -1
        sizes = [mask_scale(means[labels == k]) if (labels == k).any() else 0.0 for k in range(len(centers))]
        like = _highest_cosine(centers) if distinct else LIKE
        channels, table = (span.start, span.stop), np.array(sizes, np.float32)
        levels.append(LevelClusters(channels, centers, labels.astype(np.int16), table, like))
    return LevelModel(features, tuple(levels), steps)


def _highest_cosine(centers: np.ndarray) -> float:
    """The highest cosine of two clusters [C,D], from LIKE to 1."""
    cosines = (centers @ centers.T)[np.triu_indices(len(centers), 1)].astype(np.float64)
    return float(np.clip(cosines.max(initial=LIKE), LIKE, 1))


def members(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """[N] bool: the Gaussians of the given clusters.

    Args:
        labels: [N] int16, -1 for none.
        clusters: cluster numbers.
    """
    count = int(max(labels.max(initial=-1), clusters.max(initial=-1))) + 1
    selected = np.zeros(count + 1, np.uint8)  # the last entry is for no cluster
    selected[clusters] = 1
    out = np.empty(len(labels), np.uint8)
    _members(labels, selected, out)
    return out.view(bool)


@numba.njit(parallel=True, cache=True)
def _members(labels, selected, out):
    for n in numba.prange(len(labels)):
        out[n] = selected[labels[n]]


def _note(positive: np.ndarray, chosen: np.ndarray, mask: np.ndarray) -> str:
    if mask.any():
        return ""
    if not positive.any():
        return "There are only negative clicks"
    if len(chosen):
        return "The negative clicks remove the whole selection"
    return "No cluster is similar to the click; try another level"

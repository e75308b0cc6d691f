"""Features to start from: codes of the masks themselves, agreed on between views.

The channels are split into bands of scales. In its band every mask has a code, first a random one; a Gaussian takes the
mean code of the masks that show it (its blending weights decide), a mask the mean of its Gaussians; a few rounds
of that and the masks of one thing have one code in all views. The gates close the bands one by one as the scale
grows, so that two pixels are alike at a scale where they share the smallest mask at or above it, which is what
Eq. 6 asks for. Training then starts near its goal instead of from noise.
"""

from __future__ import annotations

import numpy as np

from .batch import TrainingView
from .blend import scatter_rows
from .step import Parameters

_BANDS = (0.0, 0.2, 0.4, 0.55, 0.67, 0.77, 0.85, 0.91, 0.96)  # lower edges, quantiles of the mask scales
_WIDTHS = (
    8,
    5,
    4,
    3,
    3,
    3,
    2,
    2,
    2,
)  # channels of the bands: there are more small things to tell apart than large ones
_ENERGY = tuple(0.6**band for band in range(len(_BANDS)))  # the finest open band has the largest say
_FLOOR = 0.1  # of the largest variance: with fewer masks than channels, the rest of a code is noise and must stay small
_ROUNDS = 12  # codes must travel all around a thing, from view to overlapping view
_STEEPNESS = 60.0  # of the gates, per unit of scale


def warm_start(views: list[TrainingView], quantiles: np.ndarray, count: int, channels: int, seed: int) -> Parameters:
    """Features [count, channels] and gate to start training from.

    Args:
        views: every view's pool.
        quantiles: [Q] rising mask scales (scene units) at evenly spaced quantiles 0..1.
        count: number of Gaussians.
        channels: D, at least 16.
        seed: of the first codes.
    """
    parts = _parts(channels)
    edges = np.interp(_BANDS, np.linspace(0, 1, len(quantiles)), quantiles)
    chosen = [_smallest_at_least(view, edges) for view in views]
    features = np.random.default_rng(seed).standard_normal((count, channels)).astype(np.float32)
    for _ in range(_ROUNDS):
        gathered = np.zeros_like(features)
        for view, masks in zip(views, chosen, strict=True):
            pixels = view.rows.blend(features)
            for band, part in enumerate(parts):
                pixels[:, part] = _shared_code(pixels[:, part], masks[:, band], len(view.masks.scales))
            scatter_rows(view.rows.offsets, view.rows.ids, view.rows.weights, pixels, gathered)
        for part in parts:
            features[:, part] = _spread(gathered[:, part], features[:, part])
    for part, energy in zip(parts, _ENERGY, strict=True):
        features[:, part] *= energy**0.5
    return Parameters(features / np.linalg.norm(features, axis=1, keepdims=True), _gate(parts))


def _parts(channels: int) -> list[slice]:
    """The channels of every band."""
    ends = np.cumsum(np.array(_WIDTHS) * channels // sum(_WIDTHS))
    ends[-1] = channels
    return [slice(int(a), int(b)) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def _smallest_at_least(view: TrainingView, edges: np.ndarray) -> np.ndarray:
    """[P,B] int64: of each pixel the smallest mask at or above every edge, else its largest; -1 outside all masks."""
    members = view.masks.members()
    out = np.full((len(members), len(edges)), -1)
    covered = members.any(axis=1)
    largest = members.shape[1] - 1 - np.argmax(members[:, ::-1], axis=1)
    for band, first in enumerate(np.searchsorted(view.masks.scales, edges)):
        out[covered, band] = largest[covered]
        above = members[:, first:]
        found = above.any(axis=1)
        if found.any():
            out[found, band] = first + np.argmax(above[found], axis=1)
    return out


def _shared_code(pixels: np.ndarray, masks: np.ndarray, count: int) -> np.ndarray:
    """Every pixel's mask's mean code as a unit vector [P,C]; zero for pixels without one."""
    sums = np.stack([np.bincount(masks + 1, column, minlength=count + 1) for column in pixels.T], axis=1)
    sums[0] = 0
    return (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12))[masks + 1].astype(np.float32)


def _spread(gathered: np.ndarray, before: np.ndarray) -> np.ndarray:
    """[N,C] codes as unit vectors that use all C directions alike, so that different masks' codes stand apart.

    Whitening after each round makes this a subspace iteration on the matrix of masks and Gaussians.
    """
    mass = np.linalg.norm(gathered, axis=1, keepdims=True)
    units = gathered / np.maximum(mass, 1e-12)
    shown = mass[:, 0] > 1e-6
    values, vectors = np.linalg.eigh(units[shown].T @ units[shown] / max(shown.sum(), 1))
    units = units @ (vectors / np.sqrt(np.maximum(values, _FLOOR * values[-1])) @ vectors.T)
    units[~shown] = before[~shown]  # Gaussians that no mask shows keep what they had
    return (units / np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def _gate(parts: list[slice]) -> np.ndarray:
    """[2,D]: band b is open up to the next band's edge; the coarsest always."""
    ends = np.array(_BANDS[1:])
    weight = np.append(np.full(len(ends), -_STEEPNESS), 0.0)
    bias = np.append(_STEEPNESS * ends, 4.0)
    widths = [part.stop - part.start for part in parts]
    return np.repeat(np.stack([weight, bias]), widths, axis=1).astype(np.float32)

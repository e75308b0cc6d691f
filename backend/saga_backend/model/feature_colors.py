"""Features as colors: similar features get similar colors."""

from __future__ import annotations

import numba
import numpy as np

_SAMPLE = 50_000  # Gaussians that the components are computed from
_RANGE = (0.02, 0.98)  # quantiles of the darkest and brightest value: a few outliers cost no contrast


def colors_of(features: np.ndarray, scale_gate: np.ndarray | None = None) -> np.ndarray:
    """The three principal components of the features as red, green and blue.

    Args:
        features: [N,D] of the Gaussians, any length; compared as unit vectors.
        scale_gate: [D] gate of a scale (AffinityModel.scale_gate); None: all channels count.

    Returns:
        [N,3] uint8. The strongest component is red. The largest loading of a component is positive, so similar
        features of another training step keep their colors.
    """
    sample = np.random.default_rng(0).permutation(len(features))[:_SAMPLE]
    vectors = _unit(features[sample], scale_gate)
    mean = vectors.mean(axis=0) if len(vectors) else np.zeros(features.shape[1])
    axes = _components(vectors - mean)
    shown = (vectors - mean) @ axes
    low, high = np.quantile(shown, _RANGE, axis=0) if len(shown) else np.zeros((2, 3))
    spread = high - low
    gain = np.where(spread > 1e-6, 255 / np.maximum(spread, 1e-6), 0)
    # A constant component is gray.
    offset = np.where(spread > 1e-6, -(mean @ axes + low) * gain, 127.5)
    out = np.empty((len(features), 3), np.uint8)
    gate = np.ones(features.shape[1]) if scale_gate is None else scale_gate
    _paint(features, gate.astype(np.float32), (axes * gain).astype(np.float32), offset.astype(np.float32), out)
    return out


@numba.njit(parallel=True, cache=True)
def _paint(features, gate, axes, offset, out):
    for i in numba.prange(len(features)):
        square = np.float32(0.0)
        for c in range(len(gate)):
            square += (features[i, c] * gate[c]) ** 2
        length = max(np.sqrt(square), np.float32(1e-12))
        for channel in range(3):
            value = np.float32(0.0)
            for c in range(len(gate)):
                value += features[i, c] * gate[c] * axes[c, channel]
            value = value / length + offset[channel]
            if np.isnan(value):
                value = np.float32(127.5)
            out[i, channel] = np.uint8(min(max(value, np.float32(0.0)), np.float32(255.0)) + np.float32(0.5))


def _components(centered: np.ndarray) -> np.ndarray:
    """[D,3] orthonormal axes of the largest variance, strongest first; zeros beyond D axes."""
    axes = np.zeros((centered.shape[1], 3))
    _, vectors = np.linalg.eigh(centered.T.astype(np.float64) @ centered)
    strongest = vectors[:, ::-1][:, :3]
    loading = np.take_along_axis(strongest, np.abs(strongest).argmax(axis=0)[None], axis=0)
    axes[:, : strongest.shape[1]] = strongest * np.where(loading < 0, -1, 1)
    return axes


def _unit(features: np.ndarray, scale_gate: np.ndarray | None) -> np.ndarray:
    gated = features if scale_gate is None else features * scale_gate
    return np.nan_to_num(gated / np.maximum(np.linalg.norm(gated, axis=1, keepdims=True), 1e-12))

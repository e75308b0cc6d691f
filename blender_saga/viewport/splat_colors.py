"""The color of every Gaussian in each view mode. Numpy only, because it runs in the sorting thread."""

from __future__ import annotations

import numpy as np

from ..gaussians.sh import C0, sh_basis
from ..scene.splat.draw_data import Block

MODE_ATTRIBUTES = {"SIMILARITY": "saga:similarity", "CLUSTERS": "saga:cluster", "PCA": "saga:pca"}
_BLOCK = 65536  # rows per pass, to keep the temporary arrays small
_GRAY = 0.35
# Dark blue, cyan, green, yellow, red: from cold to hot, and from dark to bright in grayscale.
_HEAT = np.array([[0.10, 0.10, 0.35], [0.10, 0.40, 0.65], [0.20, 0.65, 0.45], [0.90, 0.80, 0.25], [0.95, 0.25, 0.10]])


def colors(block: Block, mode: str, toward: np.ndarray) -> np.ndarray:
    """[N,3] float32 display colors of a block.

    Args:
        block: the Gaussians.
        mode: one of scene.state.properties.VIEW_MODES; all is gray if its data is missing.
        toward: [4] homogeneous viewpoint in the block's space: a point, or a view direction (w = 0).
    """
    if mode == "COLOR":
        return _sh_colors(block, toward)
    values = block.marks.get(MODE_ATTRIBUTES[mode])
    if values is None:
        return np.full((len(block), 3), _GRAY, np.float32)
    if mode == "SIMILARITY":
        return heat(values)
    return cluster_colors(values) if mode == "CLUSTERS" else np.clip(values, 0, 1).astype(np.float32)


def view_dependent(block: Block, mode: str) -> bool:
    """Whether the colors change with the viewpoint."""
    return mode == "COLOR" and block.sh.shape[1] > 1


def heat(values: np.ndarray) -> np.ndarray:
    """[N,3] colors of similarities [N], from cold (0 and below) to hot (1)."""
    places = np.clip(np.nan_to_num(values), 0, 1) * (len(_HEAT) - 1)
    steps = np.arange(len(_HEAT))
    return np.stack([np.interp(places, steps, channel) for channel in _HEAT.T], axis=1).astype(np.float32)


def cluster_colors(labels: np.ndarray) -> np.ndarray:
    """[N,3] colors of labels [N], with distinct colors for successive labels; gray below 0."""
    top = int(labels.max(initial=-1)) + 1
    hue = (np.arange(top + 1) * 0.61803398875) % 1.0
    value = 0.6 + 0.4 * ((np.arange(top + 1) * 0.7548776662) % 1.0)
    channel = np.clip(np.abs((hue[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    palette = (value[:, None] * (0.35 + 0.65 * channel)).astype(np.float32)
    palette[top] = _GRAY
    return palette[np.where(labels < 0, top, labels)]


def _sh_colors(block: Block, toward: np.ndarray) -> np.ndarray:
    """Colors as in 3DGS: 0.5 + basis * coefficients, at least 0."""
    if block.sh.shape[1] == 1:
        return np.maximum(0.5 + C0 * block.sh[:, 0].astype(np.float32), 0)
    degree = round(block.sh.shape[1] ** 0.5) - 1
    out = np.empty((len(block), 3), np.float32)
    for start in range(0, len(block), _BLOCK):
        part = slice(start, start + _BLOCK)
        rays = block.means[part] - toward[:3].astype(np.float32) if toward[3] else np.array([toward[:3]], np.float32)
        rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-12)
        basis = sh_basis(rays.astype(np.float32), degree)
        sh = block.sh[part].astype(np.float32)
        basis = np.broadcast_to(basis, (len(sh), basis.shape[1]))
        out[part] = np.maximum(0.5 + np.einsum("nk,nkc->nc", basis, sh), 0)
    return out

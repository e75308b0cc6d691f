"""A Click-Gaussian model as the arrays of a `.saga` file."""

from __future__ import annotations

import numpy as np

from .model import LIKE, LevelClusters, LevelModel

_MAX_LEVELS = 8


def arrays_of(model: LevelModel) -> dict[str, np.ndarray]:
    """The arrays of a model by name; all names begin with "levels."."""
    out: dict[str, np.ndarray] = {
        "levels.features": model.features.astype(np.float16),
        "levels.spans": np.array([level.span for level in model.levels], np.int64),
    }
    for number, level in enumerate(model.levels):  # "centres", as in the files of before, which still open
        out[f"levels.{number}.centres"] = level.centers.astype(np.float32)
        out[f"levels.{number}.labels"] = level.labels.astype(np.int16)
        out[f"levels.{number}.sizes"] = level.sizes.astype(np.float32)
        out[f"levels.{number}.like"] = np.array([level.like], np.float32)
    return out


def from_arrays(tensors: dict[str, np.ndarray], count: int, steps: int) -> LevelModel | None:
    """The model of a file; None if its arrays do not describe one.

    Args:
        tensors: arrays of a `.saga` file, all finite.
        count: N, number of Gaussians in the cloud of the file.
        steps: number of optimizer steps.
    """
    features, spans = tensors.get("levels.features", np.zeros(0)), tensors.get("levels.spans", np.zeros(0))
    if features.ndim != 2 or len(features) != count or spans.ndim != 2 or spans.shape[1] != 2:
        return None
    if spans.dtype != np.int64 or not 0 < len(spans) <= _MAX_LEVELS:
        return None
    levels = [_level(tensors, number, span, features.shape) for number, span in enumerate(spans.tolist())]
    valid = [level for level in levels if level is not None]
    return LevelModel(features.astype(np.float32), tuple(valid), steps) if len(valid) == len(levels) else None


def _level(
    tensors: dict[str, np.ndarray], number: int, span: list[int], shape: tuple[int, ...]
) -> LevelClusters | None:
    keys = ("centres", "labels", "sizes")
    centers, labels, sizes = (tensors.get(f"levels.{number}.{key}", np.zeros(0)) for key in keys)
    begin, end = span
    if not 0 <= begin < end <= shape[1] or centers.ndim != 2 or centers.shape[1] != end - begin:
        return None
    if sizes.shape != (len(centers),) or labels.shape != (shape[0],) or labels.dtype != np.int16:
        return None
    if not -1 <= labels.min(initial=-1) <= labels.max(initial=-1) < len(centers):
        return None
    like = tensors.get(f"levels.{number}.like", np.array([LIKE], np.float32))
    if like.shape != (1,) or not 0 < like[0] <= 1:
        return None
    return LevelClusters((begin, end), centers.astype(np.float32), labels, sizes.astype(np.float32), float(like[0]))

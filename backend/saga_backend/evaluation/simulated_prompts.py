"""A stand-in for SAM where its weights are not at hand: masks made from labels answer prompts, faults and all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View

from ..rasterizer.cpu import all_pixels, contributions
from ..selection.instant.segmenter import PixelPrompt
from .simulated import MaskDamage, label_maps, simulate_masks

_MOST = 3
"""Masks that one prompt gets, as from SAM."""


@dataclass(frozen=True, eq=False)
class SimulatedEncoded:
    """See methods.instant.segmenter.Encoded; `found`: [M,H,W] bool, every mask of the picture."""

    found: np.ndarray

    def masks(self, pointed: PixelPrompt) -> tuple[np.ndarray, np.ndarray]:
        """The masks that agree best with the prompt; an empty one where none does."""
        if not len(self.found):
            return np.zeros((1, *self.found.shape[1:]), bool), np.zeros(1)
        places = np.floor(pointed.points).astype(int)
        height, width = self.found.shape[1:]
        rows, columns = np.clip(places[:, 1], 0, height - 1), np.clip(places[:, 0], 0, width - 1)
        fits = np.ones(len(self.found))
        if len(places):
            fits *= (self.found[:, rows, columns] == pointed.positive).mean(axis=1)
            fits[~self.found[:, rows, columns][:, pointed.positive].any(axis=1)] = 0
        if pointed.box is not None:
            fits *= [_box_iou(mask, pointed.box) for mask in self.found]
        best = np.argsort(-fits, kind="stable")[: 1 if pointed.unambiguous else _MOST]
        best = best[fits[best] > 0]
        if not len(best):
            return np.zeros((1, height, width), bool), np.zeros(1)
        return self.found[best], fits[best]


class SimulatedSegmenter:
    """See methods.instant.segmenter.Segmenter. The faults of a view are drawn once, whatever it is asked.

    Args:
        cloud: N Gaussians.
        labels: [N] or [N,2] int, 0 = none.
        seed: of the faults; a view's depend on the view too.
        damage: how many.
    """

    def __init__(self, cloud: GaussianCloud, labels: np.ndarray, seed: int, damage: MaskDamage) -> None:
        self._cloud, self._seed, self._damage = cloud, seed, damage
        self._labels = np.maximum(labels.reshape(len(cloud), -1), 0)
        self._known: dict[bytes, SimulatedEncoded] = {}

    def encode(self, view: View, picture: Callable[[], np.ndarray]) -> SimulatedEncoded:
        """See Segmenter; the picture is not looked at."""
        if view.key not in self._known:
            rows = contributions(self._cloud, view, all_pixels(view))
            maps = label_maps(rows, self._labels, view.height, view.width)
            random = np.random.default_rng([self._seed, int.from_bytes(view.viewmat.tobytes()[:48:7], "little")])
            self._known[view.key] = SimulatedEncoded(simulate_masks(maps, self._damage, random))
        return self._known[view.key]


def _box_iou(mask: np.ndarray, box: np.ndarray) -> float:
    y, x = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    own = np.array([x[0], y[0], x[-1] + 1, y[-1] + 1], float)
    sides = np.minimum(own[2:], box[2:]) - np.maximum(own[:2], box[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    return both / max(float(np.prod(own[2:] - own[:2]) + np.prod(box[2:] - box[:2])) - both, 1e-9)

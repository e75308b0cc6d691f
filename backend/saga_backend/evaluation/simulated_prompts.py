"""A stand-in for SAM without its weights: it answers prompts with damaged masks made from labels."""

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
"""Masks in the answer to one prompt, as with SAM."""


@dataclass(frozen=True, eq=False)
class SimulatedEncoding:
    """An encoded picture (see selection.instant.segmenter.Encoded); `candidates`: [M,H,W] bool, all its masks."""

    candidates: np.ndarray

    def masks(self, pointed: PixelPrompt) -> tuple[np.ndarray, np.ndarray]:
        """The masks that agree best with the prompt; an empty mask if none does."""
        if not len(self.candidates):
            return np.zeros((1, *self.candidates.shape[1:]), bool), np.zeros(1)
        places = np.floor(pointed.points).astype(int)
        height, width = self.candidates.shape[1:]
        rows, columns = np.clip(places[:, 1], 0, height - 1), np.clip(places[:, 0], 0, width - 1)
        fits = np.ones(len(self.candidates))
        if len(places):
            fits *= (self.candidates[:, rows, columns] == pointed.positive).mean(axis=1)
            fits[~self.candidates[:, rows, columns][:, pointed.positive].any(axis=1)] = 0
        if pointed.box is not None:
            fits *= [_box_iou(mask, pointed.box) for mask in self.candidates]
        best = np.argsort(-fits, kind="stable")[: 1 if pointed.unambiguous else _MOST]
        best = best[fits[best] > 0]
        if not len(best):
            return np.zeros((1, height, width), bool), np.zeros(1)
        return self.candidates[best], fits[best]


class SimulatedSegmenter:
    """A segmenter (see selection.instant.segmenter.Segmenter). All prompts in a view get masks with the same damage.

    Args:
        cloud: N Gaussians.
        labels: [N] or [N,2] int, 0 = none.
        seed: with the view, determines the damage.
        damage: kind and amount of the damage.
    """

    def __init__(self, cloud: GaussianCloud, labels: np.ndarray, seed: int, damage: MaskDamage) -> None:
        self._cloud, self._seed, self._damage = cloud, seed, damage
        self._labels = np.maximum(labels.reshape(len(cloud), -1), 0)
        self._encodings: dict[bytes, SimulatedEncoding] = {}

    def encode(self, view: View, picture: Callable[[], np.ndarray]) -> SimulatedEncoding:
        """Encode a view (see Segmenter); the picture is not used."""
        if view.key not in self._encodings:
            rows = contributions(self._cloud, view, all_pixels(view))
            maps = label_maps(rows, self._labels, view.height, view.width)
            random = np.random.default_rng([self._seed, int.from_bytes(view.viewmat.tobytes()[:48:7], "little")])
            self._encodings[view.key] = SimulatedEncoding(simulate_masks(maps, self._damage, random))
        return self._encodings[view.key]


def _box_iou(mask: np.ndarray, box: np.ndarray) -> float:
    y, x = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    own = np.array([x[0], y[0], x[-1] + 1, y[-1] + 1], float)
    sides = np.minimum(own[2:], box[2:]) - np.maximum(own[:2], box[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    return both / max(float(np.prod(own[2:] - own[:2]) + np.prod(box[2:] - box[:2])) - both, 1e-9)

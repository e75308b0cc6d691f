"""One step of Click-Gaussian on the CPU: the whole loss (Eq. 13) and its gradient, without autograd."""

from __future__ import annotations

import numpy as np

from ...rasterizer.contributions import Contributions
from ..checkpoint import State, part_of, prefixed
from ..saga.blend import scatter_rows
from ..saga.optimizer import RowAdam
from .contrast import contrast
from .guidance import guide
from .regularize import rendered_loss, spatial_loss, sphere_loss
from .settings import ClickSettings


class Stepper:
    """Features [N,D] with their Adam; the counterpart of torch_step.TorchStepper.

    Args:
        features: [N,D] float32, changed in place.
        neighbors: [N,K] int32, neighbors of every Gaussian, without itself.
        settings: hyper-parameters.
    """

    def __init__(self, features: np.ndarray, neighbors: np.ndarray, settings: ClickSettings) -> None:
        self._neighbors, self._settings = neighbors, settings
        self._adam = RowAdam(features)
        self._all_ids = np.arange(len(features), dtype=np.int32)

    def features(self) -> np.ndarray:
        """[N,D], the features in place; later steps change them."""
        return self._adam.values

    def state(self) -> State:
        """Features and moments."""
        return prefixed("features", self._adam.state())

    def resume(self, state: State) -> None:
        """Restore `state`."""
        self._adam.resume(part_of(state, "features"))

    def step(
        self, rows: Contributions, labels: np.ndarray, around: np.ndarray, clusters: list[np.ndarray] | None
    ) -> float:
        """One optimizer step; returns the loss.

        Args:
            rows: rows of the P sampled pixels.
            labels: [L,P] int32, masks of these pixels at every level.
            around: [S] int32, Gaussians for the comparison with their neighbors.
            clusters: global clusters of every level; None before guidance starts.
        """
        gradient = self._adam.gradient
        loss = self.loss(rows, labels, around, clusters, gradient)
        if np.isfinite(loss):  # skip the update of a failed step
            self._adam.step(self._all_ids, self._settings.rate)
        else:
            gradient[:] = 0
        return loss

    def loss(
        self,
        rows: Contributions,
        labels: np.ndarray,
        around: np.ndarray,
        clusters: list[np.ndarray] | None,
        out: np.ndarray,
    ) -> float:
        """The loss of a step; its gradient is added to `out` [N,D]."""
        features, s = self._adam.values, self._settings
        loss, upstream = pixel_loss(rows.blend(features), labels, s)
        scatter_rows(rows.offsets, rows.ids, rows.weights, upstream, out)
        loss += sphere_loss(features, s.levels, s.weights.sphere, out)
        if s.weights.spatial:
            loss += spatial_loss(features, around, self._neighbors, s.weights.spatial, out)
        if clusters is not None:
            for level, centers in enumerate(clusters):
                weights = (s.weights.guidance, s.belongs, s.margins[level])
                loss += guide(features, centers, s.span(level), weights, out)
        return loss


def pixel_loss(pixels: np.ndarray, labels: np.ndarray, settings: ClickSettings) -> tuple[float, np.ndarray]:
    """Contrastive loss and length loss of features of pixels [P,D] with masks [L,P], and the gradient [P,D]."""
    loss, gradient = 0.0, np.zeros_like(pixels)
    for level, masks in enumerate(labels):
        span, own = settings.span(level), settings.own(level)
        part, weights = np.ascontiguousarray(pixels[:, span]), settings.weights
        pair_loss, pair_gradient = contrast(
            part, masks, settings.margins[level], weights.negative, own.start - span.start
        )
        radius = np.sqrt((span.stop - span.start) / (own.stop - own.start))  # the feature consists of parts of length 1
        length_loss, length_gradient = rendered_loss(part, radius, weights.rendered)
        gradient[:, span] += pair_gradient + length_gradient
        loss += pair_loss + length_loss
    return loss, gradient

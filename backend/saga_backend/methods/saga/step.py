"""One step of SAGA on the CPU: loss (Eq. 13) and its gradient with respect to features and gate, without autograd."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checkpoint import State, part_of, prefixed
from .batch import Batch, Contrast
from .blend import blend, blend_gradient
from .optimizer import RowAdam
from .pairs import correspondences, pair_loss


@dataclass(frozen=True, eq=False)
class Parameters:
    """The trained parameters.

    Attributes:
        features: [N,D] float32, affinity features before smoothing.
        gate: [2,D] float32, weight and bias of the scale gate S(s) = sigmoid(weight s + bias) (Eq. 3).
    """

    features: np.ndarray
    gate: np.ndarray


@dataclass(frozen=True, eq=False)
class StepResult:
    """Loss of a step, gradient [2,D] of the gate, and the Gaussians [T] with a gradient."""

    loss: float
    gate_gradient: np.ndarray
    touched: np.ndarray


def gates(gate: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """[S,D] float32: the scale gate S(s) at every scale [S]."""
    return (1 / (1 + np.exp(-(np.asarray(scales)[:, None] * gate[0] + gate[1])))).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ContrastResult:
    """Loss of the pairs, and its gradients with respect to the features of the pixels [P,D] and the gate [2,D]."""

    loss: float
    pixels: np.ndarray
    gate: np.ndarray


def contrast_step(pixels: np.ndarray, gate: np.ndarray, contrast: Contrast) -> ContrastResult:
    """The loss over pixel pairs (Eq. 13 without the norm term); every scale gates the features `pixels` [P,D]."""
    scale_gates = gates(gate, contrast.scales)
    gated = pixels[None] * scale_gates[:, None]
    lengths = np.maximum(np.linalg.norm(gated, axis=2, keepdims=True), 1e-8)
    units = gated / lengths
    loss, d_units = pair_loss(units, correspondences(contrast.identities), contrast.weights, contrast.seed)
    if not np.isfinite(lengths).all():  # NaN similarities would drop out of the pairs silently
        loss = float("nan")
    d_gated = (d_units - (d_units * units).sum(axis=2, keepdims=True) * units) / lengths
    d_gates = (d_gated * pixels[None]).sum(axis=1) * scale_gates * (1 - scale_gates)
    gate_gradient = np.stack([contrast.scales @ d_gates, d_gates.sum(axis=0)])
    return ContrastResult(loss, (d_gated * scale_gates[:, None]).sum(axis=0), gate_gradient)


def step(parameters: Parameters, neighbors: np.ndarray, batch: Batch, gradient: np.ndarray) -> StepResult:
    """Loss and gradients of one batch; the features' gradient is added to `gradient` [N,D]."""
    blended = blend(parameters.features, neighbors, batch.rows)
    pixels = blended.pixels
    pairs = contrast_step(pixels, parameters.gate, batch)
    norms = np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-8)
    upstream = pairs.pixels - pixels / norms / len(pixels)  # norm term, Eq. 11
    touched = blend_gradient(blended, neighbors, batch.rows, upstream, gradient)
    return StepResult(pairs.loss + float((1 - norms).mean()), pairs.gate, touched)


class Stepper:
    """Parameters and their row-wise Adam in host memory; the counterpart of torch_step.TorchStepper."""

    def __init__(self, parameters: Parameters, neighbors: np.ndarray) -> None:
        self._parameters, self._neighbors = parameters, neighbors
        self._features, self._gate = RowAdam(parameters.features), RowAdam(parameters.gate)
        self._gate_rows = np.arange(2, dtype=np.int32)

    def step(self, batch: Batch, rate: float) -> float:
        """One optimizer step; returns the loss."""
        result = step(self._parameters, self._neighbors, batch, self._features.gradient)
        if not np.isfinite(result.loss):  # skip the update of a failed step
            self._features.gradient[result.touched] = 0
            return result.loss
        self._features.step(result.touched, rate)
        self._gate.gradient[:] = result.gate_gradient
        self._gate.step(self._gate_rows, rate)
        return result.loss

    def parameters(self) -> Parameters:
        """The parameters in place; later steps change them."""
        return self._parameters

    def state(self) -> State:
        """Parameters and moments."""
        return prefixed("features", self._features.state()) | prefixed("gate", self._gate.state())

    def resume(self, state: State) -> None:
        """Restore `state`."""
        self._features.resume(part_of(state, "features"))
        self._gate.resume(part_of(state, "gate"))

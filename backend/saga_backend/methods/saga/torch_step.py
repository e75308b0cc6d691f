"""The step of step.py in tensor operations with autograd, for the GPU and as a reference for the CPU code.

Both draw the same pixels, scales and pairs, so their results agree up to rounding on any device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize

from ..checkpoint import State, part_of, prefixed
from .batch import Batch
from .optimizer import BETA1, BETA2, EPSILON
from .pairs import HARD_NEGATIVE, HARD_POSITIVE, pair_weights
from .step import Parameters

_LOW_32 = 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class TorchResult:
    """Loss (a tensor with its graph) and the Gaussians [T] int64 with a gradient."""

    loss: torch.Tensor
    touched: torch.Tensor


def torch_step(features: torch.Tensor, gate: torch.Tensor, neighbors: torch.Tensor, batch: Batch) -> TorchResult:
    """Loss of one batch (Eq. 13).

    Args:
        features: [N,D], see `Parameters`.
        gate: [2,D], see `Parameters`.
        neighbors: [N,K] int64.
        batch: pixels, scales and identities.
    """
    device = features.device
    ids, positions = np.unique(batch.rows.ids, return_inverse=True)
    neighborhoods = neighbors[torch.as_tensor(ids, device=device).long()]
    units = normalize(features[neighborhoods].mean(dim=1), dim=1)
    owner = torch.as_tensor(np.repeat(np.arange(len(batch.rows)), np.diff(batch.rows.offsets)), device=device)
    weights = torch.as_tensor(batch.rows.weights, device=device)[:, None]
    pixels = torch.zeros(len(batch.rows), features.shape[1], device=device)
    pixels = pixels.index_add(0, owner, units[torch.as_tensor(positions, device=device)] * weights)  # Eq. 10
    scales = torch.as_tensor(batch.scales, device=device)
    scale_gates = torch.sigmoid(scales[:, None] * gate[0] + gate[1])  # Eq. 3
    gated = normalize(pixels[None] * scale_gates[:, None], dim=2)
    norm_term = (1 - pixels.norm(dim=1)).mean()  # Eq. 11
    return TorchResult(_pair_loss(gated, batch) + norm_term, neighborhoods.unique())


def _pair_loss(gated: torch.Tensor, batch: Batch) -> torch.Tensor:
    levels, pixels, _ = gated.shape
    cosines = gated @ gated.transpose(1, 2)
    shared = _shared(batch.identities, gated.device)
    below = torch.ones(pixels, pixels, dtype=torch.bool, device=gated.device).tril(-1)
    positive, negative = shared.all(dim=0) & below, ~shared.any(dim=0) & below
    mixed = below & ~positive & ~negative
    half = 0.5 * mixed.sum()
    draw = _pair_hash(pixels, batch.seed, gated.device)
    drawn_positive = positive & (draw < _limit(half, positive))
    drawn_negative = negative & (draw < _limit(half, negative))
    first = mixed | drawn_positive | (positive & (cosines < HARD_POSITIVE))
    second = mixed | drawn_negative | (negative & (cosines > HARD_NEGATIVE))
    slope, offset = pair_weights(batch.weights)
    inverse = torch.as_tensor(batch.weights, device=gated.device)
    terms = (slope * inverse[:, None] * inverse[None] + offset) * (1 - 2 * shared.float()) * cosines.clamp_min(0)
    sums = [(terms * part).sum(dim=(1, 2)) / part.sum(dim=(1, 2)).clamp_min(1) for part in (first, second)]
    return (sums[0] + sums[1]).sum() / levels


def _shared(identities: np.ndarray, device: torch.device) -> torch.Tensor:
    """[S,P,P] bool: Eq. 7."""
    bits = torch.as_tensor(identities.view(np.int64), device=device)
    out = torch.zeros(bits.shape[0], bits.shape[1], bits.shape[1], dtype=torch.bool, device=device)
    for word in range(bits.shape[2]):
        out |= (bits[:, :, None, word] & bits[:, None, :, word]) != 0
    return out


def _limit(half: torch.Tensor, members: torch.Tensor) -> torch.Tensor:
    """The upper limit of the hash values in the sum; about `half` members have a smaller one."""
    chance = (half / members.sum().clamp_min(1)).double().clamp_max(1)
    return (chance * 2.0**32).clamp_max(2.0**32 - 1).long()


def _pair_hash(pixels: int, seed: int, device: torch.device) -> torch.Tensor:
    """[P,P] int64, pairs.pair_hash of all pairs. Products overflow 64 bits, but their low 32 bits are correct."""
    index = torch.arange(pixels, device=device)
    h = ((index[:, None] * 0x9E3779B1) & _LOW_32) ^ ((index[None] * 0x85EBCA77) & _LOW_32) ^ seed
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = ((h ^ (h >> shift)) * factor) & _LOW_32
    return h ^ (h >> 16)


class TorchStepper:
    """Parameters and their row-wise Adam on a device; the counterpart of step.Stepper."""

    def __init__(self, parameters: Parameters, neighbors: np.ndarray, device: str) -> None:
        self._values = [
            torch.tensor(v, device=device, requires_grad=True) for v in (parameters.features, parameters.gate)
        ]
        self._neighbors = torch.as_tensor(neighbors, device=device).long()
        self._moments = [(torch.zeros_like(v), torch.zeros_like(v)) for v in self._values]
        self._gate_rows = torch.arange(2, device=device)
        self._count = 0

    def step(self, batch: Batch, rate: float) -> float:
        """One optimizer step; returns the loss."""
        result = torch_step(self._values[0], self._values[1], self._neighbors, batch)
        if not torch.isfinite(result.loss):  # skip the update of a failed step
            return float(result.loss.detach())
        gradients = torch.autograd.grad(result.loss, self._values)
        self._count += 1
        rate *= (1 - BETA2**self._count) ** 0.5 / (1 - BETA1**self._count)
        with torch.no_grad():
            for i, rows in enumerate((result.touched, self._gate_rows)):
                first, second = self._moments[i]
                g = gradients[i][rows]
                first[rows] = BETA1 * first[rows] + (1 - BETA1) * g
                second[rows] = BETA2 * second[rows] + (1 - BETA2) * g * g
                self._values[i][rows] -= rate * first[rows] / (second[rows].sqrt() + EPSILON)
        return float(result.loss.detach())

    def state(self) -> State:
        """Parameters and moments in the format of step.Stepper."""
        state: State = {}
        for name, value, moments in zip(("features", "gate"), self._values, self._moments, strict=True):
            arrays = [tensor.detach().cpu().numpy() for tensor in (value, *moments)]
            named = dict(zip(("values", "first", "second"), arrays, strict=True))
            state |= prefixed(name, named | {"steps": np.array([self._count])})
        return state

    def resume(self, state: State) -> None:
        """Restore `state`."""
        with torch.no_grad():
            for name, value, moments in zip(("features", "gate"), self._values, self._moments, strict=True):
                of = part_of(state, name)
                for mine, key in zip((value, *moments), ("values", "first", "second"), strict=True):
                    mine.copy_(torch.as_tensor(of[key]))
        self._count = int(state["features.steps"][0])

    def parameters(self) -> Parameters:
        """The current parameters in host memory."""
        return Parameters(*(v.detach().cpu().numpy().copy() for v in self._values))

"""The step of step.py in tensor operations with autograd, for the GPU."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import normalize

from ...rasterizer.contributions import Contributions
from ..checkpoint import State, part_of, prefixed
from ..saga.optimizer import BETA1, BETA2, EPSILON
from .settings import ClickSettings


class TorchStepper:
    """Features and their Adam on a torch device; step.Stepper has the same arguments."""

    def __init__(self, features: np.ndarray, neighbors: np.ndarray, settings: ClickSettings) -> None:
        self._settings, device = settings, torch.device(settings.device)
        self._features = torch.tensor(features, device=device, requires_grad=True)
        self._neighbors = torch.as_tensor(neighbors, device=device).long()
        self._adam = torch.optim.Adam([self._features], settings.rate, (BETA1, BETA2), EPSILON)

    def features(self) -> np.ndarray:
        """[N,D], a copy of the features in host memory on a GPU; in place on the CPU."""
        return self._features.detach().cpu().numpy()

    def state(self) -> State:
        """Features and moments in the format of step.Stepper."""
        zeros = torch.zeros_like(self._features)
        adam = self._adam.state.get(self._features, {"exp_avg": zeros, "exp_avg_sq": zeros, "step": torch.zeros(())})
        arrays = {"values": self._features, "first": adam["exp_avg"], "second": adam["exp_avg_sq"]}
        state = {name: tensor.detach().cpu().numpy() for name, tensor in arrays.items()}
        return prefixed("features", state | {"steps": np.array([int(adam["step"])])})

    def resume(self, state: State) -> None:
        """Restore `state`."""
        own, device = part_of(state, "features"), self._features.device
        with torch.no_grad():
            self._features.copy_(torch.as_tensor(own["values"]))
        moments = {"exp_avg": own["first"], "exp_avg_sq": own["second"]}
        tensors = {name: torch.tensor(array, device=device) for name, array in moments.items()}
        self._adam.state[self._features] = tensors | {"step": torch.tensor(float(own["steps"][0]))}

    def step(
        self, rows: Contributions, labels: np.ndarray, around: np.ndarray, clusters: list[np.ndarray] | None
    ) -> float:
        """One optimizer step; returns the loss. See step.Stepper.step."""
        self._adam.zero_grad()
        loss = self.loss(rows, labels, around, clusters)
        value = float(loss.detach())
        if np.isfinite(value):  # skip the update of a failed step
            loss.backward()
            self._adam.step()
        return value

    def loss(
        self, rows: Contributions, labels: np.ndarray, around: np.ndarray, clusters: list[np.ndarray] | None
    ) -> torch.Tensor:
        """The loss of a step (Eq. 13)."""
        s, features, device = self._settings, self._features, self._features.device
        pixels = _blend(rows, features)
        total = torch.zeros((), device=device)
        for level, masks in enumerate(torch.as_tensor(labels, device=device)):
            total = total + _contrast(pixels, masks, level, s) + _rendered(pixels, level, s)
        for level in range(s.levels):
            total = total + s.weights.sphere * (features[:, s.own(level)].norm(dim=1) - 1).square().mean()  # Eq. 10
        if s.weights.spatial:
            ids = torch.as_tensor(around, device=device).long()
            units = normalize(features, dim=1)
            cosines = (units[ids][:, None] * units[self._neighbors[ids]]).sum(dim=2)
            total = total - s.weights.spatial * cosines.mean()  # Eq. 12
        for level, centers in enumerate(clusters or []):
            total = total + s.weights.guidance * _guide(features, torch.as_tensor(centers, device=device), level, s)
        return total


def _blend(rows: Contributions, features: torch.Tensor) -> torch.Tensor:
    """[P,D]: the features at the pixels of the rows (Eq. 2)."""
    device = features.device
    owner = torch.as_tensor(np.repeat(np.arange(len(rows)), np.diff(rows.offsets)), device=device)
    weights = torch.as_tensor(rows.weights, device=device)[:, None]
    ids = torch.as_tensor(rows.ids, device=device).long()
    return torch.zeros(len(rows), features.shape[1], device=device).index_add(0, owner, features[ids] * weights)


def _contrast(pixels: torch.Tensor, labels: torch.Tensor, level: int, s: ClickSettings) -> torch.Tensor:
    """Eq. 3 to 5 of one level."""
    span, own = s.span(level), s.own(level)
    same = labels[:, None] == labels[None]
    units = normalize(pixels[:, span], dim=1)
    positive = (units @ units.T)[same].sum()
    partial = torch.cat([pixels[:, span.start : own.start].detach(), pixels[:, own]], dim=1)
    units = normalize(partial, dim=1)  # stop-gradient for the coarser channels
    cosines = units @ units.T
    negative = cosines[~same & (cosines > s.margins[level])].sum()
    return (s.weights.negative * negative - positive) / len(pixels) ** 2


def _rendered(pixels: torch.Tensor, level: int, s: ClickSettings) -> torch.Tensor:
    """Eq. 11 of one level, over the sampled pixels."""
    span, own = s.span(level), s.own(level)
    radius = ((span.stop - span.start) / (own.stop - own.start)) ** 0.5
    return s.weights.rendered * (pixels[:, span].norm(dim=1) - radius).square().mean()


def _guide(features: torch.Tensor, centers: torch.Tensor, level: int, s: ClickSettings) -> torch.Tensor:
    """Eq. 7 to 9 of one level."""
    cosines = normalize(features[:, s.span(level)], dim=1) @ centers.T
    best = cosines.argmax(dim=1, keepdim=True)
    own = cosines.gather(1, best)
    others = torch.where(cosines > s.margins[level], cosines, 0.0).scatter(1, best, 0.0)
    return (others.sum(dim=1) / len(centers) - torch.where(own > s.belongs, own, 0.0)[:, 0]).mean()

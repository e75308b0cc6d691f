"""References for the benchmarks: the same results from plain code without optimizations."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from saga_backend.methods.saga.batch import Batch
from saga_backend.methods.saga.step import Parameters
from saga_backend.methods.saga.torch_step import torch_step

TILE = 16


def plain_selection(
    features: torch.Tensor, click: torch.Tensor, scale_gate: torch.Tensor, threshold: float
) -> np.ndarray:
    """The packed selection of a click by full recomputation: gate all features [N,D], normalize, multiply, compare."""
    gated = normalize(features * scale_gate, dim=1)
    scores = gated @ normalize(click * scale_gate, dim=0)
    return np.packbits((scores > threshold).cpu().numpy())


@dataclass(frozen=True, eq=False)
class PlainSplats:
    """Projected Gaussians as tensors: pixels [M,2], inverse covariances [M,3], radii [M,2], opacities [M]."""

    means2d: torch.Tensor
    conics: torch.Tensor
    radii: torch.Tensor
    opacities: torch.Tensor


def plain_projection(cloud: GaussianCloud, view: View) -> PlainSplats:
    """Project all Gaussians with gsplat's projection in plain torch, and sort them by depth."""
    from gsplat.cuda._torch_impl import _fully_fused_projection, _quat_scale_to_covar_preci

    means, quats, scales = (torch.as_tensor(a) for a in (cloud.means, cloud.quats, cloud.scales))
    covariances, _ = _quat_scale_to_covar_preci(quats, scales, compute_preci=False)
    radii, means2d, depths, conics, _ = _fully_fused_projection(
        means, covariances, torch.as_tensor(view.viewmat, dtype=torch.float32)[None],
        torch.as_tensor(view.K, dtype=torch.float32)[None], view.width, view.height,
        camera_model="ortho" if view.orthographic else "pinhole",
    )  # fmt: skip
    visible = torch.nonzero((radii[0] > 0).all(dim=1))[:, 0]
    visible = visible[torch.argsort(depths[0, visible])]
    opacities = torch.as_tensor(cloud.opacities)[visible]
    return PlainSplats(means2d[0, visible], conics[0, visible], radii[0, visible].float(), opacities)


def plain_weights(splats: PlainSplats, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Blending weights [M,P] and indices [M] of the Gaussians that can reach the bounding box of pixels [P,2]."""
    low, high = pixels.amin(dim=0), pixels.amax(dim=0) + 1
    reaches = ((splats.means2d + splats.radii > low) & (splats.means2d - splats.radii < high)).all(dim=1)
    near = torch.nonzero(reaches)[:, 0]
    dx, dy = (pixels[None] + 0.5 - splats.means2d[near][:, None]).unbind(dim=2)
    a, b, c = splats.conics[near].T[:, :, None]
    alphas = splats.opacities[near][:, None] * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
    alphas = torch.where(alphas < 1 / 255, 0, alphas.clamp_max(0.999))
    left = torch.cumprod(1 - alphas, dim=0)
    before = torch.cat([torch.ones(1, len(pixels)), left[:-1]])
    return torch.where(left > 1e-4, alphas * before, 0), near


def plain_raster_ms(cloud: GaussianCloud, view: View, pixels: np.ndarray, tiles: int) -> float:
    """Milliseconds for the weights of all pixels [P,2], tile by tile in torch. Only `tiles` of the tiles are timed."""
    start = time.perf_counter()
    splats = plain_projection(cloud, view)
    projection = time.perf_counter() - start
    numbers = (pixels[:, 1] // TILE) * -(-view.width // TILE) + pixels[:, 0] // TILE
    used = np.unique(numbers)
    timed = used[np.linspace(0, len(used) - 1, min(tiles, len(used))).astype(int)]
    start = time.perf_counter()
    for tile in timed:
        plain_weights(splats, torch.as_tensor(pixels[numbers == tile]))
    blending = (time.perf_counter() - start) * len(used) / len(timed)
    return 1e3 * (projection + blending)


class PlainTrainer:
    """The step of the paper in its simplest form: smooth all features, all pairs, autograd, Adam over everything."""

    def __init__(self, parameters: Parameters, neighbors: np.ndarray, device: str) -> None:
        self._values = [
            torch.tensor(v, device=device, requires_grad=True) for v in (parameters.features, parameters.gate)
        ]
        self._neighbors = torch.as_tensor(neighbors, device=device).long()
        self._identity = torch.arange(len(neighbors), device=device)[:, None]
        self._adam = torch.optim.Adam(self._values, lr=1e-3)

    def step(self, batch: Batch) -> float:
        """One optimizer step; returns the loss."""
        features, gate = self._values
        self._adam.zero_grad()
        smooth = normalize(features[self._neighbors].mean(dim=1), dim=1)
        loss = torch_step(smooth, gate, self._identity, batch).loss
        loss.backward()
        self._adam.step()
        return float(loss.detach())

"""The CUDA rasterizer: projection in torch, tiles and blending by gsplat's kernels. Same conventions as cpu.py.

The projection uses the CPU's formulas in float64. gsplat's float32 kernel rounds: it swaps Gaussians of nearly equal
depth and distorts thin ones seen edge-on. So both devices compute the same rows.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass

import numpy as np
import torch

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View

from .contributions import Contributions
from .cpu import ALPHA_MAX, TILE, Picture
from .projection import ALPHA_MIN, DILATION, SLOPE_MARGIN

_ALL_BATCHES = 2**31 - 1  # batches of Gaussians: more than any tile has


@dataclass(frozen=True, eq=False)
class DeviceCloud:
    """A cloud's arrays as tensors on a device, named as in GaussianCloud."""

    means: torch.Tensor
    quats: torch.Tensor
    scales: torch.Tensor
    opacities: torch.Tensor
    sh: torch.Tensor


@dataclass(frozen=True, eq=False)
class DeviceProjected:
    """`projection.Projected` as tensors: the M Gaussians that can reach a picture, nearest first.

    Attributes:
        ids: [M] int64; means2d: [M,2], conics: [M,3], opacities: [M], depths: [M] float32.
        radii: [M,2] int32, rounded up to whole pixels.
    """

    ids: torch.Tensor
    means2d: torch.Tensor
    conics: torch.Tensor
    radii: torch.Tensor
    opacities: torch.Tensor
    depths: torch.Tensor


def to_device(cloud: GaussianCloud, device: str) -> DeviceCloud:
    """Copy a cloud to a device."""
    names = ("means", "quats", "scales", "opacities", "sh")
    return DeviceCloud(*(torch.as_tensor(getattr(cloud, name), device=device) for name in names))


def project(cloud: DeviceCloud, view: View) -> DeviceProjected:
    """EWA projection of a cloud; the formulas and constants are those of projection.py."""
    ids = torch.nonzero((cloud.opacities >= ALPHA_MIN) & (_camera_z(cloud.means, view) >= view.near))[:, 0]
    means = _in_camera(cloud.means[ids], view)
    jacobian, means2d = _jacobian(means, view)
    axes = jacobian @ _matrix(view.viewmat[:3, :3], means) @ _axes(cloud.quats[ids], cloud.scales[ids])
    xx, xy, yy = ((axes[:, i] * axes[:, j]).sum(dim=1) for i, j in ((0, 0), (0, 1), (1, 1)))
    xx, yy = xx + DILATION, yy + DILATION
    det = xx * yy - xy * xy
    opacities = cloud.opacities[ids]
    reach = torch.sqrt(2 * torch.log(opacities.double() / ALPHA_MIN))
    radii = reach[:, None] * torch.sqrt(torch.stack([xx, yy], dim=1))
    size = torch.tensor([view.width, view.height], device=ids.device)
    shown = (det > 0) & (reach > 0) & (means2d + radii > 0).all(dim=1) & (means2d - radii < size).all(dim=1)
    shown = torch.nonzero(shown)[:, 0]
    depths = means[:, 2].float()
    shown = shown[torch.sort(depths[shown], stable=True).indices]
    conics = torch.stack([yy, -xy, xx], dim=1) / det[:, None]
    whole = radii[shown].ceil().clamp_max(2**24).int()
    return DeviceProjected(
        ids[shown], means2d[shown].float(), conics[shown].float(), whole, opacities[shown], depths[shown]
    )


def _matrix(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float64, device=like.device)


def _camera_z(means: torch.Tensor, view: View) -> torch.Tensor:
    return _along(view.viewmat[2], means.double())


def _along(row: np.ndarray, points: torch.Tensor) -> torch.Tensor:
    """One coordinate of points [N,3], summed in the CPU's order for the same rounding."""
    a, b, c, d = (float(value) for value in row)
    return a * points[:, 0] + b * points[:, 1] + c * points[:, 2] + d


def _in_camera(means: torch.Tensor, view: View) -> torch.Tensor:
    points = means.double()
    return torch.stack([_along(row, points) for row in view.viewmat[:3]], dim=1)


def _jacobian(means: torch.Tensor, view: View) -> tuple[torch.Tensor, torch.Tensor]:
    """d pixel / d camera space [N,2,3] and pixels [N,2] of camera-space points [N,3]."""
    focal, center = np.diag(view.K)[:2], view.K[:2, 2]
    out = torch.zeros(len(means), 2, 3, dtype=torch.float64, device=means.device)
    if view.orthographic:
        out[:, 0, 0], out[:, 1, 1] = focal.tolist()
        return out, means[:, :2] * _matrix(focal, means) + _matrix(center, means)
    z = means[:, 2]
    pixels = []
    for axis, size in enumerate((view.width, view.height)):
        f, c = float(focal[axis]), float(center[axis])
        low, high = -(c + SLOPE_MARGIN * size) / abs(f), (size - c + SLOPE_MARGIN * size) / abs(f)
        out[:, axis, axis] = f / z
        out[:, axis, 2] = -f / z * (means[:, axis] / z).clamp(low, high)
        pixels.append(f / z * means[:, axis] + c)
    return out, torch.stack(pixels, dim=1)


def _axes(quats: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """[N,3,3] float64, R S: the scaled axes of each Gaussian as columns."""
    q = quats.double()
    w, x, y, z = (q / q.norm(dim=1, keepdim=True).clamp_min(1e-30)).unbind(dim=1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=1),
    ]
    return torch.stack(rows, dim=1) * scales.double()[:, None]


# --- from pairs to rows ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a Gaussian and a pixel, sorted by pixel and then nearest first.

    Attributes:
        gaussians: [K] int64, indices into a DeviceProjected.
        pixels: [K] int64, row * width + column.
    """

    gaussians: torch.Tensor
    pixels: torch.Tensor


def alphas(projected: DeviceProjected, pairs: Pairs, width: int) -> torch.Tensor:
    """[K] float32: each pair's alpha at the pixel center, without occlusion."""
    g = pairs.gaussians
    columns, rows = pairs.pixels % width, pairs.pixels // width
    dx = columns.float() + 0.5 - projected.means2d[g, 0]
    dy = rows.float() + 0.5 - projected.means2d[g, 1]
    xx, xy, yy = projected.conics[g].unbind(dim=1)
    sigma = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
    return (projected.opacities[g] * torch.exp(-sigma)).clamp_max(ALPHA_MAX)


def weights(alpha: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """[K] float32: alpha [K] times the transmittance of the earlier pairs of the same pixel."""
    if not len(alpha):
        return alpha
    log_transmittance = torch.log1p(-alpha.double())
    before = torch.cumsum(log_transmittance, dim=0) - log_transmittance
    first = torch.ones_like(pixels, dtype=torch.bool)
    first[1:] = pixels[1:] != pixels[:-1]
    run = torch.cumsum(first, dim=0) - 1
    return (alpha * torch.exp(before - before[first][run])).float()


def to_rows(projected: DeviceProjected, pairs: Pairs, pixels: torch.Tensor, view: View) -> Contributions:
    """The rows of pixels [P,2] in their order, including repeats, from the pairs of these pixels."""
    weight = weights(alphas(projected, pairs, view.width), pairs.pixels)
    counts = torch.bincount(pairs.pixels, minlength=view.width * view.height)
    starts = torch.cumsum(counts, dim=0) - counts
    index = pixels[:, 1].long() * view.width + pixels[:, 0].long()
    lengths = counts[index]
    ends = torch.cumsum(lengths, dim=0)
    total = int(ends[-1]) if len(ends) else 0
    shift = torch.repeat_interleave(starts[index] - (ends - lengths), lengths, output_size=total)
    source = shift + torch.arange(total, device=pixels.device)
    offsets = np.concatenate([[0], ends.cpu().numpy()])
    ids = projected.ids[pairs.gaussians[source]].int()
    return Contributions(offsets, ids.cpu().numpy(), weight[source].cpu().numpy())


# --- gsplat's kernels -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Tiles:
    """gsplat's intersections: offsets [1,rows,columns] int32 into `items` [K] int32, indices into a DeviceProjected."""

    offsets: torch.Tensor
    items: torch.Tensor


def _bin(projected: DeviceProjected, view: View) -> _Tiles:
    from gsplat.cuda._wrapper import isect_offset_encode, isect_tiles

    columns, rows = math.ceil(view.width / TILE), math.ceil(view.height / TILE)
    # gsplat sorts by the bits of the depth. The Gaussians are sorted already, and ranks also order negative depths.
    ranks = torch.arange(1, len(projected.ids) + 1, dtype=torch.int32, device=projected.ids.device)
    _, keys, items = isect_tiles(
        projected.means2d[None], projected.radii[None], ranks.view(torch.float32)[None], TILE, columns, rows
    )
    return _Tiles(isect_offset_encode(keys, 1, columns, rows).reshape(1, rows, columns), items)


class CudaRasterizer:
    """Rasterizes with gsplat; keeps the last cloud on the GPU, because most clouds are rasterized in many views.

    Args:
        device: a torch device with gsplat's kernels.
    """

    def __init__(self, device: str = "cuda") -> None:
        self._device = device
        self._last: tuple[weakref.ref[GaussianCloud], DeviceCloud] | None = None

    def render(self, cloud: GaussianCloud, view: View) -> Picture:
        """See cpu.render."""
        from gsplat.cuda._wrapper import rasterize_to_pixels, spherical_harmonics

        tensors = self._on_device(cloud)
        projected = project(tensors, view)
        if not len(projected.ids):
            shape = (view.height, view.width)
            return Picture(np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        position = _matrix(view.camera_position, tensors.means).float()
        rgb = spherical_harmonics(cloud.sh_degree, tensors.means[projected.ids] - position, tensors.sh[projected.ids])
        values = torch.cat([(rgb + 0.5).clamp_min(0), projected.depths[:, None]], dim=1)
        tiles = _bin(projected, view)
        drawn, alpha = rasterize_to_pixels(
            projected.means2d[None], projected.conics[None], values[None], projected.opacities[None],
            view.width, view.height, TILE, tiles.offsets, tiles.items,
        )  # fmt: skip
        alpha = alpha[0, ..., 0]
        depth = drawn[0, ..., 3] / alpha.clamp_min(1e-10)
        return Picture(*(part.cpu().numpy() for part in (drawn[0, ..., :3], depth, alpha)))

    def contributions(self, cloud: GaussianCloud, view: View, pixels: np.ndarray) -> Contributions:
        """See cpu.contributions."""
        pixels = np.asarray(pixels, np.int32).reshape(-1, 2)
        if not view.contains(pixels).all():
            raise ValueError("a pixel lies outside the picture")
        projected = project(self._on_device(cloud), view)
        if not len(projected.ids) or not len(pixels):
            return Contributions(np.zeros(len(pixels) + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
        on_device = torch.as_tensor(pixels, device=self._device)
        return to_rows(projected, self._pairs(projected, view, on_device), on_device, view)

    def _pairs(self, projected: DeviceProjected, view: View, pixels: torch.Tensor) -> Pairs:
        from gsplat.cuda._wrapper import rasterize_to_indices_in_range

        tiles = _bin(projected, view)
        # A pixel with transmittance 0 ends at once, so gsplat only computes the pixels set to 1.
        open_pixels = torch.zeros(1, view.height, view.width, device=self._device)
        open_pixels[0, pixels[:, 1].long(), pixels[:, 0].long()] = 1
        gaussians, indices, _ = rasterize_to_indices_in_range(
            0, _ALL_BATCHES, open_pixels, projected.means2d[None], projected.conics[None],
            projected.opacities[None], view.width, view.height, TILE, tiles.offsets, tiles.items,
        )  # fmt: skip
        return Pairs(gaussians, indices)

    def _on_device(self, cloud: GaussianCloud) -> DeviceCloud:
        last = self._last
        if last is None or last[0]() is not cloud:
            self._last = None  # frees the previous cloud before the next one is copied
            last = self._last = (weakref.ref(cloud), to_device(cloud, self._device))
        return last[1]

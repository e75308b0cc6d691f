"""Slow, obvious twins of the engine in float64, written from the papers and not from the engine's code."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud, concatenate
from blender_saga.gaussians.view import View, look_at
from saga_backend.common.progress import Control

# --- scenes ---------------------------------------------------------------------------------------------------------


def random_cloud(rng: np.random.Generator, n: int, coefficients: int = 1) -> GaussianCloud:
    """Gaussians in the unit ball: flat and long ones, faint and opaque ones."""
    means = rng.normal(size=(n, 3)) * 0.4
    scales = np.exp(rng.uniform(np.log(0.02), np.log(0.4), (n, 3)))
    opacities = np.where(rng.random(n) < 0.3, 1.0, rng.random(n))
    sh = rng.normal(size=(n, coefficients, 3)) * 0.5
    return GaussianCloud(means, unit(rng.normal(size=(n, 4))), scales, opacities, sh)


def random_view(rng: np.random.Generator, kind: str = "perspective", size: tuple[int, int] = (37, 26)) -> View:
    """A view of the unit ball. Kinds: perspective, orthographic, off-center, affine (a sheared and scaled object)."""
    width, height = size
    viewmat = look_at(3 * unit(rng.normal(size=3)), rng.normal(size=3) * 0.2, rng.normal(size=3))
    focal = width * rng.uniform(0.8, 1.6) * (0.3 if kind == "orthographic" else 1)
    K = np.array([[focal, 0, width / 2], [0, focal * rng.uniform(0.8, 1.2), height / 2], [0, 0, 1]])
    if kind == "off-center":
        K[:2, 2] += rng.uniform(-0.4, 0.4, 2) * size
    if kind == "affine":
        matrix = np.eye(4)
        matrix[:3, :3] += rng.uniform(-0.4, 0.4, (3, 3))
        matrix[:3, 3] = rng.uniform(-0.2, 0.2, 3)
        viewmat = viewmat @ matrix
    return View(viewmat, K, width, height, kind == "orthographic")


def ball(rng: np.random.Generator, center, radius: float, count: int, color) -> GaussianCloud:
    """A sphere's surface of small discs."""
    normal = unit(rng.normal(size=(count, 3)))
    size = radius * 1.5 / count**0.5
    scales = np.tile([size, size, 0.02 * radius], (count, 1))
    sh = np.tile((np.asarray(color) - 0.5) * 2 * math.sqrt(math.pi), (count, 1, 1))
    return GaussianCloud(np.asarray(center) + radius * normal, turned_to(normal), scales, np.full(count, 0.95), sh)


def turned_to(normal: np.ndarray) -> np.ndarray:
    """[N,4] quaternions (w, x, y, z) that take the z axis to the directions [N,3]: half-way rotation."""
    w = 1 + normal[:, 2]
    return unit(np.stack([w, -normal[:, 1], normal[:, 0], np.zeros(len(w))], axis=1) + 1e-9)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


# --- rasterizer -----------------------------------------------------------------------------------------------------


def rotation(quat: np.ndarray) -> np.ndarray:
    """[3,3] of a quaternion w, x, y, z: v -> q v q*, column by column."""
    w, *xyz = np.asarray(quat, np.float64) / np.linalg.norm(np.asarray(quat, np.float64))
    axis = np.array(xyz)
    columns = [v + 2 * w * np.cross(axis, v) + 2 * np.cross(axis, np.cross(axis, v)) for v in np.eye(3)]
    return np.stack(columns, axis=1)


@dataclass
class Splat:
    """A Gaussian in the picture: place (pixels), inverse of its 2D covariance, camera z, opacity."""

    place: np.ndarray
    inverse: np.ndarray
    depth: float
    opacity: float


def splat(cloud: GaussianCloud, index: int, view: View) -> Splat | None:
    """EWA projection (Zwicker et al. 2001) with 3DGS's dilation of 0.3 and gsplat's clamp of the slopes."""
    linear, shift = view.viewmat[:3, :3], view.viewmat[:3, 3]
    x, y, z = linear @ cloud.means[index].astype(np.float64) + shift
    if z < view.near:
        return None
    axes = linear @ rotation(cloud.quats[index]) @ np.diag(cloud.scales[index].astype(np.float64))
    fx, fy, cx, cy = view.K[0, 0], view.K[1, 1], view.K[0, 2], view.K[1, 2]
    if view.orthographic:
        place, jacobian = (fx * x + cx, fy * y + cy), np.array([[fx, 0, 0], [0, fy, 0]])
    else:
        margin_x, margin_y = 0.3 * 0.5 * view.width / fx, 0.3 * 0.5 * view.height / fy
        slope_x = np.clip(x / z, -cx / fx - margin_x, (view.width - cx) / fx + margin_x)
        slope_y = np.clip(y / z, -cy / fy - margin_y, (view.height - cy) / fy + margin_y)
        place = (fx * x / z + cx, fy * y / z + cy)
        jacobian = np.array([[fx / z, 0, -fx / z * slope_x], [0, fy / z, -fy / z * slope_y]])
    covariance = jacobian @ axes @ axes.T @ jacobian.T + 0.3 * np.eye(2)
    return Splat(np.array(place), np.linalg.inv(covariance), float(z), float(cloud.opacities[index]))


@dataclass
class PixelRow:
    """Gaussians of a pixel with their weights, nearest first; `sure`: no decision was too close for float32."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    sure: bool = True


def pixel_rows(cloud: GaussianCloud, view: View, pixels: np.ndarray) -> list[PixelRow]:
    """Front-to-back blending of 3DGS, pixel by pixel."""
    splats = [(i, s) for i in range(len(cloud)) if (s := splat(cloud, i, view)) is not None]
    splats.sort(key=lambda item: item[1].depth)
    return [_pixel_row(splats, column + 0.5, row + 0.5) for column, row in np.asarray(pixels).tolist()]


def _pixel_row(splats: list[tuple[int, Splat]], x: float, y: float) -> PixelRow:
    out, transmittance = PixelRow(), 1.0
    for index, s in splats:
        dx, dy = x - s.place[0], y - s.place[1]
        distance = s.inverse[0, 0] * dx * dx + 2 * s.inverse[0, 1] * dx * dy + s.inverse[1, 1] * dy * dy
        alpha = min(0.999, s.opacity * math.exp(-0.5 * distance))
        out.sure &= abs(alpha * 255 - 1) > 1e-3
        if alpha < 1 / 255:
            continue
        after = transmittance * (1 - alpha)
        out.sure &= abs(after * 1e4 - 1) > 1e-2
        if after <= 1e-4:
            break
        out.ids.append(index)
        out.weights.append(transmittance * alpha)
        transmittance = after
    return out


def dense(rows, count: int) -> np.ndarray:
    """[P,N] float64 of sparse rows."""
    out = np.zeros((len(rows.offsets) - 1, count))
    for p in range(len(out)):
        for k in range(rows.offsets[p], rows.offsets[p + 1]):
            out[p, rows.ids[k]] += rows.weights[k]
    return out


# --- SAGA -----------------------------------------------------------------------------------------------------------


def identity_vector(covers: np.ndarray, mask_scales: np.ndarray, scale: float) -> np.ndarray:
    """[M] bool, Eq. 6 for one pixel: V_m = 1 if the mask covers it and is smaller than `scale`, or is the smallest of
    those that cover it and are not.
    """
    out = np.zeros(len(covers), bool)
    for m in range(len(covers)):
        if not covers[m]:
            continue
        rivals = [n for n in range(len(covers)) if covers[n] and scale <= mask_scales[n] < mask_scales[m]]
        out[m] = mask_scales[m] < scale or not rivals
    return out


def bits_to_bool(words: np.ndarray, count: int) -> np.ndarray:
    """[...,count] bool: bit m of a row of uint64 words is (words[m // 64] >> (m % 64)) & 1."""
    columns = [(words[..., m // 64] >> np.uint64(m % 64)) & np.uint64(1) for m in range(count)]
    return np.stack(columns, axis=-1).astype(bool) if count else np.zeros((*words.shape[:-1], 0), bool)


def bool_to_bits(members: np.ndarray) -> np.ndarray:
    """The way back: [...,ceil(M/64)] uint64."""
    words = np.zeros((*members.shape[:-1], max(1, -(-members.shape[-1] // 64))), np.uint64)
    for m in range(members.shape[-1]):
        words[..., m // 64] |= members[..., m].astype(np.uint64) << np.uint64(m % 64)
    return words


def mixed(i: int, j: int, seed: int) -> int:
    """The draw for an ordered pair: MurmurHash3's 32-bit finalizer, in Python's own integers."""
    whole = (1 << 32) - 1
    h = ((i * 0x9E3779B1) & whole) ^ ((j * 0x85EBCA77) & whole) ^ seed
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & whole
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & whole
    return h ^ (h >> 16)


@dataclass
class PairTerms:
    """What a pair loss is made of, [S,P,P] lower triangles: coefficients of max(cos, 0), already signed, weighted and
    divided; `sure`: no cosine was too close to a limit for float32.
    """

    coefficients: np.ndarray
    sure: bool


def pair_terms(cosines: np.ndarray, shared: np.ndarray, inverse_sizes: np.ndarray, seed: int) -> PairTerms:
    """Pair sets and weights of A.1 and Eq. 8, 9 for cosines [S,P,P] and shared [S,P,P] bool, pair by pair."""
    levels, count, _ = cosines.shape
    pairs = [(i, j) for i in range(count) for j in range(i)]
    kind = {}
    for i, j in pairs:
        always = [bool(shared[k, i, j]) for k in range(levels)]
        kind[i, j] = "positive" if all(always) else "inconsistent" if any(always) else "negative"
    number = {name: sum(value == name for value in kind.values()) for name in ("positive", "negative", "inconsistent")}
    products = {pair: float(inverse_sizes[pair[0]]) * float(inverse_sizes[pair[1]]) for pair in pairs}
    low, high = min(products.values()), max(products.values())
    weight = {pair: 1 + 9 * (p - low) / (high - low) if high > low else 1.0 for pair, p in products.items()}
    out, sure = np.zeros_like(cosines), True
    for k in range(levels):
        first, second = [], []  # the pairs of the positive and of the negative sum
        for i, j in pairs:
            cosine = cosines[k, i, j]
            sure &= min(abs(cosine), abs(cosine - 0.5), abs(cosine - 0.75)) > 3e-6
            drawn = mixed(i, j, seed) / 2**32 < 0.5 * number["inconsistent"] / max(number[kind[i, j]], 1)
            if kind[i, j] == "inconsistent" or (kind[i, j] == "positive" and (drawn or cosine < 0.75)):
                first.append((i, j))
            if kind[i, j] == "inconsistent" or (kind[i, j] == "negative" and (drawn or cosine > 0.5)):
                second.append((i, j))
        for members in (first, second):
            for i, j in members:
                out[k, i, j] += (1 - 2 * bool(shared[k, i, j])) * weight[i, j] / len(members) / levels
    return PairTerms(out, sure)


# --- a toy scene to train on ----------------------------------------------------------------------------------------

PHASES = (
    "choosing views",
    "rasterizing",
    "finding segments",
    "masking views",
    "starting features",
    "training",
)


def toy_scene(rng: np.random.Generator) -> tuple[GaussianCloud, np.ndarray]:
    """Two balls of a few hundred Gaussians, and which ball each belongs to [N]."""
    red, blue = ball(rng, (0, 0, 0), 1.0, 300, (0.9, 0.2, 0.2)), ball(rng, (3, 0, 0), 0.8, 240, (0.2, 0.2, 0.9))
    return concatenate([red, blue]), np.repeat([0, 1], [300, 240])


def toy_views() -> list[View]:
    """Six tiny views of it from around the line through both balls."""
    K = np.array([[55, 0, 32], [0, 55, 24], [0, 0, 1.0]])
    eyes = [(1.5, -6 * math.cos(a), 6 * math.sin(a)) for a in np.arange(6) * math.pi / 3 + 0.1]
    return [View(look_at(eye, [1.5, 0, 0], [0.1, 0.3, 1]), K, 64, 48) for eye in eyes]


def pixel_over(cloud: GaussianCloud, view: View, index: int) -> np.ndarray:
    """[2] int, the pixel in which a Gaussian's center lies."""
    x, y, z = view.viewmat[:3, :3] @ cloud.means[index] + view.viewmat[:3, 3]
    divide = 1 if view.orthographic else z
    u, v = view.K[0, 0] * x / divide + view.K[0, 2], view.K[1, 1] * y / divide + view.K[1, 2]
    return np.floor([u, v]).astype(int)


class CancelsAt(Control):
    """Is cancelled as soon as it sees a phase."""

    def __init__(self, phase: str) -> None:
        super().__init__()
        self.phase = phase

    def progress(self, phase: str, step: int, total: int) -> None:
        if phase == self.phase:
            self.cancel()
        super().progress(phase, step, total)

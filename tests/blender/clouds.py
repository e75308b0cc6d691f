"""Small clouds and files for the tests, made without the code under test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

from blender_saga.gaussians.cloud import GaussianCloud


def random_cloud(n: int, degree: int, seed: int = 0) -> GaussianCloud:
    """n Gaussians with nothing special about them; opacities stay away from 0 and 1, where a logit is coarse."""
    rng = np.random.default_rng(seed)
    quats = rng.normal(size=(n, 4))
    return GaussianCloud(
        rng.normal(size=(n, 3)),
        quats / np.linalg.norm(quats, axis=1, keepdims=True),
        np.exp(rng.uniform(-5, -1, (n, 3))),
        rng.uniform(0.05, 0.95, n),
        rng.normal(size=(n, (degree + 1) ** 2, 3)) * 0.3,
    )


def write_inria(path: Path, cloud: GaussianCloud) -> None:
    """The file a trainer would write, by plyfile: log scales, logit opacities, f_rest channel by channel."""
    columns: dict[str, np.ndarray] = dict(zip(("x", "y", "z"), cloud.means.T, strict=True))
    columns |= {name: np.zeros(len(cloud)) for name in ("nx", "ny", "nz")}
    columns |= {f"f_dc_{c}": cloud.sh[:, 0, c] for c in range(3)}
    rest = cloud.sh[:, 1:].transpose(0, 2, 1).reshape(len(cloud), 3 * cloud.sh.shape[1] - 3)
    columns |= {f"f_rest_{i}": rest[:, i] for i in range(rest.shape[1])}
    columns["opacity"] = np.log(cloud.opacities / (1 - cloud.opacities))
    columns |= {f"scale_{i}": np.log(cloud.scales[:, i]) for i in range(3)}
    columns |= {f"rot_{i}": cloud.quats[:, i] for i in range(4)}
    rows = np.empty(len(cloud), [(name, "<f4") for name in columns])
    for name, values in columns.items():
        rows[name] = values
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(path))


def read_inria(path: Path) -> dict[str, np.ndarray]:
    """A written file as plyfile reads it: the outside referee. Keys: means, scales, opacities, quats, sh."""
    vertex = PlyData.read(str(path))["vertex"].data
    stack = lambda *names: np.stack([vertex[name] for name in names], axis=1)  # noqa: E731
    rest = sorted((n for n in vertex.dtype.names if n.startswith("f_rest_")), key=lambda n: int(n[7:]))
    sh = stack("f_dc_0", "f_dc_1", "f_dc_2")[:, None]
    if rest:
        sh = np.concatenate([sh, stack(*rest).reshape(len(vertex), 3, -1).transpose(0, 2, 1)], axis=1)
    return {
        "means": stack("x", "y", "z"),
        "scales": np.exp(stack("scale_0", "scale_1", "scale_2")),
        "quats": stack("rot_0", "rot_1", "rot_2", "rot_3"),
        "opacities": 1 / (1 + np.exp(-vertex["opacity"].astype(np.float64))),
        "sh": sh,
    }


def covariances(quats: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """[N,3,3] R S S R^T, with scipy's quaternions."""
    from scipy.spatial.transform import Rotation

    half = Rotation.from_quat(quats[:, [1, 2, 3, 0]]).as_matrix() * scales[:, None, :]
    return half @ half.transpose(0, 2, 1)


def colors(sh: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """[N,3] SH part of a color seen along unit directions [N,3], up to degree 1, INRIA signs."""
    c0, c1 = 0.28209479177387814, 0.4886025119029199
    x, y, z = directions.T
    basis = np.stack([np.full(len(x), c0), -c1 * y, c1 * z, -c1 * x], axis=1)
    return np.einsum("nk,nkc->nc", basis, sh[:, :4])

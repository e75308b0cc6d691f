"""Make the pictures of docs/user/edits.md: one click on the demo's still life, then remove, resize, move, duplicate.

Usage: `python3 scripts/edit_pictures.py [FOLDER]` (default: docs/pictures/edits). It trains Click-Gaussian first.
"""

from __future__ import annotations

import sys

import bootstrap

if "--as-is" not in sys.argv:
    bootstrap.ensure()  # the code below runs in Python 3.13 with all packages

from pathlib import Path

sys.path.insert(1, str(bootstrap.ROOT / "backend"))
sys.path.insert(2, str(bootstrap.ROOT))

import numpy as np
from PIL import Image

from blender_saga.gaussians.cloud import GaussianCloud, concatenate
from blender_saga.gaussians.transforms import transform_cloud
from blender_saga.gaussians.view import View, look_at
from blender_saga.wire.messages import TrainSettings
from saga_backend.common.progress import Control
from saga_backend.evaluation.metrics import deepest_pixel, true_map
from saga_backend.rasterizer.cpu import all_pixels, contributions, render
from saga_backend.tools.tabletop import make_tabletop, tabletop_names
from saga_backend.training.train import train

CLICKED = "mug"
SIZE = (480, 360)


def place(part: GaussianCloud, scale: float = 1.0, shift: tuple[float, float, float] = (0, 0, 0)) -> GaussianCloud:
    """Resize a part about the middle of its foot, and shift it (y down, as in files)."""
    low, high = part.means.min(axis=0), part.means.max(axis=0)
    foot = np.array([(low[0] + high[0]) / 2, high[1], (low[2] + high[2]) / 2])
    matrix = np.eye(4)
    matrix[:3, :3] *= scale
    matrix[:3, 3] = foot - scale * foot + np.asarray(shift)
    return transform_cloud(part, matrix)


def edits(cloud: GaussianCloud, mask: np.ndarray) -> dict[str, GaussianCloud]:
    """The edits of a selection [N] bool, by name."""
    part, rest = cloud.take(mask), cloud.take(~mask)
    width = float(np.ptp(part.means[:, 0]))
    return {
        "before": cloud,
        "removed": rest,
        "resized": concatenate([rest, place(part, 1.6)]),
        "moved": concatenate([rest, place(part, shift=(0, -0.8 * width, 0))]),
        "duplicated": concatenate([cloud, place(part, 0.7, (-0.8 * width, 0.0, -0.35 * width))]),
    }


def main() -> None:
    """Train, click, edit, draw."""
    arguments = [word for word in sys.argv[1:] if word != "--as-is"]
    folder = Path(arguments[0]) if arguments else bootstrap.ROOT / "docs" / "pictures" / "edits"
    folder.mkdir(parents=True, exist_ok=True)
    cloud, labels = make_tabletop()
    settings = TrainSettings("click-gaussian", views=24, width=SIZE[0], height=SIZE[1])
    levels = train(cloud, settings, Control()).model.levels
    assert levels is not None  # the training used Click-Gaussian
    view = _view(cloud)
    rows = contributions(cloud, view, all_pixels(view))
    number = next(label for label, name in tabletop_names()[0].items() if CLICKED in name)
    pixel = deepest_pixel((true_map(rows, labels[:, 0]) == number).reshape(SIZE[::-1]))
    row = contributions(cloud, view, pixel[None])
    for scale, level in ((1.0, "coarse"), (0.0, "fine")):
        mask = levels.select(row, np.ones(1, bool), scale).mask
        true = labels[:, 0] == number
        print(
            f"{level}: {mask.sum()} Gaussians, IoU with the {CLICKED} {(mask & true).sum() / (mask | true).sum():.2f}"
        )
        if level == "coarse":
            for name, edited in edits(cloud, mask).items():
                picture = (255 * np.clip(render(edited, view).rgb, 0, 1)).astype(np.uint8)
                Image.fromarray(picture).save(folder / f"{name}.jpg", quality=88)


def _view(cloud: GaussianCloud) -> View:
    """A view from the front and above with all objects."""
    middle = np.median(cloud.means, axis=0)
    reach = float(np.quantile(np.linalg.norm(cloud.means - middle, axis=1), 0.98))
    eye = middle + reach * np.array([0.25, -1.2, -2.0])
    K = np.array([[1.1 * SIZE[0], 0, SIZE[0] / 2], [0, 1.1 * SIZE[0], SIZE[1] / 2], [0, 0, 1.0]])
    return View(look_at(eye, middle, np.array([0.0, -1.0, 0.0])), K, *SIZE)


if __name__ == "__main__":
    main()

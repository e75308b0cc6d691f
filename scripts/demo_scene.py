"""The input of the demo, the choice of the click, and the checks of the results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.ply import read_ply, write_ply
from blender_saga.gaussians.transforms import RDF_TO_BLENDER, transform_cloud
from blender_saga.gaussians.view import View, look_at
from saga_backend.cameras.virtual import CaptureSettings, capture, extent
from saga_backend.cli.files import read_labels, read_scene
from saga_backend.evaluation.metrics import SEEN, deepest_pixel, iou, true_map, update_largest_weights
from saga_backend.rasterizer.cpu import Picture, all_pixels, contributions, render
from saga_backend.tools.tabletop import make_tabletop, tabletop_names

WIDTH, HEIGHT = 960, 720
_DISTANCE = 4.0  # distance of the camera, in radii of the scene
_FILLED = 0.9  # share of the picture that the scene fills
_ELEVATION = 30  # degrees
_AZIMUTHS = (-75, -105, -45, -135, 45, 135)  # degrees; Blender's front view is -90
_COARSE = (240, 180)  # picture size for the choice of the view
_SMALLEST = 40  # pixels of an object in that picture, at least
_SEEN_VIEWS = 20  # views that decide which Gaussians are seen
_STRAYS = 0.002  # share of the Gaussians that may be outside the picture on each side
_LARGEST = 0.35  # share of the picture; a larger object is the ground


@dataclass(frozen=True, eq=False)
class Scene:
    """A splat from a file.

    Attributes:
        path: the PLY.
        cloud: its Gaussians, in the axes of the file.
        labels: [N,L] int32, 0 = none; None if unknown.
        names: the names by label, for each column of `labels`.
    """

    path: Path
    cloud: GaussianCloud
    labels: np.ndarray | None
    names: tuple[dict[int, str], ...]


@dataclass(frozen=True, eq=False)
class Aim:
    """A click.

    Attributes:
        view: the view in Blender's world, with the splat at its original place.
        x, y: column and row from the top.
        truth: [L] int32, the labels at the pixel; None if unknown.
        on: the same in words, as the end of a sentence.
    """

    view: View
    x: int
    y: int
    truth: np.ndarray | None
    on: str


def open_scene(path: Path | None, labels: Path | None, out: Path) -> Scene:
    """Read the splat of the user, or make a synthetic one.

    Raises:
        UserError: if a file cannot be used.
    """
    if path is None:
        cloud, values = make_tabletop(0)
        path = out / "tabletop.ply"
        write_ply(path, cloud)
        np.save(out / "tabletop_labels.npy", values)
        return Scene(path, read_ply(path).cloud, values, tabletop_names())
    loaded = read_scene(path)
    if labels is None:
        return Scene(path, loaded.cloud, None, ())
    labeling = read_labels(labels, loaded)
    return Scene(path, loaded.cloud, labeling.values.reshape(len(loaded.cloud), -1), labeling.names)


def choose_click(scene: Scene) -> Aim:
    """Render the splat from a few sides, and choose a pixel in the middle of the most visible object."""
    cloud = transform_cloud(scene.cloud, RDF_TO_BLENDER)
    views = [_orbit(cloud, azimuth) for azimuth in _AZIMUTHS]
    if scene.labels is None:
        column, row = _prominent(render(cloud, views[0]), views[0])
        return Aim(views[0], column, row, None, ", the middle of the most prominent region")
    scores = [_click_scores(_label_map(cloud, scene.labels, view.resized(*_COARSE))) for view in views]
    best = int(np.argmax([sum(of_view.values()) for of_view in scores]))
    if not scores[best]:
        raise UserError("No labeled object is large enough for a click", f"{len(views)} views were tried")
    view, clicked = views[best], max(scores[best], key=lambda label: scores[best][label])
    column, row = deepest_pixel(_label_map(cloud, scene.labels, view) == clicked)
    rows = contributions(cloud, view, np.array([[column, row]]))
    truth = np.array([clicked, *(true_map(rows, level)[0] for level in scene.labels.T[1:])], np.int32)
    on = " and ".join(_name(scene, level, label) for level, label in enumerate(truth) if label)
    return Aim(view, int(column), int(row), truth, f", on {on}")


def judge(scene: Scene, aim: Aim, mask: np.ndarray) -> list[str]:
    """The IoU of a selection [N] bool with the clicked object and part, in words; empty without labels."""
    if scene.labels is None or aim.truth is None:
        return []
    largest = np.zeros(len(scene.cloud), np.float32)
    for view in capture(scene.cloud, CaptureSettings(limit=_SEEN_VIEWS)).views:
        update_largest_weights(largest, contributions(scene.cloud, view, all_pixels(view)))
    seen = largest >= SEEN
    lines = []
    for level, label in enumerate(aim.truth):
        if label:
            true = scene.labels[:, level] == label
            seen_iou, all_iou = iou(mask[seen], true[seen]), iou(mask, true)
            name = _name(scene, level, label)
            lines.append(f"IoU with {name}: {seen_iou:.3f} (all Gaussians, also unseen ones: {all_iou:.3f})")
    return lines


def check_export(scene: Scene, mask: np.ndarray, path: Path) -> str:
    """The problem of an exported part, "" if it has exactly the selected Gaussians of the source."""
    exported, expected = read_ply(path).cloud, scene.cloud.take(mask)
    if len(exported) != len(expected):
        return f"The exported file has {len(exported):,} Gaussians instead of {len(expected):,}"
    if exported.sh.shape != expected.sh.shape:
        return f"The exported file has {exported.sh.shape[1]} SH coefficients instead of {expected.sh.shape[1]}"
    for name in ("means", "scales", "opacities", "sh"):
        largest = float(np.abs(getattr(expected, name)).max())
        if not np.allclose(getattr(exported, name), getattr(expected, name), rtol=1e-3, atol=1e-4 * largest):
            return f"The exported {name} differ from those of the source"
    return ""


def framed(view: View, clouds: list[GaussianCloud]) -> View:
    """The view with another focal length and lens shift, so that all clouds except strays fill the picture."""
    corners = []
    for cloud in clouds:
        points = cloud.means[cloud.opacities > 0.1] @ view.viewmat[:3, :3].T + view.viewmat[:3, 3]
        points = points[points[:, 2] > view.near]
        if len(points):
            corners += list(np.quantile(points[:, :2] / points[:, 2:], [_STRAYS, 1 - _STRAYS], axis=0))
    if not corners:
        return view
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    size = np.array([view.width, view.height])
    focal = float((_FILLED * size / np.maximum(high - low, 1e-6)).min())
    shift = size / 2 - focal * (low + high) / 2
    return replace(view, K=np.array([[focal, 0, shift[0]], [0, focal, shift[1]], [0, 0, 1]]))


def _orbit(cloud: GaussianCloud, azimuth: float) -> View:
    """A view of the whole splat from one side, z up."""
    bounds = extent(cloud)
    around, above = np.radians(azimuth), np.radians(_ELEVATION)
    direction = np.array([np.cos(around) * np.cos(above), np.sin(around) * np.cos(above), np.sin(above)])
    viewmat = look_at(bounds.center + _DISTANCE * bounds.radius * direction, bounds.center, np.array([0.0, 0.0, 1.0]))
    plain = np.array([[WIDTH, 0, WIDTH / 2], [0, WIDTH, HEIGHT / 2], [0, 0, 1]])
    return framed(View(viewmat, plain, WIDTH, HEIGHT), [cloud])


def _label_map(cloud: GaussianCloud, labels: np.ndarray, view: View) -> np.ndarray:
    """[H,W] int32: the object at each pixel, 0 for none."""
    rows = contributions(cloud, view, all_pixels(view))
    return true_map(rows, labels[:, 0]).reshape(view.height, view.width)


def _click_scores(labels: np.ndarray) -> dict[int, float]:
    """A score of each object in a label map [H,W]: the free radius around its middle, less toward the edge."""
    sizes = np.bincount(labels.ravel(), minlength=1)
    sizes[0] = 0
    usable = np.flatnonzero((sizes >= _SMALLEST) & (sizes <= _LARGEST * labels.size))
    if not len(usable):
        usable = np.flatnonzero(sizes >= _SMALLEST)  # the picture shows only the ground
    closeness = _closeness(labels.shape)
    return {int(i): float((ndimage.distance_transform_edt(labels == i) * closeness).max()) for i in usable}


def _closeness(shape: tuple[int, int]) -> np.ndarray:
    """[H,W]: 1 in the middle of a picture, less toward the edge."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    return np.exp(-((x - shape[1] / 2) ** 2 + (y - shape[0] / 2) ** 2) / (0.3 * shape[1]) ** 2)


def _prominent(picture: Picture, view: View) -> tuple[int, int]:
    """Column and row of the most prominent region: opaque, above the ground, near the middle of the picture."""
    solid = picture.alpha > 0.5
    if not solid.any():
        raise UserError("The view of this splat is empty", "no pixel of it is half opaque")
    y, x = np.mgrid[0 : view.height, 0 : view.width] + 0.5
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(view.K).T
    into_world = np.linalg.inv(view.viewmat)
    heights = (picture.depth[..., None] * rays) @ into_world[2, :3] + into_world[2, 3]
    low, high = np.percentile(heights[solid], [10, 95])
    above = np.clip((heights - low) / max(high - low, 1e-9), 0.05, 1)  # in a flat splat, the middle gets the click
    score = ndimage.gaussian_filter(picture.alpha * solid * above, 0.03 * view.width) * _closeness(solid.shape)
    row, column = np.unravel_index(int(np.argmax(score)), score.shape)
    return int(column), int(row)


def _name(scene: Scene, level: int, label: int) -> str:
    """The name of a label: "the mug", "object 3"."""
    known = scene.names[level].get(int(label)) if level < len(scene.names) else None
    return f"the {known}" if known else f"{('object', 'part')[min(level, 1)]} {label}"

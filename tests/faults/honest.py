"""Honest messages about small scenes: what the fuzzer begins with, and what must still be answered afterwards."""

from __future__ import annotations

import dataclasses
import typing

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View, look_at
from blender_saga.wire.messages import (
    Cancel,
    CleanUp,
    Click,
    Cluster,
    Color,
    FetchWeights,
    FindText,
    Hello,
    InstantClick,
    LoadScene,
    LookAhead,
    NameSegments,
    ObjectPoints,
    Prompt,
    SamOptions,
    SelectOptions,
    Status,
    Train,
    TrainSettings,
    TrainSources,
    Unload,
    all_replies,
)

_WIDTH, _HEIGHT = 48, 36


def small_cloud(seed: int, each: int = 60) -> GaussianCloud:
    """Three balls of discs of one color each, side by side."""
    rng = np.random.default_rng(seed)
    centers = np.repeat([[-1.0, 0, 0], [0, 0, 0], [1.0, 0, 0]], each, axis=0)
    normals = rng.normal(size=centers.shape)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    colors = np.repeat(np.eye(3), each, axis=0) * 1.5
    count = len(centers)
    return GaussianCloud(
        centers + 0.3 * normals, np.tile([1.0, 0, 0, 0], (count, 1)), np.full((count, 3), 0.07), np.full(count, 0.9),
        colors[:, None],
    )  # fmt: skip


def front_view() -> View:
    """The balls side by side, the middle one in the middle."""
    K = np.array([[40.0, 0, _WIDTH / 2], [0, 40.0, _HEIGHT / 2], [0, 0, 1]])
    return View(look_at(np.array([0, -4.0, 0]), np.zeros(3), np.array([0, 0, 1.0])), K, _WIDTH, _HEIGHT)


def click(scene: str, kind: str = "points", **options: object) -> Click:
    """A click in the middle of the picture."""
    middle = np.array([[_WIDTH / 2, _HEIGHT / 2]], np.float32)
    corners = {"points": [[0, 0]], "box": [[-3, -3], [3, 3]], "lasso": [[-3, -3], [3, -3], [0, 4]]}[kind]
    prompt = Prompt(front_view(), middle + np.array(corners, np.float32), kind)
    objects = options.pop("objects", ())
    kind = InstantClick if options.pop("instant", False) else Click
    return kind(scene, (prompt,), objects, SelectOptions(**options))  # type: ignore[arg-type]


def requests(scene: str, folder: str, seed: int = 0) -> list[object]:
    """Requests of every kind about a scene; its model and masks lie in `folder`."""
    cloud, view = small_cloud(seed), front_view()
    model_file, ids = f"{folder}/{scene}.saga", np.arange(len(cloud), dtype=np.int32)
    part = ObjectPoints(np.eye(4), ids[:90].copy(), np.array([3, 5], np.int32), cloud.take(ids[:2]))
    tiny = TrainSettings("segments", "prototypes", 2, 2, 32, 24, 16, 1)
    given = TrainSources((view, view), ("a", "b"), "", np.eye(4), "files", folder)
    sam = SamOptions(f"{folder}/sam.pth", 2, 0.0, 0.0, 1.0, 4, 0, 64)
    found = TrainSources((), (), folder, np.eye(4), "sam", folder, sam)
    every = CleanUp(True, True, True, True)
    return [
        LoadScene(scene, cloud, ids, len(cloud), model_file),
        LoadScene(scene, cloud.take(ids[::2]), ids[::2].copy(), len(cloud)),
        click(scene),
        click(scene, "box", objects=(part, ObjectPoints(np.eye(4))), scores=True, clean_up=every),
        click(scene, "lasso", method="saga", scale=0.4, threshold=0.6, clean_up=every),
        click(scene, method="segments", objects=(part,), snap=False),
        click(scene, method="click-gaussian", scale=1.0),
        click(scene, instant=True, weights=f"{folder}/sam.pth", neighbors=2),
        Cluster(scene, np.array([0.2, 0.8], np.float32), 3),
        Color(scene, 0.5),
        LookAhead(scene, view, f"{folder}/sam.pth", (part,)),
        FindText(scene, "a red ball", f"{folder}/clip.pt", model_file),
        NameSegments(scene, ("ball", "chair"), f"{folder}/clip.pt", model_file),
        FetchWeights("none", folder),
        Train(scene, model_file, tiny),
        Train(scene, "", dataclasses.replace(tiny, method="saga", recipe="paper"), given),
        Train(scene, "", dataclasses.replace(tiny, method="click-gaussian"), found),
        Hello(),
        Status(),
        Cancel(3),
        Unload(scene),
    ]


def every_message(seed: int) -> list[object]:
    """A message of every kind, replies too."""
    return [*requests("toy", "folder", seed), *(_plain(kind) for kind in all_replies())]


def _plain(kind: type) -> object:
    """A message with the simplest value in every field."""
    values = {bool: True, int: 3, float: 0.5, str: "text", np.ndarray: np.arange(6, dtype=np.int32).reshape(2, 3)}
    hints = typing.get_type_hints(kind)

    def of(hint: typing.Any) -> typing.Any:
        if hint in values:
            return values[hint]
        if typing.get_origin(hint) is tuple:
            return (of(typing.get_args(hint)[0]),) * 2
        return _plain(hint)

    return kind(**{field.name: of(hints[field.name]) for field in dataclasses.fields(kind)})  # type: ignore[arg-type]

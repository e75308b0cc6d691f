"""The demo's Blender: the extension built, installed and driven by its operators, without a window."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

import build_extension
from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.transforms import transform_cloud
from blender_saga.gaussians.view import View
from demo_scene import Aim

_PACKAGE = "bl_ext.user_default.blender_saga"
_OPENCV_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
_SCALES = (-1.0, 0.8, 0.6, 0.4, 0.2, 0.05)  # automatic first, then as one moves the slider toward smaller things
_LARGEST = 0.9  # of all Gaussians: more is the whole splat, not a thing in it
_TELL_EVERY = 10.0  # seconds between two lines about a training


@dataclass(frozen=True, eq=False)
class Answer:
    """What a click selected: mask [N] bool and similarity [N] float32, in the order of the file."""

    mask: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class Part:
    """The object that was split off."""

    name: str
    path: Path


class Blender:
    """Blender as a module, with a user profile of its own and the extension installed from its zip.

    Attributes:
        zip_path: the built extension.
        version: of Blender.
    """

    def __init__(self, profile: str, out: Path) -> None:
        os.environ["BLENDER_USER_RESOURCES"] = profile  # read when bpy is imported
        os.environ["BLENDER_SAGA_PYTHON"] = sys.executable  # this environment is the backend's too
        import bpy

        self._bpy, self._out, self._name = bpy, out, ""
        self.version = bpy.app.version_string
        try:
            self.zip_path = build_extension.build(out)
        except build_extension.BuildError as error:
            raise UserError("The extension could not be built", str(error)) from error
        bpy.ops.wm.read_homefile(use_empty=True)
        bpy.context.preferences.filepaths.save_version = 0  # no backup beside the .blend
        self._do(
            bpy.ops.extensions.package_install_files,
            filepath=str(self.zip_path.resolve()),
            repo="user_default",
            enable_on_install=True,
            overwrite=True,
        )

    def open(self, path: Path) -> None:
        """Import a splat."""
        self._do(self._bpy.ops.saga.import_splat, filepath=str(path.resolve()))
        self._name = self._bpy.context.view_layer.objects.active.name
        self._save()  # a model is kept next to the .blend, so the folder of the splat stays as it is

    def count(self) -> int:
        """Number of points of the imported splat."""
        return len(self._object().data.points)

    def start_backend(self) -> str:
        """Start it; returns what it says of itself."""
        self._do(self._bpy.ops.saga.backend_start)
        return self._addon("scene.state.session").link.backend.welcome.note

    def train(self, steps: int) -> str:
        """Train; returns a summary. Meanwhile progress is printed by a thread that only reads."""
        ended = threading.Event()
        threading.Thread(target=self._tell_progress, args=(ended,), daemon=True).start()
        try:
            self._do(self._bpy.ops.saga.train, object=self._name, steps=steps)
        finally:
            ended.set()
        return self._addon("scene.state.session").status.message

    def _tell_progress(self, ended: threading.Event) -> None:
        session = self._addon("scene.state.session")
        while not ended.wait(_TELL_EVERY):
            progress = session.trainings.request.job.progress if session.trainings.request else None
            if progress:
                print(f"           ... {progress.phase}: {progress.step:,} of {progress.total:,}", flush=True)

    def click_until_part(self, aim: Aim, say: Callable[[str], None]) -> Answer:
        """Click; where that takes nothing or the whole splat, move the slider as an artist would and click again.

        Raises:
            UserError: if no scale selects a part of the splat.
        """
        for scale in _SCALES:
            answer = self._click(aim, scale)
            if 0 < answer.mask.sum() <= _LARGEST * len(answer.mask):
                return answer
            at = "automatic scale" if scale < 0 else f"scale {scale}"
            say(f"The click selects {answer.mask.sum():,} Gaussians at {at}, which is no part of it: next scale")
        raise UserError("The click selects no part of the splat", "all scales select nothing or everything")

    def _click(self, aim: Aim, scale: float) -> Answer:
        self._do(
            self._bpy.ops.saga.click,
            object=self._name,
            view_matrix=(_OPENCV_TO_OPENGL @ aim.view.viewmat).ravel(),
            projection_matrix=_projection(aim.view).ravel(),
            width=aim.view.width,
            height=aim.view.height,
            x=aim.x,
            y=aim.view.height - 1 - aim.y,
            scale=scale,
        )
        similarity = self._object().data.attributes["saga:similarity"].data
        scores = np.empty(len(similarity), np.float32)
        similarity.foreach_get("value", scores)
        return Answer(self._addon("scene.splat.point_cloud").selection(self._object()), scores)

    def split_and_export(self, path: Path) -> Part:
        """Split the selection off and write it to a PLY."""
        self._do(self._bpy.ops.saga.split, object=self._name)
        name = self._bpy.context.view_layer.objects.active.name
        self._do(self._bpy.ops.saga.export_splat, filepath=str(path.resolve()), object=name)
        return Part(name, path)

    def lift_out(self, name: str) -> None:
        """Move an object straight up by most of its own height."""
        obj = self._bpy.data.objects[name]
        heights = self._addon("scene.splat.point_cloud").positions(obj)[:, 2]
        obj.location.z += 0.7 * float(np.ptp(np.percentile(heights, [1, 99])))
        self._bpy.context.view_layer.update()

    def clouds(self) -> list[GaussianCloud]:
        """What Blender holds now: every splat object, as it stands in the world."""
        points = self._addon("scene.splat.point_cloud")
        found = []
        for obj in self._bpy.context.scene.objects:
            if points.is_splat(obj):
                held = points.to_cloud(obj)  # the installed extension's class, of the same shape as the one here
                cloud = GaussianCloud(held.means, held.quats, held.scales, held.opacities, held.sh)
                found.append(transform_cloud(cloud, np.array(obj.matrix_world, np.float64)))
        return found

    def close(self) -> Path:
        """Stop the backend and save what there is; returns the file."""
        self._do(self._bpy.ops.saga.backend_stop)
        return self._save()

    def _save(self) -> Path:
        path = self._out / f"{self._name}.blend"
        self._bpy.ops.wm.save_as_mainfile(filepath=str(path.resolve()), check_existing=False, compress=True)
        return path

    def _object(self) -> object:
        return self._bpy.data.objects[self._name]

    def _addon(self, name: str) -> ModuleType:
        return importlib.import_module(f"{_PACKAGE}.{name}")

    def _do(self, operator: Callable[..., set[str]], **arguments: object) -> None:
        """Call an operator; what it reports as an error is one sentence for the user."""
        try:
            result = operator(**arguments)
        except RuntimeError as error:
            raise UserError(str(error).removeprefix("Error: ").strip().rstrip(".")) from error
        if result != {"FINISHED"}:
            raise UserError(f"Blender gave up at {operator.idname()}")


def _projection(view: View) -> np.ndarray:
    """[4,4] camera to clip space of a perspective view, as Blender's `window_matrix`."""
    near, far = 0.01, 1000.0
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[1, 1] = 2 * view.K[0, 0] / view.width, 2 * view.K[1, 1] / view.height
    matrix[0, 2], matrix[1, 2] = 1 - 2 * view.K[0, 2] / view.width, 2 * view.K[1, 2] / view.height - 1
    matrix[2, 2], matrix[2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
    matrix[3, 2] = -1
    return matrix

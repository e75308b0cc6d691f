"""The Blender of the demo: it builds and installs the extension and calls its operators, without a window."""

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
_SCALES = (-1.0, 0.8, 0.6, 0.4, 0.2, 0.05)  # the automatic scale first, then toward smaller segments
_LARGEST = 0.9  # share of all Gaussians; a larger selection is the whole splat
_PRINT_EVERY = 10.0  # seconds between two lines about a training


@dataclass(frozen=True, eq=False)
class Answer:
    """The selection of a click: mask [N] bool and similarity [N] float32, in the order of the file."""

    mask: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class Part:
    """The new object after a split, and its file."""

    name: str
    path: Path


class Blender:
    """Blender as a module with a new user profile, and with the extension from its zip.

    Attributes:
        zip_path: the zip of the extension.
        version: the version of Blender.
    """

    def __init__(self, profile: str, out: Path) -> None:
        os.environ["BLENDER_USER_RESOURCES"] = profile  # the import of bpy reads it
        os.environ["BLENDER_SAGA_PYTHON"] = sys.executable  # the backend uses this environment, too
        import bpy

        self._bpy, self._out, self._name = bpy, out, ""
        self.version = bpy.app.version_string
        try:
            self.zip_path = build_extension.build(out)
        except build_extension.BuildError as error:
            raise UserError("The extension cannot be built", str(error)) from error
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
        self._save()  # the model is saved next to the .blend, so the folder of the splat does not change

    def count(self) -> int:
        """Number of points of the imported splat."""
        return len(self._object().data.points)

    def start_backend(self) -> str:
        """Start the backend; returns the note of its welcome."""
        self._do(self._bpy.ops.saga.backend_start)
        return self._addon("scene.state.session").link.backend.welcome.note

    def train(self, steps: int) -> str:
        """Train; returns a summary. Meanwhile, a thread that only reads prints the progress."""
        ended = threading.Event()
        threading.Thread(target=self._print_progress, args=(ended,), daemon=True).start()
        try:
            self._do(self._bpy.ops.saga.train, object=self._name, steps=steps)
        finally:
            ended.set()
        return self._addon("scene.state.session").status.message

    def _print_progress(self, ended: threading.Event) -> None:
        session = self._addon("scene.state.session")
        while not ended.wait(_PRINT_EVERY):
            progress = session.trainings.request.job.progress if session.trainings.request else None
            if progress:
                print(f"           ... {progress.phase}: {progress.step:,} of {progress.total:,}", flush=True)

    def click_until_part(self, aim: Aim, say: Callable[[str], None]) -> Answer:
        """Click; if that selects nothing or the whole splat, try the next scale as a user would.

        Raises:
            UserError: if no scale selects a part of the splat.
        """
        for scale in _SCALES:
            answer = self._click(aim, scale)
            if 0 < answer.mask.sum() <= _LARGEST * len(answer.mask):
                return answer
            at = "automatic scale" if scale < 0 else f"scale {scale}"
            say(f"The click selects {answer.mask.sum():,} Gaussians at {at}, not a part of the splat: next scale")
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
        """Split off the selection and write it to a PLY."""
        self._do(self._bpy.ops.saga.split, object=self._name)
        name = self._bpy.context.view_layer.objects.active.name
        self._do(self._bpy.ops.saga.export_splat, filepath=str(path.resolve()), object=name)
        return Part(name, path)

    def lift_out(self, name: str) -> None:
        """Move an object up by most of its height."""
        obj = self._bpy.data.objects[name]
        heights = self._addon("scene.splat.point_cloud").positions(obj)[:, 2]
        obj.location.z += 0.7 * float(np.ptp(np.percentile(heights, [1, 99])))
        self._bpy.context.view_layer.update()

    def clouds(self) -> list[GaussianCloud]:
        """The clouds of all splat objects in Blender now, in world space."""
        points = self._addon("scene.splat.point_cloud")
        found = []
        for obj in self._bpy.context.scene.objects:
            if points.is_splat(obj):
                own = points.to_cloud(obj)  # of the installed extension's class, which has the same attributes
                cloud = GaussianCloud(own.means, own.quats, own.scales, own.opacities, own.sh)
                found.append(transform_cloud(cloud, np.array(obj.matrix_world, np.float64)))
        return found

    def close(self) -> Path:
        """Stop the backend and save the .blend; returns its path."""
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
        """Call an operator; its error report becomes one sentence for the user."""
        try:
            result = operator(**arguments)
        except RuntimeError as error:
            raise UserError(str(error).removeprefix("Error: ").strip().rstrip(".")) from error
        if result != {"FINISHED"}:
            raise UserError(f"Blender gave up at {operator.idname()}")


def _projection(view: View) -> np.ndarray:
    """[4,4] matrix from camera to clip space of a perspective view, like Blender's `window_matrix`."""
    near, far = 0.01, 1000.0
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[1, 1] = 2 * view.K[0, 0] / view.width, 2 * view.K[1, 1] / view.height
    matrix[0, 2], matrix[1, 2] = 1 - 2 * view.K[0, 2] / view.width, 2 * view.K[1, 2] / view.height - 1
    matrix[2, 2], matrix[2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
    matrix[3, 2] = -1
    return matrix

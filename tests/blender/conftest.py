"""These tests run against the built and installed zip, in the bpy wheel, far from the user's own Blender profile."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.blender.support import PACKAGE, addon

# Blender reads this when bpy is imported, so it is set before any test module is.
_PROFILE = tempfile.mkdtemp(prefix="blender_saga_profile_")
os.environ["BLENDER_USER_RESOURCES"] = _PROFILE
atexit.register(shutil.rmtree, _PROFILE, ignore_errors=True)
if importlib.util.find_spec("bpy") is None:  # another Python than the environment's: nothing here can even be imported
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def built_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension, built once by scripts/build_extension.py."""
    import build_extension

    return build_extension.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def installed(built_zip: Path) -> Iterator[None]:
    """The zip, installed and enabled as a user does it."""
    import bpy

    bpy.ops.extensions.package_install_files(
        filepath=str(built_zip), repo="user_default", enable_on_install=True, overwrite=True
    )
    assert PACKAGE in bpy.context.preferences.addons
    yield
    bpy.ops.preferences.addon_disable(module=PACKAGE)


@pytest.fixture(autouse=True)
def empty_scene(installed: None) -> Iterator[None]:
    """An empty scene before each test, and no backend after it."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True)
    yield
    addon("scene.state.session").close()


@pytest.fixture
def snapshot() -> Callable[[], object]:
    """A function that describes the whole scene, to see that a failure changed nothing."""
    import bpy

    def describe(obj: bpy.types.Object) -> object:
        data = obj.data
        points = addon("scene.splat.attributes")
        arrays = [(a.name, points.read(a).tobytes()) for a in data.attributes] if obj.type == "POINTCLOUD" else []
        record = {key: getattr(obj.saga, key) for key in ("fingerprint", "count", "source", "axes", "model_file")}
        return (obj.name, obj.type, [list(row) for row in obj.matrix_world], arrays, record, obj.select_get())

    def take() -> object:
        active = bpy.context.view_layer.objects.active
        ids = [(name, len(getattr(bpy.data, name))) for name in ("objects", "pointclouds", "meshes", "collections")]
        return (ids, [describe(o) for o in bpy.context.scene.objects], active.name if active else None)

    return take

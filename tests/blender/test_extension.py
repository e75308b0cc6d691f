"""The zip itself: what is in it, that it registers again and again, that the builder says what it misses."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import bpy
import pytest

from build_extension import contents
from tests.blender.support import PACKAGE, addon
from tests.paths import ROOT

OPERATORS = (
    *("import_splat", "export_splat", "train", "cancel", "click", "split", "invert", "clear"),
    *("backend_install", "backend_start", "backend_stop"),
)


def test_zip_holds_what_it_needs_and_nothing_else(built_zip: Path) -> None:
    names = [PurePosixPath(name) for name in zipfile.ZipFile(built_zip).namelist()]
    assert [str(n) for n in names if n.name == "codec.py"] == ["wire/codec.py"]
    for needed in ("__init__.py", "blender_manifest.toml", "LICENSE", "README.md"):
        assert PurePosixPath(needed) in names
    assert {PurePosixPath("backend/launch.py"), PurePosixPath("backend/requirements/backend.txt")} <= set(names)
    strangers = [n for n in names if n.suffix == ".pyc" or {"tests", "scripts", "__pycache__"} & set(n.parts)]
    assert strangers == []
    assert not [n for n in names if n.suffix not in {".py", ".toml", ".txt", ".md", ""}]


def test_the_zip_is_what_the_lists_say(built_zip: Path) -> None:
    assert set(zipfile.ZipFile(built_zip).namelist()) == {name.as_posix() for name in contents().values()}


def test_the_manifest_says_what_blender_asks_for() -> None:
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text())
    assert manifest["blender_version_min"] == "5.2.0"
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"]
    assert {"files", "network"} == set(manifest["permissions"])


def test_builder_says_that_bpy_is_missing(tmp_path: Path) -> None:
    # -S leaves out site-packages, and with them bpy.
    command = [sys.executable, "-S", str(ROOT / "scripts" / "build_extension.py"), "--out-dir", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "builder is missing" in result.stderr and "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_register_unregister_register() -> None:
    for _ in range(2):
        bpy.ops.preferences.addon_disable(module=PACKAGE)
        assert not hasattr(bpy.types.Object, "saga") and not hasattr(bpy.types.Scene, "saga")
        assert not hasattr(bpy.types, "SAGA_OT_click")
        bpy.ops.preferences.addon_enable(module=PACKAGE)
        assert hasattr(bpy.context.scene, "saga")
        assert not [name for name in OPERATORS if name not in dir(bpy.ops.saga)]


def test_install_again_over_itself(built_zip: Path) -> None:
    result = bpy.ops.extensions.package_install_files(
        filepath=str(built_zip), repo="user_default", enable_on_install=True, overwrite=True
    )
    assert result == {"FINISHED"}
    assert PACKAGE in bpy.context.preferences.addons


def test_registering_does_not_start_anything() -> None:
    assert addon("scene.state.session").link.backend is None


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_has_a_description(name: str) -> None:
    kind = getattr(bpy.ops.saga, name).get_rna_type()
    assert kind.name and kind.description

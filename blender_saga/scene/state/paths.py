"""Folders of the extension: the installed one (read-only, replaced by upgrades) and the user's."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import bpy

PACKAGE = __package__.removesuffix(".scene.state")
"""Package name of the installed extension, `bl_ext.REPOSITORY.blender_saga`."""

ADDON_DIR = Path(__file__).resolve().parents[2]
"""The folder with `wire/` and `gaussians/`; in the zip, it also contains `backend/`."""

LAUNCH = ADDON_DIR / "backend" / "launch.py"
REQUIREMENTS = ADDON_DIR / "backend" / "requirements" / "backend.txt"


def extension_version() -> str:
    """The version in the extension's manifest."""
    return str(tomllib.loads((ADDON_DIR / "blender_manifest.toml").read_text(encoding="utf-8"))["version"])


def user_folder(name: str) -> Path:
    """A user folder that survives upgrades; created if it is missing."""
    return Path(bpy.utils.extension_path_user(PACKAGE, path=name, create=True))


def model_path(obj: bpy.types.Object, fingerprint: str, folder: Path | None = None) -> Path:
    """The path for a newly trained model of a splat, `NAME.saga`.

    The file goes to `folder`, or next to the saved .blend, or next to the imported file, or to the user folder. If a
    model file of another cloud has this name, the fingerprint becomes part of the new name.
    """
    folder, name = folder or _model_folder(obj), bpy.path.clean_name(obj.name)
    path = folder / f"{name}.saga"
    own = obj.saga.model_file and obj.saga.fingerprint == fingerprint and Path(absolute(obj.saga.model_file)) == path
    return path if own or not path.exists() else folder / f"{name}-{fingerprint[:8]}.saga"


def _model_folder(obj: bpy.types.Object) -> Path:
    candidates = [Path(bpy.data.filepath).parent] if bpy.data.filepath else []
    if obj.saga.source:
        candidates.append(Path(absolute(obj.saga.source)).parent)
    for folder in candidates:
        if folder.is_dir() and os.access(folder, os.W_OK):
            return folder
    return user_folder("models")


def absolute(path: str) -> str:
    """Convert a path from a .blend, possibly relative ("//..."), to an absolute one."""
    return bpy.path.abspath(path)


def portable(path: str) -> str:
    """Convert a path for storage in a .blend: relative if both are in one folder, so that they can move together."""
    blend = Path(bpy.data.filepath)
    return f"//{Path(path).name}" if bpy.data.filepath and Path(path).parent == blend.parent else path

"""Folders of the extension: its own (read-only, replaced by an upgrade) and the user's."""

from __future__ import annotations

import os
from pathlib import Path

import bpy

PACKAGE = __package__.removesuffix(".scene.state")
"""Name of the installed extension's package, `bl_ext.REPOSITORY.blender_saga`."""

ADDON_DIR = Path(__file__).resolve().parents[2]
"""The folder with `wire/` and `gaussians/`; in the zip, `backend/` lies inside it."""

LAUNCH = ADDON_DIR / "backend" / "launch.py"
REQUIREMENTS = ADDON_DIR / "backend" / "requirements" / "backend.txt"


def user_folder(name: str) -> Path:
    """A folder of the user's that outlives upgrades; it is made if it is missing."""
    return Path(bpy.utils.extension_path_user(PACKAGE, path=name, create=True))


def model_path(obj: bpy.types.Object, fingerprint: str, folder: Path | None = None) -> Path:
    """Where a newly trained model of a splat is saved: `NAME.saga`.

    In `folder`, else next to the .blend when it is saved, else next to the imported file, else in the user's folder.
    A file of that name that is not this cloud's own model stays as it is: then the fingerprint is part of the name.
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
    """A path from a .blend, which may be relative to it ("//..."), as an absolute one."""
    return bpy.path.abspath(path)


def portable(path: str) -> str:
    """A path as it is kept in a .blend: relative where both lie in one folder, so that they can move together."""
    blend = Path(bpy.data.filepath)
    return f"//{Path(path).name}" if bpy.data.filepath and Path(path).parent == blend.parent else path

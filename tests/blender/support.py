"""Names that all tests of this folder use."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

PACKAGE = "bl_ext.user_default.blender_saga"


def compiled(home: Path) -> Path:
    """Where this version of the extension keeps what numba compiled."""
    return home / "compiled" / addon("scene.state.paths").extension_version()


def addon(name: str) -> ModuleType:
    """A module of the installed extension, by its name below the package."""
    return importlib.import_module(f"{PACKAGE}.{name}")

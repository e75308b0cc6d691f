"""Names that all tests of this folder use."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
PACKAGE = "bl_ext.user_default.blender_saga"


def addon(name: str) -> ModuleType:
    """A module of the installed extension, by its name below the package."""
    return importlib.import_module(f"{PACKAGE}.{name}")

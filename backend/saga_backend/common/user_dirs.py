"""The user's folders for cached data and for settings."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def cache_folder(name: str = "") -> Path:
    """The extension's folder in the user's cache, or a subfolder of it; not created here."""
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "blender_saga" / name


def config_folder() -> Path:
    """The extension's folder in the user's settings; not created here."""
    if sys.platform == "win32":
        root = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Application Support"
    else:
        root = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return root / "blender_saga"


def scene_folder(name: str, scene: str) -> Path:
    """Cache folder of a scene, for clients whose files are on another machine; `scene` may be any text."""
    return cache_folder(name) / hashlib.sha256(scene.encode()).hexdigest()[:32]

"""The version, which stands once: in the extension's manifest."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

MANIFEST = Path(__file__).resolve().parents[3] / "blender_manifest.toml"
"""In a checkout as in the installed extension, the folder of the backend lies beside it."""


def read_version(manifest: Path = MANIFEST) -> str:
    """The version of the manifest; of the installed package where there is no manifest, as in a wheel."""
    if manifest.is_file():
        return str(tomllib.loads(manifest.read_text(encoding="utf-8"))["version"])
    return metadata.version("blender-saga")

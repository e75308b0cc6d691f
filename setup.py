"""The project's version, which stands in the extension's manifest alone; everything else is in pyproject.toml."""

import tomllib
from pathlib import Path

from setuptools import setup

MANIFEST = Path(__file__).resolve().with_name("blender_manifest.toml")

setup(version=tomllib.loads(MANIFEST.read_text(encoding="utf-8"))["version"])

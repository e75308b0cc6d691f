"""These tests run in the window of a real Blender, on a virtual screen, against the built and installed zip."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gui.runner import blender_window
from tests.paths import ROOT

PICTURES = ROOT / "build" / "gui"
"""Where the screenshots lie after a run, one folder a scenario; git ignores it."""


@pytest.fixture(scope="session")
def real_blender() -> None:
    """Debian's Blender, installed where it is missing; the tests are skipped where that cannot be done."""
    try:
        blender_window.prepare()
    except blender_window.Unavailable as reason:
        pytest.skip(f"NO BLENDER WINDOW, nothing of the interface was tested: {reason}")


@pytest.fixture(scope="session")
def built_zip(real_blender: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension, built once by scripts/build_extension.py."""
    import build_extension

    return build_extension.build(tmp_path_factory.mktemp("dist"))

"""Every splat format in the window of a real Blender."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.gui.conftest import PICTURES
from tests.gui.runner import run_scenario
from tests.paths import DATA


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared test data is not beside this checkout")
def test_every_format_in_and_out(built_zip: Path) -> None:
    out = PICTURES / "every_format"
    shutil.rmtree(out, ignore_errors=True)
    try:
        assert run_scenario("file_story.every_format", out, built_zip) == "ok"
    finally:
        for path in (out / "profile", out / ".cache", out / ".config"):
            shutil.rmtree(path, ignore_errors=True)
        for path in {*out.glob("out.*"), *out.glob("*.spz")}:
            path.unlink()
    assert len(list(out.glob("*.png"))) == 6

"""Once with the real packages, from the registry that this machine uses, in the window of a real Blender."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import FULL
from tests.faults.stub_index import ROOT

pytestmark = pytest.mark.skipif(not FULL, reason="downloads 3 GB: only with the full counts")
PICTURES = ROOT / "build" / "gui" / "install_story"


def test_the_install_button_with_the_real_packages(case: Callable, tmp_path: Path) -> None:
    from tests.gui.runner import blender_window, run_scenario
    from tests.gui.things import write_things

    with case("Install with the real packages, in a real Blender's window") as row:
        try:
            blender_window.prepare()
        except blender_window.Unavailable as reason:
            pytest.skip(f"there is no Blender window here: {reason}")
        import build_extension  # scripts/, which the runner has put on the path

        out = tmp_path / "out"
        out.mkdir()
        write_things(out)
        words = run_scenario(
            "install_story.from_the_registry", out, build_extension.build(tmp_path / "dist"), own=False
        )
        shutil.rmtree(PICTURES, ignore_errors=True)
        PICTURES.mkdir(parents=True)
        for file in (*out.glob("*.png"), *out.glob("*.log"), *out.glob("measured.json")):
            shutil.copyfile(file, PICTURES / file.name)
        assert words == "ok"
        measured = json.loads((out / "measured.json").read_text())
        row.right(measured["install s"])
        row.lost, row.remark = "nothing", json.dumps(measured)

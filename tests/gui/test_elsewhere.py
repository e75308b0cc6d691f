"""A backend elsewhere in the window of a real Blender; `serve` runs in this environment."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.fakes.served import Served
from tests.gui.conftest import PICTURES
from tests.gui.runner import run_scenario
from tests.gui.things import write_things


def test_connect_train_click_and_be_refused(built_zip: Path, tmp_path: Path) -> None:
    out = PICTURES / "elsewhere_story.pictures"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    write_things(out)
    served = Served(tmp_path)
    try:
        (out / "serve.json").write_text(json.dumps({"address": served.address, "key": served.key}))
        assert run_scenario("elsewhere_story.pictures", out, built_zip) == "ok"
        assert served.process.poll() is None  # the server outlives its client
    finally:
        served.end()
        for folder in ("profile", ".cache", ".config"):
            shutil.rmtree(out / folder, ignore_errors=True)
    assert len(list(out.glob("*.png"))) >= 5

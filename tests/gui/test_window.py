"""What an artist does, in the window of a real Blender, with events as if from a mouse and a keyboard."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.gui.conftest import PICTURES
from tests.gui.runner import run_scenario
from tests.gui.things import write_things
from tests.paths import DATA


@pytest.fixture(scope="session")
def splat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `scene.ply` and `labels.npy`: a real capture where there is one, else a made one."""
    folder = tmp_path_factory.mktemp("splat")
    real = DATA / "splats" / "composite_apart"
    if real.is_dir():
        for name in ("scene.ply", "labels.npy"):
            shutil.copyfile(real / name, folder / name)
    else:
        write_things(folder)
    return folder


def play(scenario: str, built_zip: Path, splat: Path) -> str:
    """Run a scenario; its screenshots stay in build/gui."""
    out = PICTURES / scenario
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in ("scene.ply", "labels.npy"):
        shutil.copyfile(splat / name, out / name)
    try:
        return run_scenario(scenario, out, built_zip)
    finally:
        for folder in ("profile", ".cache", ".config"):
            shutil.rmtree(out / folder, ignore_errors=True)


def test_from_import_to_an_object_of_its_own(built_zip: Path, splat: Path) -> None:
    assert play("story.whole_job", built_zip, splat) == "ok"
    pictures = sorted((PICTURES / "story.whole_job").glob("*.png"))
    assert len(pictures) >= 5
    for picture in pictures:
        assert np.ptp(_pixels(picture)) > 100, f"{picture.name} shows nothing"


def test_clicks_in_every_kind_of_view(built_zip: Path, tmp_path: Path) -> None:
    write_things(tmp_path)
    assert play("view_story.many_views", built_zip, tmp_path) == "ok"
    assert len(list((PICTURES / "view_story.many_views").glob("*.png"))) >= 8


def _pixels(picture: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(picture))

"""`evaluate --method instant`: what it prints, and what does not go together with it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from blender_saga.gaussians.ply import write_ply
from saga_backend.cli.main import main
from tests.helpers.clicks import CLOUD, TRUTH
from tests.helpers.tiny_sam import tiny_sam


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("scene")
    write_ply(folder / "toy.ply", CLOUD)
    np.save(folder / "labels.npy", (TRUTH + 1).astype(np.int32))
    small = ["--views", "6", "--width", "96", "--height", "72", "--clicks", "1"]
    return ["evaluate", str(folder / "toy.ply"), "--labels", str(folder / "labels.npy"), "--method", "instant", *small]


@pytest.mark.steady
def test_things_are_selected_without_training(scene, capsys):
    assert main([*scene, "--smallest", "10", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    objects = result["rules"]["default"]["objects"]
    assert len(objects["per_object"]) == len(np.unique(TRUTH))
    assert all(thing["miou_3d"] >= 0.85 for thing in objects["per_object"])
    settings = result["settings"]
    assert (settings["method"], settings["masks"], settings["neighbors"]) == ("instant", "simulated", 8)
    assert settings["damage"]["dropped"] == 0 and settings["recipe"] is None
    assert not {"training", "comparing masks"} & result["seconds"].keys()


def test_sam_answers_in_the_labels_place(scene, capsys):
    assert main([*scene, "--sam", str(tiny_sam()), "--neighbors", "0", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["settings"]["masks"] == "tiny.pth" and result["settings"]["damage"] is None
    assert len(result["rules"]["reference"]["objects"]["per_object"]) == len(np.unique(TRUTH))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--neighbors", "9"], "There are no 9 neighbors"),
        (["--model", "x.saga"], "--model does not apply to instant select"),
        (["--curve"], "--curve does not apply to instant select"),
        (["--masks", "builtin"], "--masks does not apply to instant select"),
        (["--sam", "gone.pth"], "there is no such file"),
        (["--ragged", "5", "2"], "cannot be damaged like that"),
        (["--method", "segments", "--sam", "x.pth"], "--sam applies to instant select"),
    ],
)
def test_what_does_not_go_together(scene, capsys, more, why):
    assert main([*scene, *more]) == 2
    assert why in capsys.readouterr().err.strip().splitlines()[-1]

"""The command `masks`: what a user runs, what is there afterwards, and what a kill leaves."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blender_saga.errors import UserError
from blender_saga.gaussians.ply import write_ply
from saga_backend.cameras.photo import Frame, virtual_frames
from saga_backend.cli import sam_options
from saga_backend.cli.main import main
from saga_backend.common.progress import Control
from saga_backend.masks.cache import MaskCache
from saga_backend.masks.extract import Local, Pictures, extract, tasks_of
from saga_backend.masks.mask_folder import MaskFolder
from saga_backend.masks.sam import weights
from saga_backend.masks.sam.generator import SamGenerator
from saga_backend.masks.sam.model import open_sam
from saga_backend.masks.sam.settings import SamSettings
from saga_backend.rasterizer.select import CPU
from tests.helpers.clicks import CLOUD
from tests.helpers.tiny_sam import OPEN, shapes, tiny_sam
from tests.helpers.twins import random_view
from tests.paths import ROOT

QUICK = ["--points-per-side", "4", "--iou", "0", "--stability", "0", "--least-area", "4"]
QUICK += ["--batch", "16", "--longest-side", "64"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "toy.ply"
    write_ply(path, CLOUD)
    return path


def command(scene: Path, out: Path, *more: str) -> list[str]:
    views = ["--views", "4", "--width", "64", "--height", "48"]
    return ["masks", str(scene), "--out", str(out), "--sam", str(tiny_sam()), *views, *QUICK, *more]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_folder_of_masks_is_made_once(scene, tmp_path, capsys):
    assert main(command(scene, tmp_path / "m")) == 0
    said = capsys.readouterr().out
    assert "of 4 pictures, 0 of them from an earlier run" in said
    before = files_of(tmp_path / "m")
    assert sorted(before) == [f"view_00{n}.npz" for n in range(4)]
    (tmp_path / "m" / "view_002.npz").write_bytes(before["view_002.npz"][:100])
    assert main(command(scene, tmp_path / "m")) == 0
    assert "3 of them from an earlier run" in capsys.readouterr().out
    assert files_of(tmp_path / "m") == before
    assert main(command(scene, tmp_path / "m", "--iou", "0.01")) == 0
    assert "0 of them from an earlier run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--longest-side", "3"], "longest_side is 3"),
        (["--crop-layers", "9"], "crop_layers is 9"),
        (["--address", "host:1"], "--address applies to a Ray cluster"),
        (["--sam", "vit_b", "--weights", "nowhere"], "the download was declined"),
        (["--sam", "gone.pth"], "there is no such file"),
    ],
)
def test_bad_input_is_one_sentence(scene, tmp_path, capsys, monkeypatch, more, why):
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115, PTH123 - nobody there to say yes
    assert main(command(scene, tmp_path / "m", *more)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert why in error and error.startswith("saga_backend: ")
    assert not list((tmp_path / "m").glob("*"))


def test_an_official_file_is_downloaded_after_a_yes(tmp_path, monkeypatch):
    asked = []

    def fetch(file, folder, control):
        asked.append((file.name, folder))
        return folder / file.name

    monkeypatch.setattr("saga_backend.masks.sam.weights.download", fetch)
    options = argparse.Namespace(sam="vit_l", weights=tmp_path, yes=False)
    monkeypatch.setattr(sam_options, "confirm", lambda _: False)
    with pytest.raises(UserError, match="download was declined"):
        sam_options.weights_path(options)
    monkeypatch.setattr(sam_options, "confirm", lambda _: True)
    assert sam_options.weights_path(options) == tmp_path / "sam_vit_l_0b3195.pth"
    (tmp_path / "sam_vit_l_0b3195.pth").write_bytes(b"")
    sam_options.weights_path(options)
    assert asked == [("sam_vit_l_0b3195.pth", tmp_path)]
    assert weights.weights_folder().is_absolute()


KILLED = """
import os, pathlib, signal, sys
import saga_backend.cli.main

replace, done = pathlib.Path.replace, []

def dying(source, target):
    done.append(target)
    if len(done) == 3:  # its third file is complete, but has not got its name yet
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(source, target)

pathlib.Path.replace = dying
sys.exit(saga_backend.cli.main.main(sys.argv[1:]))
"""


def test_a_killed_run_goes_on_without_doing_anything_twice(scene, tmp_path, capsys):
    out = tmp_path / "m"
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "backend"), str(ROOT)])}
    killed = subprocess.run([sys.executable, "-c", KILLED, *command(scene, out)], env=env, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    assert len(kept) == 2 and len(list(out.iterdir())) == 3  # and what it was writing
    assert main(command(scene, out)) == 0
    assert "2 of them from an earlier run" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert main(command(scene, tmp_path / "clean")) == 0
    assert {p.name: p.read_bytes() for p in out.glob("*.npz")} == files_of(tmp_path / "clean")


# --- photos ---------------------------------------------------------------------------------------------------------


def photo_frame(rng: np.random.Generator, path: Path, size: tuple[int, int] = (64, 64)) -> Frame:
    return Frame(random_view(rng).resized(*size), path.name, path)


def test_photos_are_known_by_their_content(rng, tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(shapes(rng)[0]).save(tmp_path / name)
    frames = [photo_frame(rng, tmp_path / name) for name in ("a.png", "b.png")]
    sam, settings = open_sam(tiny_sam()), SamSettings(**OPEN)
    pictures, cache = Pictures(CLOUD, CPU, 64), MaskCache(tmp_path / "m")

    def run() -> tuple[int, int]:
        tasks = tasks_of(frames, pictures, settings, sam.sha256)
        done = extract(tasks, cache, Local(sam, settings), pictures, Control())
        return done.reused, done.found

    assert run() == (0, 2) and run() == (2, 0)
    Image.fromarray(shapes(rng)[0]).save(tmp_path / "b.png")
    assert run() == (1, 1)
    wanted = SamGenerator(sam, settings).masks(np.asarray(Image.open(tmp_path / "b.png")))
    np.testing.assert_array_equal(MaskFolder(tmp_path / "m", frames)[1], wanted.pictures())


def test_photos_that_cannot_be_used(rng, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    pictures = Pictures(CLOUD, CPU, 64)
    with pytest.raises(UserError, match="cannot be read"):
        pictures.of(photo_frame(rng, tmp_path / "a.png"))
    Image.fromarray(shapes(rng)[0]).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="its camera has another aspect ratio"):
        pictures.of(photo_frame(rng, tmp_path / "a.png", (64, 30)))
    with pytest.raises(UserError, match="cannot be read"):
        tasks_of([photo_frame(rng, tmp_path / "gone.png")], pictures, SamSettings(), "model")


@pytest.mark.parametrize("longest", [37, 148, 20])
def test_a_view_is_drawn_for_sam_at_its_size(rng, longest):
    frame = virtual_frames([random_view(rng)])[0]  # 37 x 26
    picture = Pictures(CLOUD, CPU, longest).of(frame)
    assert max(picture.shape[:2]) == longest and frame.fits(picture.shape[1], picture.shape[0])
    wanted = CPU.render(CLOUD, frame.view.resized(picture.shape[1], picture.shape[0])).rgb
    np.testing.assert_allclose(picture, 255 * np.clip(wanted, 0, 1), atol=0.51)

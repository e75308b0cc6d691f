"""Captions of the synthetic scene, the tiny CLIP that is fitted to them, `find` and `evaluate --text`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from blender_saga.gaussians.ply import read_ply, write_ply
from saga_backend.cameras.virtual import CaptureSettings
from saga_backend.cli import evaluate_text, main
from saga_backend.common.progress import Control
from saga_backend.evaluation import captions
from saga_backend.evaluation.synthetic import standard_scene
from saga_backend.evaluation.text_search import judge_way, text_task
from saga_backend.masks.sam import weights
from saga_backend.model import saga_file
from saga_backend.model.scene_model import SceneModel
from saga_backend.segments.segments import from_sets, scale_table
from saga_backend.text import answers
from saga_backend.text.clip_model import open_clip_file
from saga_backend.text.text_index import Target, make_index
from saga_backend.tools import tiny_clip
from saga_backend.tools.tiny_clip import FIRST_SEED, FLOOR, ORDERS, TinySettings, draw_objects, fit_to, save
from tests.backend.serving.test_text_session import ColorClip
from tests.helpers.clicks import CLOUD, TRUTH

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = TinySettings(
    side=32, embed=16, text_width=16, text_layers=1, scenes=1, objects=1, views=1, alone=1, steps=3, batch=4
)


@pytest.fixture
def clip(monkeypatch) -> ColorClip:
    stand_in = ColorClip()
    monkeypatch.setattr(answers, "shared_clip", lambda path, device: stand_in)
    monkeypatch.setattr(answers, "CAPTURE", CaptureSettings(4, 64, 48))
    monkeypatch.setattr(evaluate_text, "open_clip_file", lambda path, device: stand_in)
    return stand_in


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two balls with their labels and names, and a model of their segments."""
    write_ply(tmp_path / "scene.ply", CLOUD)
    cloud = read_ply(tmp_path / "scene.ply").cloud
    segments = from_sets([TRUTH == 0, TRUTH == 1], cloud.means)
    header = saga_file.Header(cloud.fingerprint(), str(tmp_path / "scene.ply"))
    saga_file.save(tmp_path / "scene.saga", SceneModel(segments, scale_table(segments)), header)
    np.save(tmp_path / "labels.npy", TRUTH.astype(np.int32) + 1)
    names = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    (tmp_path / "objects.json").write_text(json.dumps({"objects": names}))
    return tmp_path


# --- captions -------------------------------------------------------------------------------------------------------


def test_colors_are_called_by_the_nearest_name():
    assert captions.color_names(np.array(list(captions.PALETTE.values()))) == list(captions.PALETTE)
    named = captions.color_names(np.array([[0.95, 0.1, 0.1], [0.15, 0.3, 0.9], [0.6, 0.6, 0.62], [0.1, 0.9, 0.9]]))
    assert named == ["red", "blue", "gray", "cyan"]


def test_every_part_of_the_scene_has_a_caption(rng):
    scene = standard_scene(2, 1, int(rng.integers(1000)))
    parts = scene.labels[:, 1]
    found = captions.scene_captions(scene.cloud, parts)
    assert list(found) == list(range(1, 7)) and set(found.values()) <= set(captions.vocabulary())
    assert [text.split()[1] for text in found.values()] == ["box", "sphere", "knob"] * 2
    counts = [np.count_nonzero(parts == part) for part in found]
    assert counts == [2500, 2500, 1250] * 2  # the shapes by the order of the parts
    rgb = 0.5 + 0.28209479177387814 * scene.cloud.sh[:, 0]
    for part, color in enumerate(captions.part_colors(scene.cloud, parts), start=1):
        np.testing.assert_allclose(color, rgb[parts == part].mean(axis=0), atol=1e-5)


def test_what_is_right_and_what_is_absent():
    """Three things by hand: the best candidate of one is right, of one is wrong, one is said not to be there."""
    clip = ColorClip()
    labels = np.repeat([1, 2, 3, 0], 10)
    vectors = clip.encode_texts(["red", "blue", "red"]).astype(np.float32)
    targets = [Target(labels == 1, np.zeros((4, 4, 3), np.uint8)), Target(labels == 3, np.zeros((4, 4, 3), np.uint8))]
    index = make_index("votes", clip.identity, 40, targets, vectors, np.array([0, 1, 0]))
    task = text_task(labels, {1: "red", 2: "blue", 3: "thing"}, ["red", "blue", "thing", "green"], np.ones(40, bool))
    judged = judge_way(index, clip, task)
    right = {entry["text"]: entry["right"] for entry in judged["captions"]}
    assert right == {"red": True, "blue": False, "thing": False}
    assert judged["top1"] == pytest.approx(1 / 3, abs=1e-3) and judged["absent"] == 1 and judged["absent_said"] == 1.0
    unseen = text_task(labels, {1: "red", 2: "blue"}, [], labels != 2)
    assert set(unseen.segments) == {"red"}


# --- the tiny CLIP --------------------------------------------------------------------------------------------------


def test_it_is_fitted_to_pictures_with_their_captions(tmp_path):
    data = draw_objects(QUICK)
    scene = standard_scene(1, 1, FIRST_SEED)
    own = captions.scene_captions(scene.cloud, scene.labels[:, 1])
    first = data.captions[ORDERS.index((0, 1, 2))]
    assert len(first) == len(data.pictures) and FLOOR in first
    words = {word for text in first if text != FLOOR for word in text.replace(" with ", " and ").split(" and ")}
    assert words == set(own.values())
    assert first[-3:] == [own[1], own[2], own[3]]  # drawn alone, at the end
    color = data.pictures[-3][data.pictures[-3].max(axis=2) > 60].mean(axis=0)  # the box, on black
    tint = captions.part_colors(scene.cloud, scene.labels[:, 1])[0]
    assert np.corrcoef(color, tint)[0, 1] > 0.9 or np.ptp(tint) < 0.1
    fitted = fit_to(data, QUICK, Control())
    save(fitted, tmp_path / "tiny.pt")
    loaded = open_clip_file(tmp_path / "tiny.pt")
    assert len(loaded.identity) == 16 and not loaded.model.training
    np.testing.assert_allclose(loaded.encode_texts(["red box"]), fitted.encode_texts(["red box"]), atol=1e-6)
    np.testing.assert_allclose(loaded.encode_pictures(data.pictures), fitted.encode_pictures(data.pictures), atol=1e-6)


def test_without_weights_a_tiny_model_is_fitted_and_goes_through_a_file(monkeypatch):
    monkeypatch.setattr(tiny_clip, "TinySettings", lambda: QUICK)
    loaded = evaluate_text._clip(argparse.Namespace(clip=None, device="cpu"), Control())
    assert loaded.side == QUICK.side and len(loaded.identity) == 16 and not loaded.model.training


# --- commands -------------------------------------------------------------------------------------------------------


def test_find_writes_the_best_one_and_keeps_the_description(folder, clip, capsys):
    out = folder / "found.ply"
    words = ["find", str(folder / "scene.saga"), "blue", "--clip", "any.pt", "--out", str(out), "--json"]
    assert main.main([*words, "--pictures", str(folder / "pictures")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["way"] == "clusters" and said["candidates"][0]["fits"] and not said["candidates"][-1]["fits"]
    found = read_ply(out).cloud
    assert len(found) == said["candidates"][0]["gaussians"] == np.count_nonzero(TRUTH == 1)
    assert found.means[:, 0].min() > 2  # the blue ball stands at x = 3
    assert len(list((folder / "pictures").glob("*.png"))) == len(said["candidates"])
    seen = clip.seen
    assert main.main([*words[:2], "red", *words[3:]]) == 0 and clip.seen == seen


def test_find_says_that_nothing_fits_and_writes_nothing(folder, clip, capsys):
    out = folder / "found.ply"
    assert main.main(["find", str(folder / "scene.saga"), "green", "--clip", "any.pt", "--out", str(out)]) == 2
    assert "Nothing here looks like 'green'" in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "there is no CLIP weights file"), (["--clip", "none.pt"], "No such file"),
        (["--clip", "x.pt", "--scene", "none.ply"], "none.ply"), (["--clip", "x.pt", "--out", "a.png"], "a.png"),
        (["--clip", "x.pt", "--pictures", "none/there"], "none/there"),
    ],
)  # fmt: skip
def test_find_refuses(folder, more, message, capsys):
    assert main.main(["find", str(folder / "scene.saga"), "red", *more]) == 2
    assert message in capsys.readouterr().err


def test_the_official_file_is_downloaded_only_after_a_yes(folder, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(weights, "download", lambda file, *rest: asked.append(file.name) or folder / file.name)
    words = ["find", str(folder / "scene.saga"), "red", "--clip", "ViT-B-16", "--weights", str(folder / "weights")]
    assert main.main(words) == 2
    said = capsys.readouterr().err
    assert "598 MB" in said and "--yes" in said and asked == []
    assert main.main([*words, "--yes"]) == 2  # nothing came: the stand-in for the download writes no file
    assert asked == ["vit_b_16-laion400m_e32-55e67d44.pt"]


def test_evaluate_text_by_the_names_of_labels(folder, clip, capsys):
    words = ["evaluate", str(folder / "scene.ply"), "--labels", str(folder / "labels.npy"), "--text"]
    small = ["--views", "6", "--width", "64", "--height", "48", "--method", "segments", "--clip", "any.pt"]
    assert main.main([*words, *small, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    text = result["text"]
    assert text["top1"] == 1.0 and text["way"] == "clusters" and text["vocabulary"] == 2 and result["rules"] == {}
    assert list(text["ways"]) == ["clusters"] and text["ways"]["clusters"]["captions"][0]["ious"][0] > 0.9
    assert main.main([*words, *small]) == 0
    assert "top-1 1.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--labels", "labels.npy", "--text"], "there is no CLIP weights file"),
        (["--labels", "labels.npy", "--clip", "x.pt"], "--clip applies to --text"),
        (["--labels", "labels.npy", "--text", "--clip", "x.pt", "--curve"], "Leave out"),
        (["--labels", "labels.npy", "--text", "--clip", "x.pt", "--model", "scene.saga"], "x.pt"),
    ],
)
def test_evaluate_text_refuses(folder, monkeypatch, more, message, capsys):
    monkeypatch.chdir(folder)
    assert main.main(["evaluate", "scene.ply", *more]) == 2
    assert message in capsys.readouterr().err


def test_labels_without_names_have_no_captions(folder, clip, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "objects.json").unlink()
    words = ["scene.ply", "--labels", "labels.npy", "--text", "--clip", "x.pt", "--model", "scene.saga"]
    assert main.main(["evaluate", *words, "--views", "2", "--width", "64", "--height", "48"]) == 2
    assert "no names" in capsys.readouterr().err

"""The command line: what it reads, what it refuses, what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.ply import LoadedSplat, read_ply, write_ply
from blender_saga.gaussians.view import View
from saga_backend.cli import files, main
from saga_backend.cli.files import LoggedControl, check_output, read_labels, read_view
from saga_backend.evaluation.synthetic import LabeledScene, standard_scene


def cloud_of(n: int) -> GaussianCloud:
    random = np.random.default_rng(0)
    quats = np.tile([1, 0, 0, 0], (n, 1))
    return GaussianCloud(random.normal(size=(n, 3)), quats, np.full((n, 3), 0.1), np.full(n, 0.9), np.ones((n, 1, 3)))


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


# --- parser ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["train"],
        ["train", "a.ply"],
        ["train", "a.ply", "--out", "x.saga", "--steps", "0"],
        ["train", "a.ply", "--out", "x.saga", "--method", "magic"],
        ["select", "x.saga", "--view", "v.json", "--out", "s.ply"],
        ["select", "x.saga", "--view", "v.json", "--out", "s.ply", "--pixel", "1"],
        ["select", "x.saga", "--view", "v.json", "--out", "s.ply", "--pixel", "1", "2", "--scale", "1.5"],
        ["select", "x.saga", "--view", "v.json", "--out", "s.ply", "--pixel", "1", "2", "--threshold", "nan"],
        ["evaluate", "a.ply", "--views", "0"],
        ["evaluate", "a.ply", "--dropped", "2"],
        ["evaluate", "a.ply", "--dataset", "nvos"],
    ],
)
def test_wrong_words_end_with_exit_code_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and out == "" and "usage:" in err


@pytest.mark.parametrize("command", ["train", "select", "recolor", "evaluate", "render"])
def test_help_explains_every_option(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main.main([command, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    parser = main._parser()._subparsers._group_actions[0].choices[command]
    for action in parser._actions:
        assert action.help, action.option_strings
    if command in ("select", "render"):
        assert '"viewmat"' in text and "degrees" in text


def test_errors_become_one_sentence_and_interruption_130(monkeypatch, capsys):
    words = ["render", "a.ply", "--view", "v.json", "--out", "p.png"]
    for error, code in ((UserError("It broke", "so it is", "Mend it"), 2), (KeyboardInterrupt(), 130)):

        def fail(_options, error=error):
            raise error

        monkeypatch.setattr(main, "_render", fail)
        assert main.main(words) == code
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1
    assert "interrupted" in err
    monkeypatch.setattr(main, "_render", lambda _options: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # a bug stays a bug
        main.main(words)


# --- files ----------------------------------------------------------------------------------------------------------


def labels_of(tmp_path: Path, values: np.ndarray, loaded: LoadedSplat):
    np.save(tmp_path / "labels.npy", values)
    return read_labels(tmp_path / "labels.npy", loaded)


def test_labels_follow_the_rows_that_were_kept(tmp_path):
    kept = np.array([1, 0, 1, 1, 0], bool)
    loaded = LoadedSplat(cloud_of(3), kept)
    assert labels_of(tmp_path, np.arange(5), loaded).values.tolist() == [0, 2, 3]
    two = labels_of(tmp_path, np.stack([np.arange(5), -np.arange(5)], 1).astype(np.int64), loaded)
    assert two.values.tolist() == [[0, 0], [2, 0], [3, 0]] and two.values.dtype == np.int32
    write(tmp_path / "objects.json", {"objects": [{"id": 2, "name": "cup"}]})
    assert labels_of(tmp_path, np.arange(5), loaded).names[0] == {2: "cup"}
    write(tmp_path / "objects.json", ["?"])
    assert labels_of(tmp_path, np.arange(5), loaded).names[0] == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.arange(4), r"shape is \[4\], and the file has 3"),
        (np.ones((3, 3), int), "do not fit"),
        (np.ones(3), "not whole numbers"),
        (np.zeros(3, int), "all of them are 0"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        labels_of(tmp_path, values, LoadedSplat(cloud_of(3)))


def test_labels_are_never_unpickled(tmp_path):
    np.save(tmp_path / "labels.npy", np.array([{"a": 1}] * 3), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        read_labels(tmp_path / "labels.npy", LoadedSplat(cloud_of(3)))
    with pytest.raises(UserError, match="cannot be read"):
        read_labels(tmp_path / "nothing.npy", LoadedSplat(cloud_of(3)))


def test_view_files(tmp_path):
    rasterize = {"eye": [0, 0, -4], "target": [0, 0, 0], "fov": 90, "width": 200, "height": 100}
    view = read_view(write(tmp_path / "v.json", rasterize))
    assert (view.width, view.height) == (200, 100) and view.K[0, 0] == pytest.approx(100)
    point = view.viewmat @ [1, 1, 0, 1]  # y down in the file is down in the picture
    np.testing.assert_allclose(view.K @ point[:3] / point[2], [125, 75, 1], atol=1e-9)
    plain = {"viewmat": view.viewmat.tolist(), "K": view.K.tolist(), "width": 200, "height": 100}
    again = read_view(write(tmp_path / "w.json", plain))
    np.testing.assert_array_equal(again.viewmat, view.viewmat)
    assert not again.orthographic
    assert read_view(write(tmp_path / "o.json", plain | {"orthographic": True})).orthographic


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"width": 10, "height": 10},
        {"width": 10, "height": 10, "eye": [0, 0, 0], "target": [0, 0, 0]},
        {"width": 10, "height": 10, "eye": [0, 0], "target": [0, 0, 1]},
        {"width": 10, "height": 10, "eye": [0, 0, 1], "target": [0, 0, 0], "fov": 180},
        {"width": 0, "height": 10, "eye": [0, 0, 1], "target": [0, 0, 0]},
        {"width": 10, "height": 10, "viewmat": [[1, 2], [3, 4]], "K": [[1]]},
        {"width": "many", "height": 10, "viewmat": np.eye(4).tolist(), "K": np.eye(3).tolist()},
    ],
)
def test_views_that_cannot_be_used(tmp_path, content):
    with pytest.raises(UserError, match="view"):
        read_view(write(tmp_path / "v.json", content))


def test_missing_and_broken_view_files(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_view(tmp_path / "none.json")
    (tmp_path / "v.json").write_text("{")
    with pytest.raises(UserError, match="cannot be used"):
        read_view(tmp_path / "v.json")


def test_outputs_are_checked_before_the_work(tmp_path):
    check_output(tmp_path / "new.saga")
    with pytest.raises(UserError, match="folder does not exist"):
        check_output(tmp_path / "none" / "new.saga")
    with pytest.raises(UserError, match="is a folder"):
        check_output(tmp_path)


def test_progress_goes_to_standard_error_once_a_phase(monkeypatch, capsys):
    monkeypatch.setattr(files, "time", SimpleNamespace(monotonic=lambda: 7.0))  # of a long one there is more
    control = LoggedControl()
    for step in range(50):
        control.progress("training", step, 50)
    control.progress("saving", 0, 1)
    control.end()
    out, err = capsys.readouterr()
    assert out == "" and err == "training ...\nsaving ...\n"
    assert list(control.seconds) == ["training", "saving"]


# --- commands -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two objects of the standard scene, thinned, as a file, with labels, a view, and a trained model."""
    folder = tmp_path_factory.mktemp("cli")
    scene = standard_scene(objects=2, views=6, seed=1)
    some = np.flatnonzero(scene.labels[:, 0])[::3]
    cloud = scene.cloud.take(some)
    thick = GaussianCloud(cloud.means, cloud.quats, 1.7 * cloud.scales, cloud.opacities, cloud.sh)
    scene = LabeledScene(thick, scene.labels[some], scene.views)
    write_ply(folder / "scene.ply", scene.cloud)
    np.save(folder / "labels.npy", scene.labels)
    view = scene.views[0]
    write(
        folder / "view.json",
        {"viewmat": view.viewmat.tolist(), "K": view.K.tolist(), "width": view.width, "height": view.height},
    )
    words = ["train", str(folder / "scene.ply"), "--out", str(folder / "x.saga"), "--device", "cpu"]
    assert main.main([*words, "--steps", "20", "--views", "6", "--width", "160", "--height", "120"]) == 0
    return folder, scene


def click_on(scene, part: int) -> list[str]:
    view: View = scene.views[0]
    middle = scene.cloud.means[scene.labels[:, 1] == part].mean(0)
    p = view.K @ (view.viewmat @ [*middle, 1])[:3]
    return [str(int(p[0] / p[2])), str(int(p[1] / p[2]))]


def select_words(folder: Path, *more: str) -> list[str]:
    words = ["select", str(folder / "x.saga"), "--view", str(folder / "view.json")]
    return [*words, "--out", str(folder / "selected.ply"), *more]


def test_train_then_select(small, capsys):
    folder, scene = small
    assert main.main(select_words(folder, "--pixel", *click_on(scene, 2), "--scale", "0.5")) == 0
    out = capsys.readouterr().out
    selected = read_ply(folder / "selected.ply").cloud
    assert f"{len(selected)} of {len(scene.cloud)} Gaussians" in out and "scale 0.50" in out
    assert 0 < len(selected) < len(scene.cloud)
    scene_rows = {tuple(row) for row in scene.cloud.means.tolist()}
    assert all(tuple(row) in scene_rows for row in selected.means.tolist())


def test_select_refuses(small, tmp_path, capsys):
    folder, scene = small
    (folder / "selected.ply").unlink(missing_ok=True)
    write_ply(tmp_path / "other.ply", scene.cloud.take(np.arange(100)))
    cases = [
        (["--pixel", "999", "5"], "outside the view"),
        (["--pixel", "-1", "5"], "outside the view"),
        (["--pixel", "2", "2"], "Nothing was selected"),  # the empty sky
        (["--pixel", *click_on(scene, 2), "--scene", str(tmp_path / "other.ply")], "another"),
        (["--pixel", *click_on(scene, 2), "--scene", str(tmp_path / "none.ply")], "cannot be read"),
    ]
    for more, message in cases:
        assert main.main(select_words(folder, *more)) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err.splitlines()[-1], err
    assert not (folder / "selected.ply").exists()
    words = select_words(folder, "--pixel", "5", "5")
    words[1] = str(folder / "scene.ply")  # not a model
    assert main.main(words) == 2


def test_evaluate_prints_one_line_of_json_with_the_keys_of_the_design(small, capsys):
    folder, _ = small
    words = ["evaluate", str(folder / "scene.ply"), "--labels", str(folder / "labels.npy"), "--json", "--clicks", "1"]
    size = ["--views", "4", "--width", "160", "--height", "120", "--model", str(folder / "x.saga")]
    assert main.main([*words, *size]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    result = json.loads(out)
    assert set(result) == {"rules", "seconds", "peak_mb", "settings"}
    assert set(result["rules"]) == {"default", "reference"} and result["seconds"]["total"] > 0
    for levels in result["rules"].values():
        assert set(levels) == {"objects", "parts"}
        for scores in levels.values():
            keys = {"miou_3d", "miou_3d_all", "miou_2d", "macc_2d", "clicks_to_85", "clicks_to_90", "per_object"}
            assert set(scores) == keys
    assert len(result["rules"]["default"]["objects"]["per_object"]) == 2


def test_evaluate_synthetic_trains_on_simulated_masks(capsys):
    words = ["evaluate", "--synthetic", "--objects", "1", "--views", "3", "--steps", "3", "--clicks", "1"]
    assert main.main([*words, "--device", "cpu"]) == 0
    table = capsys.readouterr().out
    assert "reference" in table and "MEAN" in table


def test_evaluate_refuses(small, tmp_path, capsys):
    folder, _ = small
    np.save(tmp_path / "labels.npy", np.ones(7, int))
    for words, message in (
        ([], "needed"),
        ([str(folder / "scene.ply")], "needed"),
        (["--synthetic", str(folder / "scene.ply")], "makes its own scene"),
        ([str(folder / "scene.ply"), "--labels", str(tmp_path / "labels.npy")], "do not fit"),
        ([str(tmp_path / "no.ply"), "--labels", str(tmp_path / "labels.npy")], "cannot be read"),
    ):
        assert main.main(["evaluate", *words]) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err.splitlines()[-1]


def test_render_writes_a_picture(small, tmp_path):
    from PIL import Image

    folder, _ = small
    words = ["render", str(folder / "scene.ply"), "--view", str(folder / "view.json"), "--out"]
    assert main.main([*words, str(tmp_path / "a.png")]) == 0
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    assert picture.shape == (360, 480, 3) and picture.std() > 10
    assert main.main([*words, str(tmp_path / "a.what")]) == 2


def test_a_mask_in_a_view_selects_its_clusters(tmp_path, capsys):
    """Train Click-Gaussian, draw the mask of a part, ask for it."""
    from PIL import Image

    from saga_backend.evaluation.simulated import label_maps
    from saga_backend.rasterizer.cpu import all_pixels, contributions

    scene = standard_scene(objects=2, views=8, seed=0)
    write_ply(tmp_path / "scene.ply", scene.cloud)
    np.save(tmp_path / "labels.npy", scene.labels)
    view = scene.views[0]
    facts = {"viewmat": view.viewmat.tolist(), "K": view.K.tolist(), "width": view.width, "height": view.height}
    write(tmp_path / "view.json", facts)
    train = ["train", str(tmp_path / "scene.ply"), "--out", str(tmp_path / "x.saga"), "--method", "click-gaussian"]
    masks = ["--labels", str(tmp_path / "labels.npy"), "--masks", "simulated", "--views", "8", "--dropped", "0"]
    assert main.main([*train, *masks, "--merged", "0", "--split", "0", "--width", "160", "--height", "120"]) == 0
    rows = contributions(scene.cloud, view, all_pixels(view))
    maps = label_maps(rows, scene.labels, view.height, view.width)
    for level, scale in ((0, "1"), (1, "0")):
        label = np.bincount(maps[level][maps[level] > 0]).argmax()
        Image.fromarray((255 * (maps[level] == label)).astype(np.uint8)).save(tmp_path / "mask.png")
        words = select_words(tmp_path, "--mask", str(tmp_path / "mask.png"), "--scale", scale)
        assert main.main(words) == 0
        found = {tuple(row) for row in read_ply(tmp_path / "selected.ply").cloud.means.tolist()}
        truth = {tuple(row) for row in scene.cloud.means[scene.labels[:, level] == label].astype(np.float32).tolist()}
        assert len(found & truth) > 0.6 * len(found | truth)
    capsys.readouterr()
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "small.png")
    for more in (["--mask", str(tmp_path / "small.png")], ["--mask", str(tmp_path / "none.png")]):
        assert main.main(select_words(tmp_path, *more)) == 2
        assert "mask" in capsys.readouterr().err
    assert main.main(select_words(tmp_path, "--mask", str(tmp_path / "mask.png"), "--negative", "1", "1")) == 2


def test_a_mask_needs_a_model_with_clusters(small, capsys):
    assert main.main(select_words(small[0], "--mask", "mask.png")) == 2
    assert "click-gaussian" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "needs CLIP"),
        (["--clip", "none.pt"], "cannot be read"),
    ],
)
def test_recolor_refuses(small, capsys, more, message):
    folder, scene = small
    words = ["recolor", *select_words(folder, "--pixel", *click_on(scene, 2), "--scale", "0.5")[1:]]
    (folder / "selected.ply").unlink(missing_ok=True)
    assert main.main([*words, "--from", "red box", "--to", "blue box", *more]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1] and not (folder / "selected.ply").exists()


def test_a_shift_of_colors_is_linear_and_changes_nothing_else():
    from blender_saga.gaussians.sh import colors
    from saga_backend.cli.recolor import shift_colors

    cloud, mask = cloud_of(20), np.arange(20) < 5
    shift = np.random.default_rng(1).uniform(-0.2, 0.2, (5, 3)).astype(np.float32)
    eye = np.array([3.0, 1.0, 2.0])
    before = colors(cloud, eye)
    for strength in (0.0, 0.4, 1.0):
        after = shift_colors(cloud, mask, strength * shift)
        np.testing.assert_allclose(colors(after, eye)[mask] - before[mask], strength * shift, atol=1e-5)
        np.testing.assert_array_equal(after.sh[~mask], cloud.sh[~mask])
        np.testing.assert_array_equal(after.means, cloud.means)

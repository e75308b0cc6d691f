"""Benchmarks of other people's: tiny folders of their layouts, made from a splat we know, judged end to end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blender_saga.errors import UserError
from blender_saga.gaussians.ply import write_ply
from saga_backend.cameras.photo import Frame
from saga_backend.cameras.read import read_cameras
from saga_backend.cli import main
from saga_backend.common.progress import Control
from saga_backend.evaluation import benchmark
from saga_backend.evaluation.benchmark import KINDS, PromptSettings, run_benchmark
from saga_backend.masks.mask_picture import read_mask
from tests.helpers.photo_sets import (
    object_masks,
    photograph,
    save_mask,
    shot_of,
    small_scene,
    write_colmap_binary,
    write_colmap_text,
)

SCENE = small_scene(views=5, width=120)
MASKS = [object_masks(SCENE, view) for view in SCENE.views]
NAMES = {1: "red box", 2: "blue box"}


def write_photos(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, view in zip(names, SCENE.views, strict=True):
        photograph(SCENE, view).save(folder / name)


def shots(names: Sequence[str]):
    return [shot_of(name, view) for name, view in zip(names, SCENE.views, strict=True)]


def make_nvos(root: Path) -> Path:
    """Labels and the undistorted photos of the scene `fern`; the first view is scribbled on, the fourth the target."""
    names = [f"IMG_{4026 + i}.JPG" for i in range(5)]
    labels = root / "labels" / "llff"
    for part, name in (("masks", names[3]), ("reference_image", names[0])):
        (labels / part / "fern").mkdir(parents=True)
        Image.new("RGB", (480, 360)).save(labels / part / "fern" / name)
    save_mask(labels / "masks" / "fern" / "IMG_4029_mask.png", np.kron(MASKS[3][1], np.ones((4, 4), bool)))
    for kind, mask in (("pos", MASKS[0][1]), ("neg", MASKS[0][2])):
        rows, columns = np.nonzero(mask)
        stroke = np.zeros((360, 480), bool)  # at its own size, one pixel thin
        stroke[4 * int(np.median(rows)), 4 * columns.min() + 16 : 4 * columns.max() - 16] = True
        save_mask(labels / "scribbles" / "fern" / f"{kind}_0_fern.png", stroke)
    save_mask(labels / "scribbles" / "fern" / "vis_0_fern.png", stroke)
    write_photos(root / "scenes" / "fern_undistort" / "images", names)
    write_colmap_binary(root / "scenes" / "fern_undistort" / "sparse" / "0", shots(names))
    return root


def make_spin_nerf(root: Path) -> Path:
    """One scene with numbered masks, one of them left out, and its cameras put beside them."""
    names = [f"DSC{i}.png" for i in (11, 12, 13, 14, 15)]
    folder = root / "fern (llff)"
    for index in (0, 1, 3, 4):
        save_mask(folder / f"image{index:03d}.png", MASKS[index][2], inside=1)
        for kind in ("cutout", "pseudo"):
            save_mask(folder / f"image{index:03d}_{kind}.png", ~MASKS[index][2])
    (folder / "annotations.json").write_text("{}")
    write_photos(folder / "images", names)
    write_colmap_text(folder / "sparse" / "0", shots(names))
    return root


def make_lerf_mask(root: Path) -> Path:
    """Two training photos, three test views of which one shows one thing only."""
    names = ["f_00001.jpg", "f_00002.jpg", "f_00003.jpg", "f_00010.jpg", "f_00020.jpg"]
    scene = root / "teatime"
    write_photos(scene / "images", names)
    (scene / "images_train").mkdir()
    for name in (names[1], names[3]):
        (scene / "images_train" / name).write_bytes((scene / "images" / name).read_bytes())
    for number, index in enumerate((0, 2, 4)):
        for label, name in NAMES.items():
            if (number, label) != (0, 2):
                save_mask(scene / "test_mask" / str(number) / f"{name}.png", MASKS[index][label])
    write_colmap_binary(scene / "sparse" / "0", shots(names))
    return root


def make_3d_ovs(root: Path) -> Path:
    """Two annotated photos of five, LLFF's cameras."""
    names = [f"{i:02d}.jpg" for i in range(5)]
    scene = root / "bed"
    write_photos(scene / "images", names)
    for index in (0, 3):
        for label, name in NAMES.items():
            save_mask(scene / "segmentations" / f"{index:02d}" / f"{name}.png", MASKS[index][label])
    (scene / "segmentations" / "classes.txt").write_text("red box \nblue box\n\n")
    poses = []
    for view in SCENE.views:
        pose = np.linalg.inv(view.viewmat)
        right, down, ahead, eye = pose[:3].T
        size = [view.height, view.width, view.K[0, 0]]
        poses.append([*np.stack([down, right, -ahead, eye, size], axis=1).ravel(), 0.1, 9.0])
    np.save(scene / "poses_bounds.npy", np.array(poses))
    return root


MAKERS = {"nvos": make_nvos, "spin-nerf": make_spin_nerf, "lerf-mask": make_lerf_mask, "3d-ovs": make_3d_ovs}


def load(kind: str, root: Path, name: str = "") -> tuple[benchmark.Benchmark, list[Frame]]:
    frames = read_cameras(KINDS[kind].cameras_of(root, name)).frames
    return KINDS[kind].load(root, name, frames), frames


def perfect(place, pixels, positive, scale):
    """Selects the object under the first positive click; at scale 0 only half of it."""
    ids = place.rows_at(pixels[positive][:1]).ids
    label = np.bincount(SCENE.labels[ids, 0]).argmax()
    mask = SCENE.labels[:, 0] == label
    return mask & (np.arange(len(mask)) % 2 == 0) if scale == 0.0 else mask


# --- layouts --------------------------------------------------------------------------------------------------------


def test_nvos_layout(tmp_path):
    made, _ = load("nvos", make_nvos(tmp_path))
    (thing,) = made.objects
    assert made.name == thing.name == "fern" and [f.stem[-1] for f in made.frames] == ["6", "7", "8", "0"]
    assert thing.reference.stem == "IMG_4026" and [t.frame.stem for t in thing.targets] == ["IMG_4029"]
    np.testing.assert_array_equal(thing.targets[0].mask(), MASKS[3][1])
    for stroke, mask in ((thing.positive, MASKS[0][1]), (thing.negative, MASKS[0][2])):
        assert 10 < stroke.sum() < 0.5 * mask.sum() and (stroke & mask).sum() > 0.9 * stroke.sum()


def test_spin_nerf_layout(tmp_path):
    for given, name in ((make_spin_nerf(tmp_path), ""), (tmp_path, "fern"), (tmp_path / "fern (llff)", "")):
        made, _ = load("spin-nerf", given, name)
        (thing,) = made.objects
        assert thing.reference.stem == "DSC11" and made.name == "fern (llff)"
        # Numbers count the photos in the order of their names, also after the mask that is not there.
        assert [t.frame.stem for t in thing.targets] == ["DSC12", "DSC14", "DSC15"]
        np.testing.assert_array_equal(thing.positive, MASKS[0][2])
        np.testing.assert_array_equal(thing.negative, ~MASKS[0][2])
        np.testing.assert_array_equal(thing.targets[1].mask(), MASKS[3][2])


def test_spin_nerf_masks_named_like_photos_or_with_their_split(tmp_path):
    folder = make_spin_nerf(tmp_path) / "fern (llff)"
    for old, new in (("image000", "0_DSC11"), ("image001", "DSC15"), ("image003", "1_DSC13"), ("image004", "DSC14")):
        (folder / f"{old}.png").rename(folder / f"{new}.png")
    made, _ = load("spin-nerf", tmp_path)
    thing = made.objects[0]
    assert thing.reference.stem == "DSC11"
    assert [t.frame.stem for t in thing.targets] == ["DSC13", "DSC14", "DSC15"]


def test_lerf_mask_layout(tmp_path):
    made, _ = load("lerf-mask", make_lerf_mask(tmp_path))
    things = {thing.name: thing for thing in made.objects}
    assert [f.stem for f in made.frames] == ["f_00002", "f_00010"] and set(things) == {"red box", "blue box"}
    assert things["red box"].reference.stem == "f_00001"
    assert [t.frame.stem for t in things["red box"].targets] == ["f_00003", "f_00020"]
    assert things["blue box"].reference.stem == "f_00003"  # the first test view with a mask of it
    np.testing.assert_array_equal(things["blue box"].targets[0].mask(), MASKS[4][2])


def test_3d_ovs_layout(tmp_path):
    made, _ = load("3d-ovs", make_3d_ovs(tmp_path))
    assert [thing.name for thing in made.objects] == ["red box", "blue box"]
    thing = made.objects[1]
    assert thing.reference.stem == "00" and [t.frame.stem for t in thing.targets] == ["03"]
    np.testing.assert_array_equal(thing.targets[0].mask(), MASKS[3][2])


def test_masks_with_1_or_255_or_alpha_inside(tmp_path):
    mask = MASKS[0][1]
    for name, inside in (("a", 1), ("b", 255)):
        save_mask(tmp_path / f"{name}.png", mask, inside)
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.png"), mask)
    rgba = np.full((*mask.shape, 4), 255, np.uint8)
    rgba[..., 3] = mask * 255
    Image.fromarray(rgba).save(tmp_path / "c.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "c.png"), mask)
    save_mask(tmp_path / "d.png", mask & False)
    assert not read_mask(tmp_path / "d.png").any()


# --- judging --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_perfect_selector_scores_one_in_every_benchmark(tmp_path, kind):
    made, _ = load(kind, MAKERS[kind](tmp_path))
    rules, picture = run_benchmark(perfect, SCENE.cloud, made, PromptSettings(3, 4), Control())
    for rule in ("default", "reference"):
        scores = rules[rule]["objects"]
        # Drawn by "more than half of the pixel", the truth by "the strongest label": borders differ a little.
        assert scores["miou_2d"] > 0.95 and scores["macc_2d"] > 0.98 and scores["miou_3d"] is None
        for entry, thing in zip(scores["per_object"], made.objects, strict=True):
            assert entry["name"] == thing.name and len(entry["targets"]) == len(thing.targets)
            (click,) = entry["clicks"]
            assert click["positive"] == [True] * 3 + [False] * 4 and click["view"] == thing.reference.name
            for (column, row), sign in zip(click["pixels"], click["positive"], strict=True):
                assert (thing.positive if sign else thing.negative)[row, column]
            assert (click["scale"] is None) == (rule == "default") and click["scale"] != 0.0
    assert picture.shape[1] == 3 * 120 + 8 and picture.dtype == np.uint8


def test_a_mask_is_propagated_in_place_of_points(tmp_path):
    """The propagator gets the whole reference mask, in its view, and nothing is clicked."""
    made, _ = load("lerf-mask", make_lerf_mask(tmp_path))
    asked = []

    def propagate(sight, inside, scale):
        asked.append(inside)
        weights = np.bincount(sight.rows.ids, np.repeat(inside, np.diff(sight.rows.offsets)) * sight.rows.weights)
        label = np.bincount(SCENE.labels[: len(weights), 0], weights).argmax()
        return SCENE.labels[:, 0] == label

    settings = PromptSettings(propagate=propagate)
    rules, picture = run_benchmark(lambda *_: pytest.fail("clicked"), SCENE.cloud, made, settings, Control())
    scores = rules["reference"]["objects"]
    assert scores["miou_2d"] > 0.95 and picture.std() > 10
    assert all(entry["clicks"][0]["pixels"] == [] for entry in scores["per_object"])
    for thing in made.objects:
        assert any(np.array_equal(thing.positive.ravel(), inside) for inside in asked)


def test_scores_are_those_of_the_papers_definitions(tmp_path):
    """IoU = TP / (TP + FP + FN), accuracy = right pixels / all, the mean over target views, then over things."""
    made, _ = load("lerf-mask", make_lerf_mask(tmp_path))
    everything = np.ones(len(SCENE.cloud), bool)
    rules, _ = run_benchmark(lambda *_: everything, SCENE.cloud, made, PromptSettings(), Control())
    means = []
    for entry, label, views in zip(rules["default"]["objects"]["per_object"], (1, 2), ((2, 4), (4,)), strict=True):
        ious = []
        for index, target in zip(views, entry["targets"], strict=True):
            union = np.logical_or(MASKS[index][1], MASKS[index][2])  # the scene is these two things
            true = MASKS[index][label]
            assert target["iou"] == pytest.approx(true.sum() / union.sum(), abs=0.02)
            assert target["acc"] == pytest.approx((union == true).mean(), abs=0.02)
            ious.append(target["iou"])
        assert entry["miou_2d"] == pytest.approx(np.mean(ious), abs=1e-3)
        means.append(entry["miou_2d"])
    assert rules["default"]["objects"]["miou_2d"] == pytest.approx(np.mean(means), abs=1e-3)


def test_targets_without_the_thing_are_not_judged(tmp_path):
    root = make_3d_ovs(tmp_path)
    save_mask(root / "bed" / "segmentations" / "03" / "red box.png", MASKS[0][1] & False)
    made, _ = load("3d-ovs", root)
    rules, _ = run_benchmark(perfect, SCENE.cloud, made, PromptSettings(), Control())
    red, blue = rules["default"]["objects"]["per_object"]
    assert red["miou_2d"] is None and red["targets"] == [] and blue["miou_2d"] > 0.95
    assert rules["default"]["objects"]["miou_2d"] == blue["miou_2d"]
    save_mask(root / "bed" / "segmentations" / "03" / "blue box.png", MASKS[0][1] & False)
    made, _ = load("3d-ovs", root)
    with pytest.raises(UserError, match="the masks of all target views are empty"):
        run_benchmark(perfect, SCENE.cloud, made, PromptSettings(), Control())


# --- what is refused ------------------------------------------------------------------------------------------------


def remove(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            remove(child)
        path.rmdir()
    else:
        path.unlink()


@pytest.mark.parametrize(
    ("kind", "spoil", "message"),
    [
        ("nvos", "labels/llff/scribbles", "no folder scribbles"),
        ("nvos", "labels/llff/scribbles/fern/pos_0_fern.png", r"0 files pos_\*\.png"),
        ("nvos", "labels/llff/masks/fern/IMG_4029_mask.png", r"0 files \*_mask\.png"),
        ("nvos", "labels/llff/reference_image/fern/IMG_4026.JPG", "0 reference images"),
        ("spin-nerf", "fern (llff)", "no scene at all"),
        ("lerf-mask", "teatime/images_train", "no folder images_train"),
        ("lerf-mask", "teatime/test_mask/0", "No camera belongs|mask in one view only"),
        ("lerf-mask", "teatime/test_mask", "no scene at all"),
        ("3d-ovs", "bed/segmentations/classes.txt", "classes .* cannot be read"),
        ("3d-ovs", "bed/segmentations/03/red box.png", "has no mask of red box"),
        ("3d-ovs", "bed/segmentations/03", "no objects to evaluate"),
    ],
)
def test_incomplete_folders_are_refused(tmp_path, kind, spoil, message):
    MAKERS[kind](tmp_path)
    remove(tmp_path / spoil)
    if kind == "lerf-mask" and spoil.endswith("0"):
        remove(tmp_path / "teatime/test_mask/1")
    with pytest.raises(UserError, match=message):
        load(kind, tmp_path)


def test_wrong_names_are_refused(tmp_path):
    make_lerf_mask(tmp_path)
    with pytest.raises(UserError, match=r"no scene ramen .* teatime"):
        load("lerf-mask", tmp_path, "ramen")
    (tmp_path / "ramen" / "test_mask").mkdir(parents=True)
    with pytest.raises(UserError, match="Name one with --name"):
        load("lerf-mask", tmp_path)
    assert load("lerf-mask", tmp_path, "teatime")[0].name == "teatime"
    save_mask(tmp_path / "teatime" / "test_mask" / "7" / "red box.png", MASKS[0][1])
    with pytest.raises(UserError, match="No camera belongs to the test view 7"):
        load("lerf-mask", tmp_path, "teatime")
    for folder in ("gone", "teatime/images"):
        with pytest.raises(UserError):
            load("lerf-mask", tmp_path / folder)


def test_masks_that_do_not_fit_are_refused(tmp_path):
    root = make_3d_ovs(tmp_path)
    save_mask(root / "bed" / "segmentations" / "00" / "red box.png", np.ones((50, 50), bool))
    with pytest.raises(UserError, match="50 x 50 pixels"):
        load("3d-ovs", root)
    (root / "bed" / "segmentations" / "00" / "red box.png").write_bytes(b"?")
    with pytest.raises(UserError, match=r"red box\.png cannot be read"):
        load("3d-ovs", root)


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def splat(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("splat") / "scene.ply"
    write_ply(path, SCENE.cloud)
    return path


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_command_trains_and_judges(tmp_path, splat, kind, capsys):
    root = MAKERS[kind](tmp_path / "set")
    words = ["evaluate", "--dataset", kind, str(root), "--scene", str(splat), "--json", "--steps", "40"]
    words += ["--device", "cpu", "--pictures", str(tmp_path / "pictures"), "--points", "2"]
    assert main.main(words) == 0
    out = capsys.readouterr().out
    result = json.loads(out)
    assert set(result) == {"rules", "seconds", "peak_mb", "settings"} and out.count("\n") == 1
    scores = result["rules"]["reference"]["objects"]
    assert 0.3 < scores["miou_2d"] <= 1 and scores["per_object"][0]["targets"]
    assert result["settings"]["scene"].startswith(f"{kind}, ") and result["settings"]["points"] == 2
    assert result["settings"]["width"] == 120
    (picture,) = (tmp_path / "pictures").iterdir()
    assert np.asarray(Image.open(picture)).std() > 10 and picture.name.startswith(f"{kind}, ")


def test_the_command_propagates_reference_masks(tmp_path, splat, capsys):
    root = make_spin_nerf(tmp_path / "set")
    words = ["evaluate", str(splat), "--dataset", "spin-nerf", str(root), "--json", "--steps", "40", "--device", "cpu"]
    assert main.main([*words, "--method", "click-gaussian", "--prompt", "mask"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["rules"]["reference"]["objects"]["miou_2d"] > 0.3
    assert result["settings"]["prompt"] == "mask" and result["settings"]["points"] is None


def test_the_command_refuses(tmp_path, splat, capsys):
    root = make_spin_nerf(tmp_path)
    for words, message in (
        ([str(splat), "--dataset", "imagenet", str(root)], "no dataset imagenet"),
        (["--dataset", "nvos", str(root)], "needed"),
        ([str(splat), "--dataset", "nvos", str(root)], "no folder scribbles"),
        ([str(splat), "--dataset", "spin-nerf", str(root / "gone")], "the folder does not exist"),
        ([str(splat), "--dataset", "spin-nerf", str(root), "--labels", "l.npy"], "masks of its own"),
        ([str(splat), "--dataset", "spin-nerf", str(root), "--masks", "simulated"], "Simulated masks need labels"),
        ([str(splat), "--dataset", "spin-nerf", str(root), "--curve"], "no curve"),
        (["--synthetic", "--dataset", "spin-nerf", str(root)], "makes its own"),
        ([str(splat), "--dataset", "spin-nerf", str(root), "--prompt", "mask"], "Add --method click-gaussian"),
        ([str(splat), "--dataset", "nvos", str(root), "--prompt", "mask"], "NVOS has scribbles"),
    ):
        assert main.main(["evaluate", *words]) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err.splitlines()[-1], err
    (root / "fern (llff)" / "images" / "DSC13.png").unlink()  # with a gap, image003 would mean another photo
    assert main.main(["evaluate", str(splat), "--dataset", "spin-nerf", str(root)]) == 2
    assert "1 photos are missing" in capsys.readouterr().err
    for child in ("sparse", "images"):
        remove(root / "fern (llff)" / child)
    assert main.main(["evaluate", str(splat), "--dataset", "spin-nerf", str(root)]) == 2
    assert "Give the COLMAP or LLFF folder with --views" in capsys.readouterr().err

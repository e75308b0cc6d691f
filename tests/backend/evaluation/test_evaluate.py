"""`evaluate` and `train` on views and masks from files; the curve, the pictures, the table."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blender_saga.errors import UserError
from blender_saga.gaussians.ply import write_ply
from saga_backend.cli import main
from saga_backend.evaluation import pictures
from saga_backend.evaluation.curve import Snapshots, curve, seconds_to
from saga_backend.evaluation.protocol import ProtocolSettings, Sight, Task, evaluate
from saga_backend.evaluation.report import table
from saga_backend.evaluation.simulated import MaskDamage, SimulatedMasks
from saga_backend.rasterizer.cpu import all_pixels, contributions
from tests.helpers.photo_sets import (
    object_masks,
    photograph,
    save_mask,
    shot_of,
    small_scene,
    write_colmap_text,
    write_transforms,
)

SCENE = small_scene(views=4, width=96)
NAMES = [f"{i:03d}.png" for i in range(4)]
QUICK = ["--device", "cpu", "--steps", "3", "--clicks", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """scene.ply, labels.npy, a COLMAP folder and a transforms.json with photos, masks of both objects as label maps."""
    where = tmp_path_factory.mktemp("photos")
    write_ply(where / "scene.ply", SCENE.cloud)
    np.save(where / "labels.npy", SCENE.labels)
    (where / "colmap" / "images").mkdir(parents=True)
    (where / "json" / "images").mkdir(parents=True)
    for name, view in zip(NAMES, SCENE.views, strict=True):
        photograph(SCENE, view).save(where / "colmap" / "images" / name)
        (where / "json" / "images" / name).write_bytes((where / "colmap" / "images" / name).read_bytes())
        masks = object_masks(SCENE, view)
        save_mask(where / "masks" / name, masks[1] * 1 + masks[2] * 2, inside=1)
    shots = [shot_of(name, view) for name, view in zip(NAMES, SCENE.views, strict=True)]
    write_colmap_text(where / "colmap" / "sparse" / "0", shots)
    write_transforms(where / "json" / "transforms.json", shots)
    return where


def words(folder: Path, *more: str) -> list[str]:
    labels = ["--labels", str(folder / "labels.npy")]
    return ["evaluate", str(folder / "scene.ply"), *labels, "--json", *QUICK, *more]


def result_of(capsys, given: list[str]) -> dict:
    assert main.main(given) == 0
    return json.loads(capsys.readouterr().out)


# --- views and masks from files -------------------------------------------------------------------------------------


def test_both_files_of_the_same_cameras_give_the_same_numbers(folder, capsys):
    masks = ["--masks", str(folder / "masks")]
    one = result_of(capsys, words(folder, "--views", str(folder / "colmap"), *masks))
    other = result_of(capsys, words(folder, "--views", str(folder / "json" / "transforms.json"), *masks))
    assert one["rules"] == other["rules"]
    settings = one["settings"]
    assert (settings["views"], settings["width"], settings["height"]) == (4, 96, 72)
    assert settings["masks"] == str(folder / "masks") and settings["cameras"] == "colmap" and settings["damage"] is None


def test_views_are_resized_and_limited(folder, capsys):
    more = ["--views", str(folder / "colmap"), "--view-limit", "2", "--width", "48", "--masks", "simulated"]
    settings = result_of(capsys, words(folder, *more))["settings"]
    assert (settings["views"], settings["width"], settings["height"]) == (2, 48, 36)


def test_train_takes_the_same_inputs(folder, tmp_path, capsys):
    given = ["train", str(folder / "scene.ply"), "--out", str(tmp_path / "x.saga"), *QUICK[:4]]
    views = ["--views", str(folder / "colmap")]
    assert main.main([*given, *views, "--masks", str(folder / "masks")]) == 0
    out = capsys.readouterr().out
    assert "8 masks in 4 views (" in out and (tmp_path / "x.saga").is_file()
    assert main.main([*given, *views, "--masks", "simulated", "--labels", str(folder / "labels.npy")]) == 0
    assert main.main([*given, "--views", "virtual", "--view-limit", "3", "--width", "64", "--height", "48"]) == 0
    assert "in 3 views, coverage" in capsys.readouterr().out
    assert main.main([*given, *views, "--masks", "simulated"]) == 2
    assert "Simulated masks need labels" in capsys.readouterr().err


def test_masks_for_virtual_views_are_named_by_number(folder, tmp_path, capsys):
    for number in range(2):
        save_mask(tmp_path / f"view_{number:03d}.png", np.eye(48, 64, dtype=int) + 1, inside=1)
    more = ["--views", "3", "--width", "64", "--height", "48", "--masks", str(tmp_path)]
    more += ["--recipe", "paper"]  # the masks show no thing: there are no segments to agree on
    assert result_of(capsys, words(folder, *more))["settings"]["views"] == 3


def test_bad_input_is_one_sentence_and_exit_code_2(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    odd = tmp_path / "odd"
    for name in NAMES:
        save_mask(odd / name, np.ones((50, 50), bool))
    away = tmp_path / "away"
    (away / "images").mkdir(parents=True)
    shots = [shot_of(n, dataclasses.replace(v, viewmat=np.eye(4))) for n, v in zip(NAMES, SCENE.views, strict=True)]
    for shot in shots:
        shot.viewmat = np.diag([1.0, 1, 1, 1]) @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -500], [0, 0, 0, 1]])
        Image.new("L", (96, 72)).save(away / "images" / shot.name)
    write_colmap_text(away, shots)
    np.save(tmp_path / "short.npy", SCENE.labels[:-1])
    views = ["--views", str(folder / "colmap")]
    for more, message in (
        (["--views", str(tmp_path / "gone")], "no such file or folder"),
        (["--views", str(tmp_path / "empty")], "has no cameras"),
        (["--views", str(away)], "No camera sees the splat"),
        ([*views, "--width", "90", "--height", "90"], "another aspect ratio"),
        ([*views, "--masks", "nonsense"], "neither a folder nor one of"),
        ([*views, "--masks", str(tmp_path / "empty")], "fit none of the photos"),
        ([*views, "--masks", str(odd)], "50 x 50 pixels"),
        ([*views, "--dropped", "0.5"], "--dropped applies to simulated masks"),
        ([*views, "--masks", "simulated", "--ragged", "3", "1"], "ragged goes from 3.0 to 1.0"),
        (["--labels", str(tmp_path / "short.npy")], "do not fit the scene"),
        (["--curve", "--model", "x.saga"], "no curve"),
        (["--pictures", str(tmp_path / "gone" / "deep")], "pictures cannot be written"),
        (["--synthetic", *views], "makes its own scene"),
    ):
        assert main.main(words(folder, *more)) == 2, more
        out, err = capsys.readouterr()
        last = err.splitlines()[-1]
        assert out == "" and message in last and last.startswith("saga_backend: "), err


def test_empty_masks_and_views_without_masks_are_told(folder, tmp_path, capsys, caplog):
    for name in NAMES[:3]:
        save_mask(tmp_path / "none" / name, np.zeros((72, 96), bool))
    views = ["--views", str(folder / "colmap")]
    for recipe, message in (("prototypes", "agree on nothing"), ("paper", "no mask covers anything")):
        assert main.main(words(folder, *views, "--masks", str(tmp_path / "none"), "--recipe", recipe)) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "some").mkdir()
    some = words(folder, *views, "--masks", str(tmp_path / "some"))
    for number, told in enumerate(("3 of 4 views have no masks (001.png ...)", "2 of 4 views have no masks (002.png")):
        (tmp_path / "some" / NAMES[number]).write_bytes((folder / "masks" / NAMES[number]).read_bytes())
        caplog.clear()
        with caplog.at_level("WARNING"):
            if not number:  # the masks of one view have none to agree with; the paper's loop takes them as they are
                assert main.main(some) == 2 and "agree on nothing" in capsys.readouterr().err
            assert main.main(some if number else [*some, "--recipe", "paper"]) == 0
        assert told in caplog.text


# --- knobs of simulated masks ---------------------------------------------------------------------------------------


def test_help_names_the_defaults_of_the_standard_scene(capsys):
    with pytest.raises(SystemExit):
        main.main(["evaluate", "--help"])
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    standard = MaskDamage()
    for name in ("dropped", "merged", "split", "smallest"):
        told = re.search(rf"--{name} \w+ [^(]*\(default: ([\d.]+)\)", text)
        assert told and float(told[1]) == getattr(standard, name), name
    assert re.search(r"--ragged LOW HIGH [^(]*\(default: 1 2\)", text) and standard.ragged == (1.0, 2.0)


def test_every_fault_is_a_knob_and_is_recorded(folder, capsys):
    faults = ["--dropped", "0.5", "--merged", "0", "--split", "0.2", "--ragged", "0", "3", "--smallest", "9"]
    synthetic = ["evaluate", "--synthetic", "--objects", "1", "--views", "2", "--width", "64", "--json", *QUICK]
    settings = result_of(capsys, [*synthetic, *faults])["settings"]
    expected = {"smallest": 9, "dropped": 0.5, "merged": 0.0, "split": 0.2, "ragged": [0.0, 3.0]}
    assert settings["damage"] == expected and settings["masks"] == "simulated"
    assert (settings["objects"], settings["views"], settings["width"], settings["seed"]) == (1, 2, 64, 0)


def test_faults_change_the_masks():
    perfect = MaskDamage(smallest=1, dropped=0, merged=0, split=0, ragged=(0, 0))
    whole = SimulatedMasks(SCENE.cloud, SCENE.labels[:, :1], SCENE.views, 0, perfect)[0]
    true = object_masks(SCENE, SCENE.views[0])
    np.testing.assert_array_equal(whole, [true[1], true[2]])
    gone = SimulatedMasks(SCENE.cloud, SCENE.labels, SCENE.views, 0, dataclasses.replace(perfect, dropped=1))
    assert [len(m) for m in gone] == [0] * 4
    halves = SimulatedMasks(SCENE.cloud, SCENE.labels[:, :1], SCENE.views, 0, dataclasses.replace(perfect, split=1))[0]
    assert len(halves) == 4 and (halves.sum(0) == whole.sum(0)).all()


@pytest.mark.parametrize(
    "faults", [{"dropped": -0.1}, {"merged": 1.1}, {"split": np.nan}, {"ragged": (2.0, 1.0)}, {"smallest": 0}]
)
def test_faults_out_of_range_are_refused(faults):
    with pytest.raises(UserError, match="cannot be damaged like that"):
        MaskDamage(**faults)


# --- the curve ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Model:
    """Stands for a trained model: at `share` it selects that share of what it should."""

    steps: int
    share: float = 1.0
    levels: None = None  # it is asked by a slider, not by a switch


def selector_of(model: Model):
    def select(place, pixels, positive, scale):
        level = 0 if scale is None or scale > 0.5 else 1  # None: nothing touched, a thing is meant
        label = SCENE.labels[place.rows_at(pixels[:1]).ids[0], level]
        true = (SCENE.labels[:, level] == label).copy()
        return true & (np.arange(len(true)) % 100 < 100 * model.share)

    return select


@pytest.fixture(scope="module")
def task() -> Task:
    sights = [Sight(view, contributions(SCENE.cloud, view, all_pixels(view))) for view in SCENE.views]
    return Task(SCENE.labels, np.ones(len(SCENE.cloud), bool), sights, ({1: "one"}, {}))


def test_snapshots_are_thinned_evenly_and_the_last_one_stays():
    snapshots = Snapshots(limit=8)
    for step in range(100):
        snapshots.publish(Model(1 + 100 * step))
        assert len(snapshots.kept) <= 8
    snapshots.finish(Model(9999))
    steps = [model.steps for _, model in snapshots.kept]
    assert steps[0] == 1 and steps[-1] == 9999 and len(set(np.diff(steps[:-1]))) == 1
    seconds = [second for second, _ in snapshots.kept]
    assert seconds == sorted(seconds) and seconds[0] >= 0


def test_the_curve_judges_each_snapshot(task):
    kept = [(1.5, Model(1, 0.5)), (3.0, Model(101, 0.95)), (6.004, Model(200, 1.0))]
    points = curve(Snapshots(kept=kept), selector_of, task)
    assert [point[:2] for point in points] == [[1, 1.5], [101, 3.0], [200, 6.0]]
    for point, share in zip(points, (0.5, 0.95, 1.0), strict=True):
        assert point[2] == pytest.approx(share, abs=0.02) and point[3] == pytest.approx(share, abs=0.02)
    assert seconds_to(points) == {"objects": 3.0, "parts": 3.0}
    assert seconds_to(points, 0.99) == {"objects": 6.0, "parts": 6.0} and seconds_to(points[:1])["objects"] is None
    assert seconds_to([[1, 2.0, 0.95, None]]) == {"objects": 2.0, "parts": None}  # labels without parts


@pytest.mark.parametrize(
    ("method", "steps"),
    [
        ([], [0, 1, 2, 3]),  # clicks are answered by segments before the first step
        (["--method", "saga", "--no-snap"], [1, 2, 3]),
        (["--method", "saga", "--recipe", "paper"], [1, 2, 3]),
        (["--method", "segments"], [0]),
    ],
)
def test_the_command_prints_the_curve(folder, capsys, method, steps):
    given = words(folder, "--views", str(folder / "colmap"), "--masks", "simulated", "--curve", *method)
    result = result_of(capsys, given)
    assert [point[0] for point in result["curve"]] == steps and set(result["seconds_to_90"]) == {"objects", "parts"}
    assert all(0 <= value <= 1 for point in result["curve"] for value in point[2:])
    times = [0, *(point[1] for point in result["curve"]), result["seconds"]["total"]]
    assert times == sorted(times) and times[1] > 0
    text = table(result)
    assert "seconds to mIoU 0.90" in text and f"{result['curve'][-1][1]:>10}" in text


def test_the_protocol_without_counting_clicks_and_with_one_rule(task):
    settings = ProtocolSettings(rules=("reference",), clicks=1, cap=0)
    rules = evaluate(selector_of(Model(1)), task, settings)
    assert set(rules) == {"reference"} and rules["reference"]["objects"]["miou_3d"] > 0.95
    assert rules["reference"]["objects"]["clicks_to_85"] is None
    assert " - " in table({"rules": rules, "seconds": {}, "peak_mb": 1})


# --- pictures -------------------------------------------------------------------------------------------------------


def test_paint_and_mark_touch_only_what_they_should():
    rgb = np.full((40, 50, 3), 0.5)
    one, two = np.zeros((2, 40, 50), bool)
    one[5:35, 5:45], two[10:15, 10:15] = True, True
    for masks in ([one, two], [two, one]):
        painted = pictures.paint(rgb, masks)
        own = pictures.paint(rgb, masks)[0, 0]
        assert (painted[~one] == own).all() and len(np.unique(painted.reshape(-1, 3), axis=0)) == 3
        assert (painted[12, 12] != painted[30, 30]).any()  # the smaller one is never hidden
    marked = pictures.mark(rgb, [np.array([20, 10])], [np.array([1.0, 0, 0])])
    assert marked[10, 20].tolist() == [1, 0, 0] and (marked != rgb).any(axis=2).sum() < 80


def test_a_sheet_has_a_row_a_level_and_three_columns(task):
    settings = ProtocolSettings(smallest=5)
    sheet = pictures.scene_sheet(selector_of(Model(1)), task, SCENE.cloud, settings)
    assert sheet.shape == (18 + 2 * 76, 3 * 96 + 8, 3)
    for top in (18, 18 + 76):
        image, truth, result = (sheet[top : top + 72, x : x + 96].astype(int) for x in (0, 100, 200))
        assert np.mean(np.abs(truth - result).max(axis=2) > 8) < 0.02  # a perfect selector: borders only
        assert np.mean(np.abs(truth - image).max(axis=2) > 8) > 0.05
    half = pictures.scene_sheet(selector_of(Model(1, 0.3)), task, SCENE.cloud, settings)
    assert np.mean(np.abs(half - sheet.astype(int)).max(axis=2) > 8) > 0.02
    nothing = dataclasses.replace(task, labels=np.zeros_like(SCENE.labels))
    assert pictures.scene_sheet(selector_of(Model(1)), nothing, SCENE.cloud, settings) is None


def test_the_command_writes_a_picture(folder, tmp_path, capsys):
    given = words(folder, "--views", str(folder / "colmap"), "--masks", "simulated")
    result_of(capsys, [*given, "--pictures", str(tmp_path / "new")])
    picture = np.asarray(Image.open(tmp_path / "new" / f"{folder.name}, scene.png"))
    assert picture.shape == (18 + 2 * 76, 3 * 96 + 8, 3) and picture.std() > 10

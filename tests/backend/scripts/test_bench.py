"""Every row of the benchmarks runs and prints a line that others can read; what is compared says the same."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch

from blender_saga.gaussians.ply import read_ply, write_ply
from tests.paths import ROOT

SCRIPTS = ROOT / "scripts"
KEYS = {"bench", "device", "n", "median_ms", "p90_ms", "peak_mb", "reference_ms", "ratio"}
MODULES = {"bench_queries", "bench_evidence", "bench_training", "bench_files", "bench_masks"}
"""Those of the backend; the others need Blender."""
ALONE = {"training_memory", "mask_memory"}
"""Rows without a reference: a limit is what they are held to."""
N = 2_000


def rows() -> dict[str, tuple[str, str, tuple]]:
    """ROWS of bench.py, read and not imported: it would make the environment."""
    tree = ast.parse((SCRIPTS / "bench.py").read_text(encoding="utf-8"))
    found = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "ROWS"]
    return {
        key.value: (value.elts[0].value, value.elts[1].value, ast.unparse(value.elts[2]))
        for key, value in zip(found[0].keys, found[0].values, strict=True)
    }


@pytest.fixture(autouse=True)
def scripts_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.mark.parametrize("name", [name for name, row in rows().items() if row[0] in MODULES])
def test_a_row_runs_and_is_json(name):
    module, function, _ = rows()[name]
    case = import_module("bench_measure").Case(N, quick=True)
    lines = [json.loads(json.dumps(line.to_dict())) for line in getattr(import_module(module), function)(case)]
    assert lines
    for line in lines:
        assert line.keys() >= KEYS and line["bench"] == name and line["n"] == N and line["device"] == "cpu"
        assert 0 < line["best_ms"] <= line["median_ms"] <= line["p90_ms"] and line["peak_mb"] > 10
    assert name in ALONE or all(line["ratio"] > 0 for line in lines[:1])


def test_the_command_runs_a_row_in_a_process_of_its_own_and_tells_what_fails():
    def bench(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPTS / "bench.py"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    result = bench("selection_bits", "--quick")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["bench"] == "selection_bits"
    result = bench("selection_bits", "--n", "-1")
    failed = json.loads(result.stdout)
    assert result.returncode == 1 and failed["bench"] == "selection_bits" and failed["error"]
    assert bench("nonsense").returncode == 2


def test_the_gpu_s_script_runs_its_tests_and_names_what_it_leaves_out(tmp_path):
    command = [sys.executable, str(SCRIPTS / "gpu.py"), str(tmp_path), "--minutes", "0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads((tmp_path / "gpu.json").read_text())
    assert told["machine"]["processor"] and told["machine"]["note"] and told["rows"] == []
    assert "passed" in told["tests"]["summary"] or "skipped" in told["tests"]["summary"], result.stdout
    assert {left.partition(":")[0].partition(" ")[0] for left in told["left_out"]} >= {"raster", "click", "evidence"}
    assert (tmp_path / "tests.txt").stat().st_size > 0 and result.returncode == told["tests"]["exit_code"]


# --- the references are right: a fast comparison with something wrong would say nothing -----------------------------


def test_the_plain_selection_is_the_model_s(rng):
    references, model = import_module("bench_references"), import_module("saga_backend.methods.saga.model")
    features = rng.standard_normal((500, 32)).astype(np.float32)
    gate = rng.uniform(-1, 1, (2, 32)).astype(np.float32)
    affinity = model.AffinityModel(features, gate, np.linspace(0, 1, 5).astype(np.float32))
    click, scale_gate = features[7] + 0.1 * features[9], affinity.scale_gate(0.4)
    scores = model._best_cosine(features, click[None], scale_gate)
    plain = references.plain_selection(*map(torch.as_tensor, (features, click, scale_gate)), 0.3)
    sure = np.abs(scores - 0.3) > 1e-4
    np.testing.assert_array_equal(np.unpackbits(plain, count=500).astype(bool)[sure], (scores > 0.3)[sure])


def test_the_plain_rasterizer_gives_our_rows():
    references, scene = import_module("bench_references"), import_module("bench_scene").bench_scene(N, 1)
    raster, twins = import_module("saga_backend.rasterizer.cpu"), import_module("tests.helpers.twins")
    pixels = np.array([[240 + i, 180 + j] for j in range(6) for i in range(6)])
    weights, near = references.plain_weights(
        references.plain_projection(scene.cloud, scene.views[0]), torch.as_tensor(pixels)
    )
    assert len(near) and float(weights.sum()) > 1
    ours = twins.dense(raster.contributions(scene.cloud, scene.views[0], pixels), N).sum(axis=1)
    assert np.quantile(np.abs(weights.sum(dim=0).numpy() - ours), 0.9) < 1e-3


def test_the_plain_trainer_takes_the_same_step():
    import_module("bench_references")
    training = import_module("bench_training")
    scene = import_module("bench_scene").bench_scene(N, 1)
    batch = training._batches(scene, *training.seen(scene))[0]
    neighbors, _ = training.nearest(scene.cloud.means, 16)
    random = np.random.default_rng(0)
    start = training.Parameters(
        random.standard_normal((N, 32)).astype(np.float32), random.uniform(-1, 1, (2, 32)).astype(np.float32)
    )
    copy = training.Parameters(start.features.copy(), start.gate.copy())
    plain = training.PlainTrainer(start, neighbors, "cpu").step(batch)
    assert plain == pytest.approx(training.stepper(copy, neighbors, "cpu").step(batch, 1e-3), abs=1e-4)


def test_the_plain_files_hold_the_same(tmp_path):
    files = import_module("bench_files")
    cloud = files._with_sh(300)
    write_ply(tmp_path / "ours.ply", cloud)
    names = [p.name for p in files.PlyData.read(tmp_path / "ours.ply")["vertex"].properties]
    files._plain_write(tmp_path / "plain.ply", cloud, names)
    for other in (files._plain_read(tmp_path / "ours.ply"), read_ply(tmp_path / "plain.ply").cloud):
        for name in ("means", "quats", "scales", "opacities", "sh"):
            np.testing.assert_allclose(getattr(other, name), getattr(cloud, name), rtol=1e-4, atol=1e-5)


def test_scenes_have_the_number_that_was_asked_for_and_are_seen():
    scene = import_module("bench_scene").bench_scene(5_000, 4)
    assert len(scene.cloud) == len(scene.objects) == 5_000 and len(scene.views) == 4
    raster = import_module("saga_backend.rasterizer.cpu")
    shares = [raster.render(scene.cloud, view).alpha.mean() for view in scene.views]
    assert min(shares) > 0.2, shares

"""The `.saga` file: what is written is read; what is broken is told; what was there stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as to_bytes

from blender_saga.errors import UserError
from saga_backend.methods.saga.model import AffinityModel
from saga_backend.model import saga_file
from saga_backend.model.scene_model import SceneModel
from saga_backend.segments.segments import from_sets, scale_table
from tests.helpers.twins import unit

FACTS = {"format": "2", "fingerprint": "f", "source": "", "count": 5, "steps": 3, "settings": "{}"}


def random_model(rng, count: int = 50, sets: int = 6, trained: bool = True) -> SceneModel:
    segments = from_sets(list(rng.random((sets, count)) < 0.3), rng.normal(size=(count, 3)))
    features = unit(rng.normal(size=(count, 32))).astype(np.float32)
    gate, table = rng.normal(size=(2, 32)).astype(np.float32), np.linspace(0, 1, 9, dtype="f4")
    return SceneModel(segments, scale_table(segments), AffinityModel(features, gate, table, 12) if trained else None)


def arrays() -> dict[str, np.ndarray]:
    return {
        "segments.offsets": np.array([0, 2, 2, 5]),
        "segments.ids": np.array([0, 4, 1, 2, 3], np.int32),
        "segments.scales": np.array([0.5, 1, 2], np.float32),
        "segments.standing": np.array([1, 0.5, 3], np.float32),
        "quantiles": np.arange(4, dtype=np.float32),
        "features": np.ones((5, 4), np.float16),
        "gate": np.ones((2, 4), np.float32),
        "affinity.quantiles": np.arange(3, dtype=np.float32),
    }


def written(path: Path, tensors: dict, text: str) -> Path:
    path.write_bytes(to_bytes(tensors, {"saga": text}))
    return path


def refusal(path: Path, fingerprint: str = "") -> str:
    with pytest.raises(UserError) as caught:
        saga_file.load(path, fingerprint)
    assert caught.value.sentence()
    return caught.value.code


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("sets", [0, 1, 6])
def test_round_trip(rng, tmp_path, sets, trained):
    model = random_model(rng, sets=sets, trained=trained)
    saga_file.save(tmp_path / "a.saga", model, saga_file.Header("print", "scene.ply", settings='{"steps": 12}'))
    for fingerprint in ("", "print"):
        read, header = saga_file.load(tmp_path / "a.saga", fingerprint)
        for name in ("offsets", "ids", "scales"):
            np.testing.assert_array_equal(getattr(read.segments, name), getattr(model.segments, name))
        np.testing.assert_array_equal(read.quantiles, model.quantiles)
        assert read.count == read.segments.count == 50 and read.steps == model.steps == (12 if trained else 0)
        assert header == saga_file.Header("print", "scene.ply", 50, model.steps, '{"steps": 12}')
        if trained:
            was, now = model.features(), read.features()
            np.testing.assert_allclose(now.features, was.features, atol=1e-3)  # kept in half precision
            assert now.features.dtype == np.float32
            np.testing.assert_array_equal(now.gate, was.gate)
            np.testing.assert_array_equal(now.quantiles, was.quantiles)
        else:
            assert read.affinity is None
    assert [p.name for p in tmp_path.iterdir()] == ["a.saga"]


def test_a_new_model_replaces_the_old(rng, tmp_path):
    for count in (50, 20):
        saga_file.save(tmp_path / "a.saga", random_model(rng, count), saga_file.Header("print"))
    assert saga_file.load(tmp_path / "a.saga")[0].count == 20


def test_file_made_by_hand_is_read(tmp_path):
    model, header = saga_file.load(written(tmp_path / "a.saga", arrays(), json.dumps(FACTS)), "f")
    assert model.features().features.shape == (5, 4) and header.steps == model.steps == 3
    assert [model.segments.members(k).tolist() for k in range(3)] == [[0, 4], [], [1, 2, 3]]


def test_file_of_the_format_before_asks_for_training(tmp_path):
    """It had features and no segments."""
    old = {name: arrays()[name] for name in ("features", "gate", "quantiles")}
    path = written(tmp_path / "a.saga", old, json.dumps(FACTS | {"format": "1"}))
    with pytest.raises(UserError, match=r"its format is 1, this version reads 2.*Train the scene again"):
        saga_file.load(path)


def test_missing_file(tmp_path):
    assert refusal(tmp_path / "none.saga") == "no_model"
    assert refusal(tmp_path) == "no_model"


def test_model_of_another_cloud(rng, tmp_path):
    saga_file.save(tmp_path / "a.saga", random_model(rng), saga_file.Header("print"))
    assert refusal(tmp_path / "a.saga", "another") == "other_cloud"


def test_truncated_anywhere(rng, tmp_path):
    saga_file.save(tmp_path / "a.saga", random_model(rng), saga_file.Header("print"))
    whole = (tmp_path / "a.saga").read_bytes()
    for length in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1, *rng.integers(len(whole), size=10).tolist()]:
        (tmp_path / "b.saga").write_bytes(whole[:length])
        assert refusal(tmp_path / "b.saga") == "bad_model"


@pytest.mark.parametrize("content", [b"ply\nformat ascii 1.0\n", bytes(1000), b"\xff" * 64, b"\x80\x04\x95"])
def test_other_file(tmp_path, content):
    (tmp_path / "a.saga").write_bytes(content)
    assert refusal(tmp_path / "a.saga") == "bad_model"


def test_safetensors_of_someone_else(tmp_path):
    (tmp_path / "a.saga").write_bytes(to_bytes(arrays()))
    assert refusal(tmp_path / "a.saga") == "bad_model"


@pytest.mark.parametrize("text", ["", "no json", "[]", "1", "null", '"text"', "{}", '{"format": "99"}'])
def test_header_that_is_none(tmp_path, text):
    assert refusal(written(tmp_path / "a.saga", arrays(), text)) == "bad_model"


@pytest.mark.parametrize("name", ["fingerprint", "source", "count", "steps", "settings"])
@pytest.mark.parametrize("value", [None, [1], "absent"])
def test_header_with_a_wrong_or_absent_entry(tmp_path, name, value):
    facts = dict(FACTS)
    if value == "absent":
        del facts[name]
    else:
        facts[name] = value
    assert refusal(written(tmp_path / "a.saga", arrays(), json.dumps(facts))) == "bad_model"


def test_count_of_another_model(tmp_path):
    assert refusal(written(tmp_path / "a.saga", arrays(), json.dumps(FACTS | {"count": 6}))) == "bad_model"


@pytest.mark.parametrize(
    "name", ["features", "gate", "affinity.quantiles", "quantiles", "segments.scales", "segments.standing"]
)
def test_arrays_missing_wrong_or_not_finite(tmp_path, name):
    good = arrays()
    nan, infinite = good[name].copy(), good[name].copy()
    nan.flat[1], infinite.flat[0] = np.nan, -np.inf
    bad = [nan, infinite, good[name].ravel()[:1], good[name][None], np.zeros((0, 4), np.float32)]
    bad += [] if name == "features" else [None]  # without features it is a model of segments alone
    for array in bad:
        tensors = {key: value for key, value in good.items() if key != name}
        if array is not None:
            tensors[name] = np.ascontiguousarray(array)
        assert refusal(written(tmp_path / "a.saga", tensors, json.dumps(FACTS))) == "bad_model"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("offsets", [0, 2, 2]),
        ("offsets", [0, 2, 2, 4]),
        ("offsets", [1, 2, 2, 5]),
        ("offsets", [0, 3, 2, 5]),
        ("offsets", [0, -1, 2, 5]),
        ("offsets", [0, 2, 99, 5]),
        ("offsets", []),
        ("offsets", [0.0, 2.0, 2.0, 5.0]),
        ("offsets", None),
        ("ids", [0, 4, 1, 2, 5]),
        ("ids", [0, -1, 1, 2, 3]),
        ("ids", [0, 1]),
        ("ids", [0.0, 4.0, 1.0, 2.0, 3.0]),
        ("ids", None),
        ("scales", [2.0, 1.0, 0.5]),
        ("scales", [-1.0, 1.0, 2.0]),
    ],
    ids=str,
)
def test_segments_that_cannot_be(tmp_path, name, values):
    """Read unchecked, they would read memory that is not theirs."""
    tensors = arrays()
    was = tensors.pop(f"segments.{name}")
    if values is not None:
        whole = all(isinstance(v, int) for v in values)
        tensors[f"segments.{name}"] = np.array(values, was.dtype if whole or was.dtype == np.float32 else np.float64)
    assert refusal(written(tmp_path / "a.saga", tensors, json.dumps(FACTS))) == "bad_model"


@pytest.mark.parametrize("count", [-1, 0, 3])
def test_count_that_the_segments_do_not_fit(tmp_path, count):
    tensors = {name: array for name, array in arrays().items() if name not in ("features", "gate")}
    assert refusal(written(tmp_path / "a.saga", tensors, json.dumps(FACTS | {"count": count}))) == "bad_model"


def test_negative_count_without_segments(tmp_path):
    none = {"segments.offsets": np.zeros(1, np.int64), "segments.ids": np.zeros(0, np.int32)}
    tensors = none | {
        "segments.scales": np.zeros(0, np.float32),
        "segments.standing": np.zeros(0, np.float32),
        "quantiles": np.arange(4, dtype=np.float32),
    }
    assert refusal(written(tmp_path / "a.saga", tensors, json.dumps(FACTS | {"count": -1}))) == "bad_model"


# --- writing --------------------------------------------------------------------------------------------------------


def save_refused(path: Path, model: SceneModel) -> None:
    with pytest.raises(UserError) as caught:
        saga_file.save(path, model, saga_file.Header("print"))
    assert caught.value.code == "cannot_write"


def test_folder_that_is_not_there_or_is_a_file(rng, tmp_path):
    save_refused(tmp_path / "none" / "a.saga", random_model(rng))
    (tmp_path / "file").write_text("kept")
    save_refused(tmp_path / "file" / "a.saga", random_model(rng))
    assert (tmp_path / "file").read_text() == "kept"


def test_target_that_is_a_folder(rng, tmp_path):
    (tmp_path / "a.saga").mkdir()
    save_refused(tmp_path / "a.saga", random_model(rng))
    assert [p.name for p in tmp_path.iterdir()] == ["a.saga"]


def test_failure_leaves_the_old_file(rng, tmp_path):
    """The name is as long as a file system takes, so that nothing can be written beside it."""
    old = tmp_path / ("a" * 250 + ".saga")
    old.write_bytes(b"old")
    save_refused(old, random_model(rng))
    assert old.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_full_disk_leaves_the_old_file_and_no_rest(rng, tmp_path, monkeypatch):
    saga_file.save(tmp_path / "a.saga", random_model(rng), saga_file.Header("print"))
    before = (tmp_path / "a.saga").read_bytes()

    def half(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    save_refused(tmp_path / "a.saga", random_model(rng))
    assert (tmp_path / "a.saga").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.saga"]

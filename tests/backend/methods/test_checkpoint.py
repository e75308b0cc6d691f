"""A training that was killed goes on where it was: to the last bit the one that was never interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from blender_saga.errors import Cancelled, UserError
from blender_saga.gaussians.view import look_at
from blender_saga.wire.messages import LoadScene, Train, TrainSettings, TrainSources, View
from saga_backend.common.progress import Control
from saga_backend.methods import checkpoint
from saga_backend.methods.checkpoint import Checkpoint, draws_of, fits, go_on_drawing, training_key
from saga_backend.model import saga_file
from saga_backend.serving.session import Session
from saga_backend.training.sources import request_key
from tests.helpers.clicks import CLOUD, SMALL

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 40
WAYS = [("saga", "prototypes"), ("saga", "paper"), ("click-gaussian", "prototypes"), ("click-gaussian", "paper")]


class Killed(BaseException):
    """What ends a training at once, as a signal would: nothing that follows is done."""


class KilledAt(Control):
    """Ends a training at a step of a phase; remembers the steps of the features."""

    def __init__(self, phase: str = "", step: int = 0) -> None:
        super().__init__()
        self.at, self.steps = (phase, step), []

    def emit(self, phase: str, step: int, total: int) -> None:
        self.steps += [step] if phase == "training" else []
        if (phase, step) == self.at:
            raise Killed


@pytest.fixture(autouse=True)
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(checkpoint.EVERY_VARIABLE, "0")


def request_of(path: Path, method: str = "saga", recipe: str = "prototypes", **changes) -> Train:
    return Train("toy", str(path), replace(SMALL, method=method, recipe=recipe, steps=STEPS, **changes))


def train(request: Train, control: Control | None = None) -> tuple[str, ...]:
    session = Session("cpu")
    session.load_scene(LoadScene("toy", CLOUD))
    return session.train(request, control or Control()).notes


def folder_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.unfinished")


@pytest.mark.parametrize(("method", "recipe"), WAYS)
def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path, rng, method, recipe):
    whole, cut = tmp_path / "whole.saga", tmp_path / "cut.saga"
    train(request_of(whole, method, recipe))
    for step in sorted(rng.integers(1, STEPS, 2)):
        with pytest.raises(Killed):
            train(request_of(cut, method, recipe), KilledAt("training", int(step)))
    assert folder_of(cut).is_dir() and not cut.exists()
    control = KilledAt()
    notes = train(request_of(cut, method, recipe), control)
    assert control.steps[0] == step and notes == (f"It was interrupted and went on from step {step} of {STEPS}",)
    assert cut.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.saga", "whole.saga"]


def test_guided_by_clusters_it_goes_on_with_them(tmp_path):
    """Killed after Click-Gaussian has found its clusters, between two looks for them."""
    whole, cut = tmp_path / "whole.saga", tmp_path / "cut.saga"
    request = request_of(whole, "click-gaussian", "paper")
    train(request)
    with pytest.raises(Killed):
        train(replace(request, model_file=str(cut)), KilledAt("training", STEPS - 2))
    kept = load_file(folder_of(cut) / "features.safetensors")
    assert {"clusters.0", "clusters.1"} <= set(kept)
    train(replace(request, model_file=str(cut)))
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("phase", ["rasterizing", "masking views", "starting features"])
def test_killed_before_there_are_features(tmp_path, phase):
    whole, cut = tmp_path / "whole.saga", tmp_path / "cut.saga"
    train(request_of(whole))
    with pytest.raises(Killed):
        train(request_of(cut), KilledAt(phase, 0))
    train(request_of(cut))
    assert cut.read_bytes() == whole.read_bytes()


def test_another_training_does_not_go_on_from_it(tmp_path):
    path = tmp_path / "a.saga"
    with pytest.raises(Killed):
        train(request_of(path), KilledAt("training", 20))
    control = KilledAt()
    assert train(request_of(path, seed=1), control) == ()
    assert control.steps[0] == 0


def test_what_makes_a_training_another_one(tmp_path):
    request = request_of(tmp_path / "a.saga")
    (tmp_path / "masks").mkdir()
    view = View(look_at(np.ones(3), np.zeros(3), np.array([0.0, 0, 1])), np.diag([50.0, 50, 1]), 64, 48)
    files = replace(request, sources=TrainSources(masks="files", masks_folder=str(tmp_path / "masks")))
    others = [
        request, replace(request, scene="other"), replace(request, settings=replace(request.settings, views=3)),
        replace(request, sources=TrainSources(views=(view,))), files,
    ]  # fmt: skip
    keys = [request_key(other) for other in others]
    (tmp_path / "masks" / "one.png").write_bytes(b"1")
    keys.append(request_key(files))
    assert len(set(keys)) == len(keys)
    assert request_key(replace(request, model_file="elsewhere.saga")) == keys[0]


def test_masks_that_are_found_meanwhile_make_no_other_training(tmp_path):
    sources = TrainSources(masks="sam", masks_folder=str(tmp_path))
    before = request_key(Train("toy", "", TrainSettings(), sources))
    (tmp_path / "one.npz").write_bytes(b"1")
    assert request_key(Train("toy", "", TrainSettings(), sources)) == before


def spoil(path: Path, how: str) -> None:
    """Damage a part of a checkpoint; its key stays what it was."""
    state, key = load_file(path), checkpoint_key(path)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
        return
    name = next(iter(state)) if how != "draws" or "draws" not in state else "draws"
    if how == "missing":
        del state[name]
    elif how == "shape":
        state[name] = state[name][:-1]
    elif how == "draws":
        state[name] = np.zeros_like(state[name])
    else:
        state = {k: np.full_like(a, np.nan) if a.dtype.kind == "f" else a for k, a in state.items()}
    save_file(state, path, {"key": key})


def checkpoint_key(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        return file.metadata()["key"]


@pytest.mark.parametrize("how", ["truncated", "missing", "shape", "nan", "draws"])
def test_a_damaged_checkpoint_is_as_none(tmp_path, how):
    whole, cut = tmp_path / "whole.saga", tmp_path / "cut.saga"
    train(request_of(whole))
    with pytest.raises(Killed):
        train(request_of(cut), KilledAt("training", 20))
    spoil(folder_of(cut) / "features.safetensors", how)
    train(request_of(cut))
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("part", ["views", "segments"])
@pytest.mark.parametrize("how", ["truncated", "missing", "shape"])
def test_a_damaged_preparation_is_done_again(tmp_path, part, how):
    whole, cut = tmp_path / "whole.saga", tmp_path / "cut.saga"
    train(request_of(whole))
    with pytest.raises(Killed):
        train(request_of(cut), KilledAt("training", 20))
    spoil(folder_of(cut) / f"{part}.safetensors", how)
    (folder_of(cut) / "features.safetensors").unlink()
    train(request_of(cut))
    assert cut.read_bytes() == whole.read_bytes()


def test_a_cancelled_training_can_be_taken_up_again(tmp_path):
    path = tmp_path / "a.saga"

    class Cancels(KilledAt):
        def emit(self, phase: str, step: int, total: int) -> None:
            super().emit(phase, step, total)
            if (phase, step) == ("training", 10):
                self.cancel()

    with pytest.raises(Cancelled):
        train(request_of(path), Cancels())
    control = KilledAt()
    train(request_of(path), control)
    assert control.steps[0] == 11


def test_a_disk_that_is_full_ends_no_training(tmp_path, monkeypatch):
    whole, path = tmp_path / "whole.saga", tmp_path / "a.saga"
    train(request_of(whole))

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    (note,) = train(request_of(path))
    assert note.startswith("The checkpoint could not be written")
    assert path.read_bytes() == whole.read_bytes()


def test_a_model_that_cannot_be_saved_is_not_lost(tmp_path, monkeypatch):
    """The disk is full at the end: with room again, the training goes on from its last step."""
    path = tmp_path / "a.saga"

    def full(*args: object) -> None:
        raise UserError("The model cannot be saved", code="cannot_write")

    with monkeypatch.context() as patch:
        patch.setattr(saga_file, "save", full)
        train(request_of(path))  # it is in the memory of that backend, which ends now
    control = KilledAt()
    train(request_of(path), control)
    assert control.steps == [] and path.is_file()  # all steps had been done


def test_a_training_that_is_refused_leaves_nothing(tmp_path, monkeypatch):
    from saga_backend.methods.saga.prototypes import PrototypeTrainer

    monkeypatch.setattr(PrototypeTrainer, "step", lambda self, index: float("nan"))
    with pytest.raises(UserError, match="not finite"):
        train(request_of(tmp_path / "a.saga"))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_kept_of_a_short_training(tmp_path, monkeypatch):
    monkeypatch.delenv(checkpoint.EVERY_VARIABLE)
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: 7.0))  # short however busy the machine is
    with pytest.raises(Killed):
        train(request_of(tmp_path / "a.saga"), KilledAt("training", 20))
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_nothing_is_kept():
    nowhere = Checkpoint()
    nowhere.offer("views", dict)
    nowhere.save("features", {})
    assert not nowhere.due() and nowhere.load("views") is None
    nowhere.remove()


def test_random_generators_go_on(rng):
    other = np.random.default_rng(0)
    draws = draws_of(rng)
    expected = rng.random(3)
    go_on_drawing(other, draws)
    np.testing.assert_array_equal(other.random(3), expected)
    assert len(draws) == len(draws_of(other)) == 512


def test_keys_tell_files_apart(tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    before = training_key("a", files=[tmp_path])
    assert before == training_key("a", files=[tmp_path]) != training_key("b", files=[tmp_path])
    (tmp_path / "file").write_bytes(b"12")
    assert training_key("a", files=[tmp_path]) != before


@pytest.mark.parametrize("method", ["saga", "click-gaussian"])
def test_what_a_gpu_trains_goes_on_too(rng, method):
    """The same steps on torch's tensors (here on the CPU): the state is that of the numpy stepper, and goes on."""
    first, again, own, step = (torch_saga if method == "saga" else torch_click)(rng)
    assert fits(first.state(), own.state())  # so either can go on from the other's
    for index in range(3):
        step(first, index)
    state = {key: array.copy() for key, array in first.state().items()}
    again.resume(state)
    own.resume(state)
    for key, array in own.state().items():
        np.testing.assert_array_equal(array, state[key])
    for stepper in (first, again):
        for index in range(3, 6):
            step(stepper, index)
    for key, array in first.state().items():
        np.testing.assert_array_equal(array, again.state()[key])
    assert any(not np.array_equal(first.state()[key], state[key]) for key in state)


def torch_saga(rng):
    from saga_backend.methods.saga.batch import sample, training_view
    from saga_backend.methods.saga.step import Parameters, Stepper
    from saga_backend.methods.saga.torch_step import TorchStepper

    rows, masks, near = toy_rows(rng)
    view = training_view(rows, masks)
    batches = [sample(view, np.linspace(0.1, 2, 9), (8, 2), rng) for _ in range(6)]
    start = rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=(2, 4)).astype(np.float32)

    def step(stepper, index: int) -> None:
        stepper.step(batches[index], 0.01)

    twice = [TorchStepper(Parameters(*start), near, "cpu") for _ in range(2)]
    return *twice, Stepper(Parameters(*(a.copy() for a in start)), near), step


def torch_click(rng):
    from saga_backend.methods.click_gaussian.settings import ClickSettings
    from saga_backend.methods.click_gaussian.step import Stepper
    from saga_backend.methods.click_gaussian.torch_step import TorchStepper

    rows, _, near = toy_rows(rng)
    labels, around = rng.integers(0, 3, (2, len(rows))).astype(np.int32), np.arange(10, dtype=np.int32)
    start, settings = rng.normal(size=(30, 24)).astype(np.float32), ClickSettings()

    def step(stepper, index: int) -> None:
        stepper.step(rows, labels, around, None)

    twice = [TorchStepper(start.copy(), near, settings) for _ in range(2)]
    return *twice, Stepper(start.copy(), near, settings), step


def toy_rows(rng):
    """Rows of 20 pixels over 30 Gaussians, two masks, and everybody's neighbors."""
    from saga_backend.masks.sampled import from_labels
    from saga_backend.rasterizer.contributions import Contributions

    ids = np.concatenate([np.sort(rng.permutation(30)[:3]) for _ in range(20)]).astype(np.int32)
    rows = Contributions(np.arange(0, 61, 3), ids, rng.uniform(0.1, 0.3, 60).astype(np.float32))
    masks = from_labels((np.arange(20) % 2)[:, None].astype(np.int32), np.array([0.5, 1.5]), 1.0)
    near = np.stack([rng.permutation(30)[:4] for _ in range(30)]).astype(np.int32)
    return rows, masks, near

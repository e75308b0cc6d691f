"""Training in a session: what was there stays until there is something better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.errors import Cancelled, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.wire.messages import FetchModel, LoadScene, ObjectPoints, Selection, Train, Unload
from saga_backend.common.progress import Control
from saga_backend.model import saga_file as model_file
from saga_backend.serving.session import Session
from tests.helpers.clicks import CLOUD, SMALL, N, click_at, front, refusal
from tests.helpers.twins import PHASES, CancelsAt

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("phase", PHASES)
def test_cancelled_training_leaves_model_and_file(session, tmp_path, saga_file, phase):
    path = tmp_path / "old.saga"
    path.write_bytes(saga_file.read_bytes())
    before = session.click(click_at(front(0), scores=True))
    with pytest.raises(Cancelled):
        session.train(Train("toy", str(path), replace(SMALL, seed=9)), CancelsAt(phase))
    assert path.read_bytes() == saga_file.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["old.saga"]
    after = session.click(click_at(front(0), scores=True))
    np.testing.assert_array_equal(before.scores, after.scores)


def test_cancelled_after_a_snapshot_goes_back_to_the_former_model(session):
    class Late(Control):
        def emit(self, phase: str, step: int, total: int) -> None:
            if phase == "training" and step == 110:
                during.append(session.click(click_at(front(0), scores=True)))
                self.cancel()

    during: list[Selection] = []
    before = session.click(click_at(front(0), scores=True))
    with pytest.raises(Cancelled):
        session.train(Train("toy", "", replace(SMALL, seed=9, steps=120, pixels=16)), Late())
    assert np.abs(during[0].scores - before.scores).max() > 0
    after = session.click(click_at(front(0), scores=True))
    np.testing.assert_array_equal(before.scores, after.scores)


def test_what_cannot_be_saved_is_kept_in_memory_and_can_be_fetched(session, tmp_path):
    """The folder is gone when the training ends: clicks are answered from what was learned, and it can be saved yet."""
    before = session.click(click_at(front(0), scores=True))
    folder = tmp_path / "folder"
    folder.mkdir()

    class Locks(Control):
        def emit(self, phase: str, step: int, total: int) -> None:
            if phase == "training" and folder.exists():
                folder.rmdir()

    trained = session.train(Train("toy", str(folder / "a.saga"), replace(SMALL, steps=2, seed=4)), Locks())
    assert trained.model_file == "" and trained.unsaved.startswith("The model cannot be saved") and trained.steps == 2
    after = session.click(click_at(front(0), scores=True))
    assert np.abs(before.scores - after.scores).max() > 0
    path = tmp_path / "elsewhere.saga"
    path.write_bytes(session.fetch_model(FetchModel("toy")).data.tobytes())
    again = Session("cpu")
    assert again.load_scene(LoadScene("toy", CLOUD, model_file=str(path))).model_steps == 2
    other = again.click(click_at(front(0), scores=True))
    np.testing.assert_array_equal(other.bits, after.bits)


def test_a_file_that_cannot_be_written_is_said_before_the_training(session, tmp_path):
    class Listens(Control):
        def emit(self, phase: str, step: int, total: int) -> None:
            heard.append(phase)

    heard: list[str] = []
    with pytest.raises(UserError, match="cannot be saved") as caught:
        session.train(Train("toy", str(tmp_path / "none" / "a.saga"), SMALL), Listens())
    assert caught.value.code == "cannot_write" and heard == []


def test_scene_sent_anew_during_training_gets_the_model():
    """The client sends the geometry again when points were moved or deleted; the training that runs is not lost."""
    session = Session("cpu")
    session.load_scene(LoadScene("toy", CLOUD))

    class SendsAgain(Control):
        def emit(self, phase: str, step: int, total: int) -> None:
            if phase == "training" and step == 1:
                session.load_scene(LoadScene("toy", CLOUD))

    session.train(Train("toy", "", replace(SMALL, steps=3)), SendsAgain())
    assert session.click(click_at(front(0))).count > 0


def test_scene_unloaded_during_training_stays_unloaded():
    session = Session("cpu")
    session.load_scene(LoadScene("toy", CLOUD))

    class Unloads(Control):
        def emit(self, phase: str, step: int, total: int) -> None:
            if phase == "training":
                session.unload(Unload("toy"))

    session.train(Train("toy", "", replace(SMALL, steps=3)), Unloads())
    assert refusal(session, click_at(front(0))) == "no_scene"


def test_clicks_during_training_are_answered():
    """Nothing before there are segments; by segments before the first step; by features too from the second one on."""
    session = Session("cpu")
    session.load_scene(LoadScene("toy", CLOUD))
    answers: dict[tuple[str, int, str], str] = {}

    class Clicks(Control):
        def emit(self, phase: str, step: int, total: int) -> None:
            if (phase == "rasterizing" and step == 0) or (phase == "training" and step in (0, 1, 99, 130)):
                for method in ("auto", "segments", "saga"):
                    try:
                        count = session.click(click_at(front(0), method=method)).count
                        answers[phase, step, method] = "selected" if count else "nothing"
                    except UserError as error:
                        answers[phase, step, method] = error.code

    session.train(Train("toy", "", replace(SMALL, steps=131)), Clicks())
    for (phase, step, method), got in answers.items():
        without = phase == "rasterizing" or (step == 0 and method == "saga")
        assert got == ("no_model" if without else "selected"), (phase, step, method)
    assert len(answers) == 15


def test_sent_again_without_a_model_file_keeps_the_model(session):
    assert session.load_scene(LoadScene("toy", CLOUD)).model_steps == SMALL.steps
    assert session.click(click_at(front(0))).count > 0


def test_progress_tells_the_loss_of_every_step():
    """From the first step on a number, before it none; it falls, or nothing would be learned."""
    losses: list[tuple[str, float]] = []

    class Listens(Control):
        def emit(self, phase: str, step: int, total: int) -> None:
            losses.append((phase, self.loss))

    session = Session("cpu")
    session.load_scene(LoadScene("toy", CLOUD))
    session.train(Train("toy", "", replace(SMALL, steps=100)), Listens())
    first = next(i for i, (phase, _) in enumerate(losses) if phase == "training")
    assert all(np.isnan(loss) for _, loss in losses[: first + 1])
    learned = [loss for _, loss in losses[first + 1 :]]
    assert len(learned) == 99 and np.isfinite(learned).all()
    assert np.mean(learned[-10:]) < np.mean(learned[:10])


def test_transparent_scene_cannot_be_trained():
    session = Session("cpu")
    faint = GaussianCloud(CLOUD.means, CLOUD.quats, CLOUD.scales, np.full(N, 0.01), CLOUD.sh)
    session.load_scene(LoadScene("faint", faint))
    with pytest.raises(UserError) as caught:
        session.train(Train("faint", "", SMALL), Control())
    assert caught.value.code == "empty_scene"


def test_file_is_that_of_the_file_module(saga_file):
    model, header = model_file.load(saga_file, "toy")
    assert header.count == N == len(model.features().features) and header.steps == SMALL.steps


@pytest.mark.parametrize("recipe", ["prototypes", "paper"])
def test_a_splat_of_which_nearly_all_was_deleted_is_trained(recipe):
    """The deleted Gaussians, transparent, lie in one place: comparing each with each would take hours."""
    session = Session("cpu")
    ids = np.sort(np.random.default_rng(0).choice(300_000, N, replace=False)).astype(np.int32)
    session.load_scene(LoadScene("toy", CLOUD, ids, 300_000))
    assert session.train(Train("toy", "", replace(SMALL, recipe=recipe, steps=2)), Control()).steps == 2
    answer = session.click(click_at(front(0), ObjectPoints(np.eye(4), ids)))
    assert answer.total == N and 0 < answer.count < N

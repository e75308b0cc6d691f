"""A model as bytes: what arrives on the other machine is what was sent, and bad bytes are refused like bad files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from blender_saga.errors import UserError
from blender_saga.wire.messages import FetchModel, FindText, LoadScene, OpenModel, Train
from saga_backend.cameras.virtual import CaptureSettings
from saga_backend.common.progress import Control
from saga_backend.model import saga_file as model_file
from saga_backend.serving.session import Session
from saga_backend.text import answers
from tests.backend.serving.test_text_session import ColorClip
from tests.helpers.clicks import CLOUD, SMALL, click_at, front

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def clip(monkeypatch: pytest.MonkeyPatch) -> ColorClip:
    stand_in = ColorClip()
    monkeypatch.setattr(answers, "shared_clip", lambda path, device: stand_in)
    monkeypatch.setattr(answers, "CAPTURE", CaptureSettings(8, 64, 48))
    return stand_in


@pytest.fixture
def empty() -> Session:
    """Another machine's session, which has the scene and no model."""
    out = Session("cpu")
    assert out.load_scene(LoadScene("toy", CLOUD)).model_steps == 0
    return out


def test_a_file_that_is_opened_and_fetched_is_the_same_file(saga_file: Path, empty: Session) -> None:
    content = saga_file.read_bytes()
    state = empty.open_model(OpenModel("toy", np.frombuffer(content, np.uint8), "toy.saga"))
    assert (state.count, state.model_steps, state.note) == (len(CLOUD), SMALL.steps, "")
    fetched = empty.fetch_model(FetchModel("toy")).data
    assert fetched.dtype == np.uint8 and fetched.ndim == 1
    mine, yours = load(content), load(fetched.tobytes())
    assert mine.keys() == yours.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], yours[name], err_msg=name)
    assert model_file.unpack(content, "")[1] == model_file.unpack(fetched.tobytes(), "")[1]


def test_clicks_are_answered_as_by_the_file_itself(saga_file: Path, session: Session, empty: Session) -> None:
    empty.open_model(OpenModel("toy", np.frombuffer(saga_file.read_bytes(), np.uint8)))
    for scale in (0.2, 0.8):
        click = click_at(front(0), scale=scale, scores=True)
        one, other = session.click(click), empty.click(click)
        np.testing.assert_array_equal(one.bits, other.bits)
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("method", ["segments", "click-gaussian"])
def test_what_was_trained_without_a_file_can_be_fetched(empty: Session, tmp_path: Path, method: str) -> None:
    settings = replace(SMALL, method=method, steps=20)
    trained = empty.train(Train("toy", "", settings), Control())
    assert trained.model_file == ""
    path = tmp_path / "toy.saga"
    path.write_bytes(empty.fetch_model(FetchModel("toy")).data.tobytes())
    model, header = model_file.load(path, "toy")
    assert header.count == len(CLOUD) and json.loads(header.settings)["method"] == method
    assert (model.levels is not None) == (method == "click-gaussian")


def test_what_texts_found_out_travels(saga_file: Path, empty: Session, clip: ColorClip) -> None:
    empty.open_model(OpenModel("toy", np.frombuffer(saga_file.read_bytes(), np.uint8)))
    ask = FindText("toy", "red", "weights.pt")
    first = empty.find_text(ask, Control())
    assert first.described
    assert not empty.find_text(replace(ask, text="blue"), Control()).described
    seen, other = clip.seen, Session("cpu")
    other.load_scene(LoadScene("toy", CLOUD))
    other.open_model(OpenModel("toy", empty.fetch_model(FetchModel("toy")).data))
    again = other.find_text(ask, Control())
    assert not again.described and clip.seen == seen
    np.testing.assert_array_equal(again.bits, first.bits)


def refused(session: Session, content: bytes | np.ndarray, scene: str = "toy") -> str:
    data = content if isinstance(content, np.ndarray) else np.frombuffer(content, np.uint8)
    with pytest.raises(UserError) as caught:
        session.open_model(OpenModel(scene, data, "toy.saga"))
    assert "toy.saga" in caught.value.sentence() or caught.value.code == "no_scene"
    with pytest.raises(UserError, match="no trained model yet"):
        session.fetch_model(FetchModel("toy"))
    return caught.value.code


@pytest.mark.parametrize("dtype", [np.int8, np.float32, bool])
def test_data_that_is_no_bytes_is_refused(empty: Session, dtype: type) -> None:
    assert refused(empty, np.zeros(100, dtype)) == "bad_model"


def test_bytes_that_are_no_model_are_refused(empty: Session, saga_file: Path) -> None:
    content = saga_file.read_bytes()
    tensors = load(content)
    facts = model_file.unpack(content, "")[1]
    assert refused(empty, np.zeros((2, 50), np.uint8)) == "bad_model"
    for bad in (b"", b"\x08", bytes(1000), content[:-1], content + b"\0", content[: len(content) // 2]):
        assert refused(empty, bad) == "bad_model"
    assert refused(empty, save(tensors)) == "bad_model"
    assert refused(empty, save(tensors, {"saga": "[]"})) == "bad_model"
    assert refused(empty, save(tensors, {"saga": "{"})) == "bad_model"
    assert refused(empty, model_file.pack(tensors, facts | {"format": "99"})) == "bad_model"
    assert refused(empty, model_file.pack(tensors, facts | {"fingerprint": "another"})) == "other_cloud"
    nan = tensors | {"features": np.full_like(tensors["features"], np.nan)}
    assert refused(empty, model_file.pack(nan, facts)) == "bad_model"
    assert refused(empty, content, "unknown") == "no_scene"


def test_the_model_of_a_larger_cloud_is_refused(saga_file: Path) -> None:
    session = Session("cpu")
    session.load_scene(LoadScene("toy", CLOUD.take(np.arange(100))))
    assert refused(session, saga_file.read_bytes()) == "other_cloud"


def test_bytes_that_were_damaged_end_in_no_bug(empty: Session, saga_file: Path, rng: np.random.Generator) -> None:
    """In the header, where structure is; damage among the numbers is another model or is found by its checks."""
    content = np.frombuffer(saga_file.read_bytes(), np.uint8)
    header = 8 + int.from_bytes(content[:8].tobytes(), "little")
    for _ in range(300):
        damaged = content.copy()
        where = rng.integers(0, header, rng.integers(1, 5))
        damaged[where] = rng.integers(0, 256, len(where))
        try:
            empty.open_model(OpenModel("toy", damaged))
        except UserError as error:
            assert error.code in ("bad_model", "other_cloud")


def test_a_model_that_cannot_be_read_leaves_the_one_of_before(session: Session) -> None:
    click = click_at(front(0), scale=0.5)
    before = session.click(click)
    with pytest.raises(UserError):
        session.open_model(OpenModel("toy", np.zeros(10, np.uint8)))
    np.testing.assert_array_equal(session.click(click).bits, before.bits)


def test_while_it_trains_there_is_nothing_to_fetch(session: Session) -> None:
    class Asks(Control):
        codes: set[str] = set()  # noqa: RUF012

        def emit(self, phase: str, step: int, total: int) -> None:
            with pytest.raises(UserError) as caught:
                session.fetch_model(FetchModel("toy"))
            self.codes.add(caught.value.code)

    session.train(Train("toy", "", replace(SMALL, method="segments")), Asks())
    assert Asks.codes == {"busy"}

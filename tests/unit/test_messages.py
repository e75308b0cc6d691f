"""Adding a message touches its class and its handler: shown with a message that only this test knows."""

from __future__ import annotations

import pytest

from blender_saga.client.connection.reply_checks import complaint, request_info
from blender_saga.wire.codec import decode, encode
from blender_saga.wire.messages import (
    MESSAGES,
    Done,
    Lane,
    PathUse,
    Reply,
    Request,
    Train,
    TrainSources,
    all_requests,
)
from tests.helpers import new_message
from tests.helpers.new_message import Measured, MeasureLength


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch) -> None:
    """The new message is known."""
    new_message.add(monkeypatch)


def test_it_travels_and_is_known_by_what_its_class_says(new: None) -> None:
    number, came = decode(encode(7, MeasureLength("scene", "/r.txt")))
    assert number == 7 and type(came) is MeasureLength and (came.scene, came.ruler) == ("scene", "/r.txt")
    assert MeasureLength in all_requests() and MeasureLength.handler == "measure_length" and MeasureLength.lasts
    assert list(came.paths()) == [("/r.txt", PathUse.file)]
    assert complaint(request_info(came), Measured(1.5)) == ""
    assert "was answered with Done" in complaint(request_info(came), Done())


def test_two_messages_of_one_name_are_refused(new: None) -> None:
    with pytest.raises(TypeError, match="already"):
        type("MeasureLength", (Request,), {"reply": Measured})


def test_a_request_without_a_reply_is_refused() -> None:
    with pytest.raises(TypeError, match="reply"):
        type("Unanswered", (Request,), {})
    assert "Unanswered" not in MESSAGES


def test_every_request_says_its_reply_and_its_lane() -> None:
    assert len(all_requests()) > 15
    for kind in all_requests():
        assert issubclass(kind.reply, Reply) and isinstance(kind.lane, Lane)


def test_paths_inside_parts_are_found() -> None:
    sources = TrainSources(cameras="/photos", masks_folder="/masks")
    found = [use for path, use in Train("scene", "/m.saga", sources=sources).paths() if path]
    assert found == [PathUse.saved_model, PathUse.cameras, PathUse.masks_folder]

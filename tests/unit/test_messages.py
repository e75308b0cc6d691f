"""Adding a message touches its class and its handler: shown with a message that only this test knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
    path_field,
)


@pytest.fixture
def new() -> Iterator[tuple[type[Request], type[Reply]]]:
    """A request and its reply, as whoever adds them writes them."""

    @dataclass(frozen=True, eq=False)
    class Measured(Reply):
        length: float

    @dataclass(frozen=True, eq=False)
    class MeasureLength(Request):
        reply = Measured
        lane = Lane.searches

        scene: str
        weights: str = path_field(PathUse.file)

    yield MeasureLength, Measured
    for kind in (MeasureLength, Measured):
        del MESSAGES[kind.__name__]


def test_it_travels_and_is_known_by_what_its_class_says(new: tuple[type[Request], type[Reply]]) -> None:
    request, reply = new
    number, came = decode(encode(7, request("scene", "/w.pt")))  # type: ignore[call-arg]
    assert number == 7 and type(came) is request and (came.scene, came.weights) == ("scene", "/w.pt")
    assert request in all_requests() and request.handler == "measure_length" and request.lasts
    assert list(came.paths()) == [("/w.pt", PathUse.file)]
    assert complaint(request_info(came), reply(1.5)) == ""  # type: ignore[call-arg]
    assert "was answered with Done" in complaint(request_info(came), Done())


def test_two_messages_of_one_name_are_refused(new: tuple[type[Request], type[Reply]]) -> None:
    with pytest.raises(TypeError, match="already"):

        class MeasureLength(Request):
            pass


def test_every_request_says_its_reply_and_its_lane() -> None:
    assert len(all_requests()) > 15
    for kind in all_requests():
        assert issubclass(kind.reply, Reply) and isinstance(kind.lane, Lane)


def test_paths_inside_parts_are_found() -> None:
    sources = TrainSources(cameras="/photos", masks_folder="/masks")
    found = [use for path, use in Train("scene", "/m.saga", sources=sources).paths() if path]
    assert found == [PathUse.saved_model, PathUse.cameras, PathUse.masks_folder]

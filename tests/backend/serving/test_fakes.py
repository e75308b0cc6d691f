"""The stand-ins for the backend answer as the real one does: the same kind of reply, or an error of the same code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.errors import UserError
from blender_saga.wire.messages import (
    Cancel,
    Click,
    Cluster,
    Color,
    FetchModel,
    FindText,
    Hello,
    InstantClick,
    Lane,
    LoadScene,
    LookAhead,
    NameSegments,
    OpenModel,
    Prompt,
    Recolor,
    Request,
    SelectOptions,
    Shutdown,
    Status,
    Train,
    Unload,
    all_requests,
)
from saga_backend.common.progress import Control
from saga_backend.serving.session import Session
from tests.fakes.geometric_session import GeometricSession
from tests.fakes.models import saga_file
from tests.fakes.session import FakeSession
from tests.helpers.clicks import CLOUD, SMALL, VIEW, front

FAKES = (lambda: FakeSession("cpu"), GeometricSession)
CLICK = Click("toy", (Prompt(VIEW, front(0)),), options=SelectOptions(scale=1.0))
INSTANT = InstantClick("toy", CLICK.prompts)
OTHER = np.frombuffer(
    saga_file("another cloud", source="", count=3, steps=3, settings="{}", format="2", levels=0), np.uint8
)
LIFE = [
    CLICK,  # nothing is loaded
    INSTANT,
    Cluster("toy"),
    Color("toy"),
    FetchModel("toy"),
    Train("toy", settings=SMALL),
    OpenModel("toy", OTHER),
    LoadScene("toy", CLOUD, count=len(CLOUD)),
    CLICK,  # nothing is trained
    Cluster("toy"),
    Color("toy"),
    FetchModel("toy"),
    FindText("toy", "red", ""),
    NameSegments("toy", ("red",), ""),
    INSTANT,  # no weights
    LookAhead("toy", VIEW, ""),
    Recolor(CLOUD, "red", "blue", ""),
    OpenModel("toy", OTHER, "toy.saga"),
    Train("toy", settings=replace(SMALL, steps=20)),
    CLICK,
    replace(CLICK, options=SelectOptions(scale=2.0)),
    Cluster("toy"),
    Color("toy"),
    FetchModel("toy"),
    FindText("toy", "red", ""),
    NameSegments("toy", ("red",), ""),
    Status(),
    Unload("toy"),
    CLICK,
    Unload("toy"),
]
"""What a client may ask, in an order in which it may happen, mistakes included."""


def answers(session: object) -> list[str]:
    """The kind of each answer, or the code of the error."""
    found = []
    for request in LIFE:
        handler = getattr(session, request.handler)
        try:
            answer = handler(request, Control()) if request.lasts else handler(request)
        except UserError as error:
            found.append(f"{request.handler}: {error.code}")
        else:
            assert type(answer) is request.reply
            found.append(f"{request.handler}: {type(answer).__name__}")
    return found


@pytest.fixture(scope="module")
def real() -> list[str]:
    return answers(Session("cpu"))


@pytest.mark.parametrize("fake", FAKES, ids=("fake", "geometric"))
def test_a_fake_answers_what_the_real_backend_answers(fake, real: list[str]) -> None:
    assert answers(fake()) == real


@pytest.mark.parametrize("make", (*FAKES, Session), ids=("fake", "geometric", "real"))
def test_every_request_has_a_handler(make) -> None:
    of_the_server = {Hello, Cancel, Shutdown}
    asked: list[type[Request]] = [kind for kind in all_requests() if kind not in of_the_server]
    assert len(asked) > 12 and {kind.lane for kind in asked} == set(Lane)
    session = make()
    assert not [kind.handler for kind in asked if not callable(getattr(session, kind.handler, None))]

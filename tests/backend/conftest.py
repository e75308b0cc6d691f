"""What the backend's tests share: one thread, and a trained session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numba
import pytest

from blender_saga.wire.messages import LoadScene, Train
from saga_backend.common.progress import Control
from saga_backend.serving.session import Session
from tests.helpers.clicks import CLOUD, SMALL, N


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For many small pictures: on a busy machine threads spend their time waiting for each other."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


@pytest.fixture(scope="session")
def saga_file(tmp_path_factory) -> Path:
    """A trained model of the toy scene."""
    session = Session("cpu")
    path = tmp_path_factory.mktemp("session") / "toy.saga"
    session.load_scene(LoadScene("toy", CLOUD))
    trained = session.train(Train("toy", str(path), SMALL), Control())
    assert trained.steps == SMALL.steps and trained.masks > 0 and trained.views > 0 and trained.model_file == str(path)
    assert len(trained.phases) == len(trained.seconds) > 0
    return path


@pytest.fixture
def session(saga_file) -> Session:
    """A session that has the scene and its model."""
    out = Session("cpu")
    state = out.load_scene(LoadScene("toy", CLOUD, model_file=str(saga_file)))
    assert (state.count, state.model_steps, state.note) == (N, SMALL.steps, "")
    return out

"""`.saga` files written before the rooms were renamed still open, and answer clicks as they did then.

`tests/data/format_2_*.saga` and the answers beside them were written by the code of commit 077f29b, on the toy scene.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from blender_saga.wire.messages import LoadScene
from saga_backend.serving.session import Session
from tests.helpers.clicks import CLOUD, click_at, front
from tests.paths import ROOT

FOLDER = ROOT / "tests" / "data"
ANSWERS = json.loads((FOLDER / "format_2_clicks.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("method", ANSWERS)
def test_a_file_of_before_answers_as_before(method: str) -> None:
    session, answers = Session("cpu"), ANSWERS[method]
    path = FOLDER / f"format_2_{method.replace('-', '_')}.saga"
    state = session.load_scene(LoadScene("toy", CLOUD, model_file=str(path)))
    assert (state.model_steps, state.levels, state.note) == (answers["steps"], answers["levels"], "")
    for name, then in answers["clicks"].items():
        ball, scale = name.split()
        now = session.click(click_at(front(int(ball)), scale=float(scale)))
        assert (now.bits.tobytes().hex(), now.count) == (then["bits"], then["count"])
        np.testing.assert_allclose((now.scale, now.size_units), (then["scale"], then["size"]), rtol=1e-6)

"""What tells two views apart."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from blender_saga.gaussians.view import View

MOVED = np.eye(4)
MOVED[2, 3] = 1.0
VIEW = View(np.eye(4), np.diag([40.0, 40, 1]), 64, 48)
OTHERS = {
    "viewmat": MOVED,
    "K": np.diag([41.0, 40, 1]),
    "width": 65,
    "height": 49,
    "orthographic": True,
    "near": 0.02,
}


def test_equal_views_have_one_key() -> None:
    assert VIEW.key == replace(VIEW, viewmat=np.eye(4), K=np.asfortranarray(VIEW.K)).key


@pytest.mark.parametrize("name", [field.name for field in fields(View)])
def test_every_attribute_is_in_the_key(name: str) -> None:
    assert VIEW.key != replace(VIEW, **{name: OTHERS[name]}).key

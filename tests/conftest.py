"""Markers from the folder name, and what a tier needs: `pytest -m unit` and `pytest tests/unit` mean the same."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from tests.seeds import SEED_VARIABLE

# A shared machine can stall any single example, and a test is not the place to measure time.
settings.register_profile("saga", deadline=None)
settings.load_profile("saga")

_TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its tier, the name of its folder; skip the GPU's where there is none."""
    no_gpu = None
    for item in items:
        tier = item.path.relative_to(_TESTS).parts[0]
        item.add_marker(tier)
        if tier == "gpu":
            no_gpu = _reason_against_gpu() if no_gpu is None else no_gpu
            if no_gpu:
                item.add_marker(pytest.mark.skip(reason=no_gpu))


@pytest.fixture
def seed(request) -> int:
    """Of every draw of a test; one that fails shows it, and the variable brings it back.

    Fresh, except where the variable gives it (scripts/test.py: by the commit) or the test is `steady`.
    """
    steady = request.node.get_closest_marker("steady")
    number = 0 if steady else int(os.environ.get(SEED_VARIABLE, secrets.randbits(28)))
    print(f"{SEED_VARIABLE}={number}")
    return number


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """A random source."""
    return np.random.default_rng(seed)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that is stopped may take its time to end by itself, and its last words theirs to be written."""
    for name in ("_STOP_SECONDS", "_DRAIN_SECONDS"):
        monkeypatch.setattr(f"blender_saga.client.connection.process.{name}", 60.0)


def _reason_against_gpu() -> str:
    import torch

    return "" if torch.cuda.is_available() else "torch finds no CUDA device here"

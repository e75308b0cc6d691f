"""The seed of a random test: fresh in each run, shown by a test that fails, and set by a variable to see it again."""

from __future__ import annotations

import os
import secrets

import pytest

SEED_VARIABLE = "BLENDER_SAGA_TEST_SEED"


@pytest.fixture
def seed() -> int:
    """Of every draw of a test."""
    number = int(os.environ.get(SEED_VARIABLE, secrets.randbits(31)))
    print(f"{SEED_VARIABLE}={number}")
    return number

"""Random cases are drawn fresh in each run; the seed is printed and can be fixed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import numba
import numpy as np
import pytest

SEED_VARIABLE = "BLENDER_SAGA_TEST_SEED"


@pytest.fixture
def rng() -> np.random.Generator:
    """A random source. A failing test shows its seed; set the variable to it to see the same case again."""
    seed = int(os.environ.get(SEED_VARIABLE, secrets.randbits(31)))
    print(f"{SEED_VARIABLE}={seed}")
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For many small pictures: on a busy machine threads spend their time waiting for each other."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)

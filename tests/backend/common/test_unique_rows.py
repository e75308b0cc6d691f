"""Different rows of a table, against numpy's own way."""

from __future__ import annotations

import numpy as np
import pytest

from saga_backend.common.unique_rows import unique_rows


@pytest.mark.parametrize("width", [1, 2, 5, 40])
@pytest.mark.parametrize("count", [0, 1, 7, 3000])
def test_same_as_numpy(count: int, width: int, rng: np.random.Generator) -> None:
    values = rng.choice(np.array([0, 1, 255], np.uint8), (max(1, count // 3), width))
    table = values[rng.integers(0, len(values), count)]  # many zeros, also at the ends, where strings are cut
    rows, inverse, counts = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    found = unique_rows(table)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.inverse, inverse.ravel())
    np.testing.assert_array_equal(found.counts, counts)


def test_rows_without_columns() -> None:
    found = unique_rows(np.zeros((4, 0), np.uint8))
    assert found.rows.shape == (1, 0) and list(found.inverse) == [0] * 4 and list(found.counts) == [4]

"""Selections as bits, and how clicks combine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blender_saga.gaussians.selection import SelectMode, combine, pack, unpack

MASKS = st.lists(st.booleans(), max_size=70)


@given(MASKS)
def test_pack_round_trip(values):
    mask = np.array(values, bool)
    bits = pack(mask)
    assert bits.dtype == np.uint8 and len(bits) == (len(values) + 7) // 8
    back = unpack(bits, len(values))
    assert back.dtype == bool
    np.testing.assert_array_equal(back, mask)


def test_bit_order_is_the_wire_format():
    assert pack(np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 1], bool)).tolist() == [0b10000000, 0b01000000]


@pytest.mark.parametrize("n", [7, 17])
def test_wrong_length_is_refused(n):
    with pytest.raises(ValueError, match="bytes of selection"):
        unpack(np.zeros(2, np.uint8), n)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=20))
def test_combine_is_set_algebra(pairs):
    old, new = np.array(pairs, bool).reshape(-1, 2).T
    a, b = set(np.flatnonzero(old)), set(np.flatnonzero(new))
    expected = {"set": b, "add": a | b, "subtract": a - b, "intersect": a & b}
    assert set(expected) == {mode.value for mode in SelectMode}
    for mode, members in expected.items():
        assert set(np.flatnonzero(combine(old, new, mode))) == members


def test_combine_refuses_nonsense():
    with pytest.raises(ValueError):
        combine(np.zeros(2, bool), np.zeros(2, bool), "invert")
    with pytest.raises(ValueError):
        combine(np.zeros(2, bool), np.zeros(3, bool), "add")

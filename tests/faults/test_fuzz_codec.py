"""The codec under fire, in this process: whatever the bytes are, a message or one WireError, and little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from blender_saga.wire import codec
from blender_saga.wire.codec import WireError
from tests.faults.frames import Fuzzer
from tests.faults.honest import every_message

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numbers too large for float32

ROOM = 24
"""Bytes that reading may take for each byte of a frame: the emptiest objects of JSON are the dearest."""


def test_frames_are_messages_or_one_error(case, counts, seed: int) -> None:
    total, messages = counts(reduced=80_000, full=1_000_000), 0
    with case(f"fuzz: {total:,} frames at the codec") as row:
        fuzzer = Fuzzer(seed, every_message(seed))
        for number in range(1, total + 1):
            try:
                message_id, message = codec.decode(fuzzer.frame(number))
            except WireError as error:
                assert 0 <= error.message_id < codec.MAX_ID
                continue
            messages += 1
            assert codec.encode(message_id, message)  # what was read can be said again
        assert 0 < messages < total
        row.lost, row.remark = "nothing", f"{messages:,} were messages after all, seed {seed}"


def test_reading_a_frame_takes_no_more_than_its_size_allows(case, counts, seed: int) -> None:
    total, worst = counts(reduced=3_000, full=50_000), 0.0
    with case(f"fuzz: {total:,} frames at the codec, allocations measured") as row:
        fuzzer = Fuzzer(seed, every_message(seed))
        for number in range(1, total + 1):
            frame = fuzzer.frame(number) if number % 20 else fuzzer.bomb(number)
            tracemalloc.start()
            try:
                codec.decode(frame)
            except WireError:
                pass
            finally:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            worst = max(worst, peak / (len(frame) + 100_000))
        assert worst < ROOM, f"{worst:.1f} bytes for each of the frame"
        row.lost, row.remark = "nothing", f"at most {worst:.1f} bytes for each of the frame, seed {seed}"


def test_the_same_seed_makes_the_same_frames() -> None:
    first, second = (Fuzzer(5, every_message(5)) for _ in range(2))
    assert [first.frame(n) for n in range(1, 200)] == [second.frame(n) for n in range(1, 200)]
    assert np.unique([len(Fuzzer(s, every_message(5)).frame(1)) for s in range(30)]).size > 3

"""Process long arrays in blocks on all cores; numpy releases the GIL while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

_MOST_THREADS = 8  # memory bandwidth limits more threads
_FEW = 3  # too few blocks to start threads


def blocks(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` elements that cover 0..count-1 in order."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def over_blocks(count: int, size: int, work: Callable[[slice], object]) -> None:
    """Call `work` for each block in parallel; `work` must only write to the rows of its block.

    Raises the error of any call.
    """
    parts = list(blocks(count, size))
    threads = min(len(parts), os.cpu_count() or 1, _MOST_THREADS)
    if len(parts) <= _FEW or threads == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, parts):
            pass

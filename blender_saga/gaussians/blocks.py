"""Long arrays in blocks, on all cores: numpy lets other threads run while it works."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

_MOST_THREADS = 8  # memory is the limit beyond
_FEW = 3  # blocks that are not worth a thread


def blocks(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover 0..count-1, in order."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def over_blocks(count: int, size: int, work: Callable[[slice], object]) -> None:
    """Call `work` with each block, several at once; it must write only to its own rows.

    An error in one of them is raised here.
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

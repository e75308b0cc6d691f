"""Sort Gaussians by depth in a background thread. Numpy only."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..scene.splat.draw_data import Block
from .splat_colors import colors

_KNUTH = np.uint32(2654435761)  # spreads successive numbers over all 32 bits


@dataclass(frozen=True, eq=False)
class SortRequest:
    """A request to sort.

    Attributes:
        blocks: one block for each drawn object; the index of a Gaussian counts across all blocks.
        views: [O,4,4] float64, object space to camera (looking along -z) for each object.
        orthographic: whether the view is orthographic.
        density: fraction of the Gaussians to draw, 0 to 1.
        mode: view mode to compute colors for; "" for none.
        tint: inputs of the colors other than the viewpoint, at the time of the request.
    """

    blocks: tuple[Block, ...]
    views: np.ndarray
    orthographic: bool
    density: float
    mode: str
    tint: tuple[object, ...] = ()

    def fits(self, other: SortRequest) -> bool:
        """Whether the answer to another request can be drawn for this one, even if it is outdated."""
        return tuple(map(_geometry, self.blocks)) == tuple(map(_geometry, other.blocks))

    def granted_by(self, other: SortRequest) -> bool:
        """Whether the answer to another request also answers this one."""
        return (
            self.fits(other)
            and (self.density, self.orthographic) == (other.density, other.orthographic)
            and (not self.mode or (self.mode, self.tint) == (other.mode, other.tint))
            and np.array_equal(self.views, other.views)
        )


@dataclass(frozen=True, eq=False)
class Sorted:
    """The answer: `order` [M] int64, farthest first; `colors` [N,3] float32, or None if not requested."""

    request: SortRequest
    order: np.ndarray
    colors: np.ndarray | None

    def thinned(self, density: float) -> Sorted:
        """The answer for a lower density, with the Gaussians that `sort` would choose."""
        if density >= self.request.density:
            return self
        return Sorted(replace(self.request, density=density), _share(self.order, density), self.colors)


def _share(kept: np.ndarray, density: float) -> np.ndarray:
    """The Gaussians of `kept` that a density keeps; a lower density keeps a subset of a higher one."""
    return kept[kept.astype(np.uint32) * _KNUTH < np.uint32(density * 0xFFFFFFFF)]


def _geometry(block: Block) -> int:
    return block.geometry


def sort(request: SortRequest) -> Sorted:
    """Sort now, without the Gaussians behind a perspective camera."""
    pairs = zip(request.blocks, request.views, strict=True)
    depths = [block.means @ view[2, :3].astype(np.float32) + np.float32(view[2, 3]) for block, view in pairs]
    depth = np.concatenate(depths) if depths else np.zeros(0, np.float32)
    kept = np.flatnonzero(depth < 0) if not request.orthographic else np.arange(len(depth))
    if request.density < 1:
        kept = _share(kept, request.density)
    order = kept[_ascending(depth[kept])]
    return Sorted(request, order, _colors(request) if request.mode else None)


def _ascending(depth: np.ndarray) -> np.ndarray:
    """Order of float32 depths: radix sort with 16 bits, finer near the camera."""
    if not len(depth):
        return np.zeros(0, np.int64)
    ranks = np.sign(depth) * np.log1p(np.abs(depth))
    low, high = float(ranks.min()), float(ranks.max())
    keys = ((ranks - low) * (65535.0 / max(high - low, 1e-12))).astype(np.uint16)
    return np.argsort(keys, kind="stable")


def _colors(request: SortRequest) -> np.ndarray:
    pairs = zip(request.blocks, request.views, strict=True)
    parts = [colors(block, request.mode, viewpoint(view, request.orthographic)) for block, view in pairs]
    return np.concatenate(parts) if parts else np.zeros((0, 3), np.float32)


def viewpoint(view: np.ndarray, orthographic: bool) -> np.ndarray:
    """[4] viewpoint in object space: the position of the camera, or (w = 0) the direction of the rays."""
    back = np.linalg.inv(view)
    return np.array([*-back[:3, 2], 0.0]) if orthographic else np.array([*back[:3, 3], 1.0])


class Sorter:
    """A thread that answers the newest request of each viewport."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._requests: dict[object, SortRequest] = {}
        self._answers: dict[object, Sorted] = {}
        self._thread: threading.Thread | None = None
        self._ended, self._news = False, False

    def ask(self, key: object, request: SortRequest) -> None:
        """Queue a request; it replaces an older request with the same key."""
        with self._condition:
            self._requests[key] = request
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="saga-sort", daemon=True)
                self._thread.start()
            self._condition.notify()

    def answer(self, key: object) -> Sorted | None:
        """The newest answer for a key; each answer is returned once."""
        with self._condition:
            return self._answers.pop(key, None)

    def news(self) -> bool:
        """Whether answers have arrived since the last call."""
        with self._condition:
            news, self._news = self._news, False
            return news

    def stop(self) -> None:
        """Stop the thread."""
        with self._condition:
            self._ended = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._requests and not self._ended:
                    self._condition.wait()
                if self._ended:
                    return
                key = next(iter(self._requests))
                request = self._requests.pop(key)
            answer = _attempt(lambda: sort(request))  # noqa: B023 - called at once
            with self._condition:
                if answer is not None:
                    self._answers[key] = answer
                self._news = True
                self._condition.notify_all()


def _attempt(work: Callable[[], Sorted]) -> Sorted | None:
    try:
        return work()
    except Exception:  # a bug: reported, but the window continues without this order
        traceback.print_exc()
        return None

"""Whether an answer is one to what was asked: its kind, its scene, and arrays that fit each other.

The codec holds that every field has its type. A backend of another making, or a broken one, may still send bits of the
wrong length; nothing of such an answer reaches the scene. What only the scene knows (how many points an object has) is
compared there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...wire.messages import (
    Candidates,
    Click,
    Clusters,
    Colors,
    ModelFile,
    Names,
    Recolor,
    Recolored,
    Request,
    Selection,
)

_LARGEST_PICTURE = 4096  # pixels of a thumbnail's side


@dataclass(frozen=True)
class RequestInfo:
    """What is remembered of a request, to know its answer by.

    Attributes:
        kind: of the request.
        scene: its fingerprint, "" for none.
        points: how many points its answer speaks of; -1: that is not known here.
    """

    kind: type[Request]
    scene: str = ""
    points: int = -1


def request_info(message: Request) -> RequestInfo:
    """What to remember of a request."""
    points = -1
    if isinstance(message, Click) and message.objects and all(len(part.ids) for part in message.objects):
        points = sum(len(part.ids) for part in message.objects)
    if isinstance(message, Recolor):
        points = len(message.cloud)
    return RequestInfo(type(message), getattr(message, "scene", ""), points)


def complaint(about: RequestInfo, answer: object) -> str:
    """Why an answer cannot be used, or ""."""
    wanted = about.kind.reply
    if not isinstance(answer, wanted):
        return f"{about.kind.__name__} was answered with {type(answer).__name__}"
    if getattr(answer, "scene", about.scene) != about.scene:
        return "it is about another scene"
    fits = _fits(about, answer)
    return "" if fits else f"the arrays of its {wanted.__name__} do not fit each other"


def _fits(about: RequestInfo, answer: object) -> bool:
    match answer:
        case Selection():
            return _selection_fits(answer, about.points)
        case Clusters():
            return _tree_fits(answer)
        case Candidates():
            return _candidates_fit(answer)
        case Colors():
            return answer.rgb.ndim == 2 and answer.rgb.shape[1] == 3 and answer.rgb.dtype == np.uint8
        case Names():
            return answer.scores.shape == (len(answer.names),)
        case Recolored():
            rows = (about.points, 3)
            return answer.shift.shape == rows and answer.shift.dtype == np.float32 and _finite(answer.shift)
        case ModelFile():
            return answer.data.ndim == 1 and answer.data.dtype == np.uint8
    return True


def _selection_fits(answer: Selection, points: int) -> bool:
    if points >= 0 and answer.total != points:
        return False
    bits, scores = answer.bits, answer.scores
    packed = bits.dtype == np.uint8 and bits.ndim == 1 and len(bits) == -(-answer.total // 8)
    scored = scores.ndim == 1 and len(scores) in (0, answer.total) and scores.dtype.kind == "f"
    return packed and scored and 0 <= answer.count <= answer.total


def _tree_fits(answer: Clusters) -> bool:
    nodes = len(answer.parents) if answer.parents.ndim == 1 else -1
    parallel = (answer.parents, answer.counts, answer.scales, answer.sizes, answer.representatives)
    if answer.labels.ndim != 1 or any(array.shape != (nodes,) for array in parallel):
        return False
    whole = (answer.labels, answer.parents, answer.counts, answer.representatives)
    if any(array.dtype.kind not in "iu" for array in whole) or any(a.dtype.kind == "b" for a in parallel):
        return False
    labels, parents = answer.labels, answer.parents.astype(np.int64)
    above = bool((parents >= -1).all() and (parents < np.arange(nodes)).all())  # a parent stands before its parts
    inside = not len(labels) or -1 <= int(labels.min()) <= int(labels.max()) < nodes
    shown = bool((answer.representatives >= 0).all() and (answer.representatives < max(len(labels), 1)).all())
    return above and inside and shown


def _candidates_fit(answer: Candidates) -> bool:
    count = len(answer.counts) if answer.counts.ndim == 1 else -1
    bits, pictures = answer.bits, answer.thumbnails
    if bits.ndim != 2 or pictures.ndim != 4 or bits.dtype != np.uint8 or pictures.dtype != np.uint8:
        return False
    seen = pictures.shape[3] == 3 and max(pictures.shape[1:3]) <= _LARGEST_PICTURE
    parallel = len(bits) == len(pictures) == count and answer.scores.shape == (count,)
    return seen and parallel and 0 <= answer.matches <= count and answer.counts.dtype.kind in "iu"


def _finite(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all())

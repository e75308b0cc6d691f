"""What a message is: it says its answer and its lane on its class, and is known by its name from then on.

Server, client, stand-ins and documents derive the rest. Whoever adds a message writes its class, a method of the
session that answers it, and its test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field, fields
from enum import Enum
from typing import Any, ClassVar

PROTOCOL_VERSION = 4

MESSAGES: dict[str, type[Request] | type[Reply]] = {}
"""Every message by the name that it has on the wire."""


class Lane(Enum):
    """The thread of the backend that answers a request. The lanes work side by side."""

    at_once = "at once"
    """The thread that reads from the client: no other request has to wait for it."""
    queries = "queries"
    """In the order in which they were sent; a request of another lane passes here too, before it is handed on."""
    training = "training"
    """One at a time, for all clients."""
    searches = "searches"
    """Clusters, texts and colors: seconds to minutes, beside a training."""
    pictures = "pictures"
    """Segment Anything's pictures: seconds each on a CPU."""


class PathUse(Enum):
    """What a path in a message is for."""

    model = "opened as a model"
    saved_model = "written as a model"
    file = "read"
    cameras = "read as cameras"
    masks_folder = "used as a folder of masks"
    written_folder = "written to"


def path_field(use: PathUse) -> Any:
    """A field of a message or part that names a file of the backend's machine; "" names none."""
    return field(default="", metadata={"path": use})


class _Fields:
    """What requests and parts have in common: fields."""

    def paths(self) -> Iterator[tuple[str, PathUse]]:
        """The paths that it names, also those inside its parts, and what each is for."""
        for each in fields(self):  # type: ignore[arg-type]  # its classes are dataclasses
            value = getattr(self, each.name)
            if "path" in each.metadata:
                yield value, each.metadata["path"]
            elif isinstance(value, Part):
                yield from value.paths()


class Request(_Fields):
    """What a client asks of the backend. It gets exactly one final answer: its reply, `Failed` or `Stopped`.

    Attributes:
        reply: what answers it when all is well.
        lane: the thread that works on it.
        lasts: whether its lane's work may last, so that it tells its progress and can be cancelled.
        handler: name of the session's method that answers it: `LoadScene` is answered by `load_scene`. It takes the
            request and, if that lasts, the control by which it tells progress and hears of a cancel.
    """

    reply: ClassVar[type[Reply]]
    lane: ClassVar[Lane] = Lane.queries
    lasts: ClassVar[bool]
    handler: ClassVar[str]

    def __init_subclass__(cls) -> None:
        if not hasattr(cls, "reply"):
            raise TypeError(f"{cls.__name__} does not say its reply")
        cls.lasts = cls.lane not in (Lane.at_once, Lane.queries)
        cls.handler = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        _register(cls)


class Reply:
    """What the backend answers."""

    def __init_subclass__(cls) -> None:
        _register(cls)


class Part(_Fields):
    """What may stand inside a message."""


def _register(kind: type[Request] | type[Reply]) -> None:
    if kind.__name__ in MESSAGES:
        raise TypeError(f"there is a message {kind.__name__} already")
    MESSAGES[kind.__name__] = kind


def all_requests() -> tuple[type[Request], ...]:
    """Every kind of request, in the order of their definitions."""
    return tuple(kind for kind in MESSAGES.values() if issubclass(kind, Request))


def all_replies() -> tuple[type[Reply], ...]:
    """Every kind of answer."""
    return tuple(kind for kind in MESSAGES.values() if issubclass(kind, Reply))

"""Frames that no honest client sends: damaged bytes, lying headers, and requests of the right types with wild values.

All of it follows from one seed. What a field may hold is taken from the annotations of the messages, so that a message
that is added later is tried too.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import struct
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from blender_saga.wire import codec
from blender_saga.wire.codec import DTYPES, WireError
from blender_saga.wire.messages import FetchWeights, Shutdown, Train, all_replies, all_requests

INTS = (0, 1, -1, 2, 3, 7, 100, 65536, 10**6, 2**31 - 1, 2**31, -(2**31), 2**53, 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 0.5, 1.0, -1.0, 2.0, 1e-320, 1e20, 3.5e38, -3.5e38, 1e308, -1e308)
FLOATS += (float("nan"), float("inf"), float("-inf"))
STRINGS = ("", " ", "\x00", "\udcff", "a" * 5000, "日本", "%s%n{}", "toy", "auto", "saga", "segments", "instant", "box")
STRINGS += (
    "lasso",
    "points",
    "click-gaussian",
    "paper",
    "files",
    "sam",
    "clusters",
    "~",
    ".",
    "..",
    "con",
    "C:\\x.saga",
)
PATHS = ("/dev/zero", "/dev/full", "/dev/stdin", "/proc/self/mem", "/etc/passwd", "../../x.saga", "x" * 300 + ".saga")
SHAPES = ((), (0,), (1,), (2,), (3,), (7,), (0, 2), (1, 2), (2, 2), (3, 2), (3, 3), (4, 4), (0, 3), (2, 3, 1), (1,) * 8)
LENGTHS = (0, 1, 4, 100, codec.MAX_HEADER, codec.MAX_HEADER + 1, 2**31 - 1, 2**31, 2**32 - 1)
_FORBIDDEN_KINDS = ("vit_h", "vit_l", "vit_b", "ViT-B-16")  # a fuzzer downloads nothing


@dataclass
class Raw:
    """An array in a header's tree, with the bytes that follow."""

    dtype: str
    shape: list[int]
    content: bytes


def parsed(message_id: int, message: object) -> dict[str, typing.Any]:
    """The header of a message, with its arrays as Raw."""
    frame = codec.encode(message_id, message)
    (length,) = struct.unpack_from("<I", frame)
    header, rest = json.loads(frame[4 : 4 + length]), frame[4 + length :]

    def taken(node: typing.Any) -> typing.Any:
        nonlocal rest
        if isinstance(node, list):
            return [taken(item) for item in node]
        if not isinstance(node, dict):
            return node
        if set(node) != {"dtype", "shape"}:
            return {name: taken(value) for name, value in node.items()}
        size = int(np.prod(node["shape"], dtype=np.int64)) * DTYPES[node["dtype"]].itemsize
        content, rest = rest[:size], rest[size:]
        return Raw(node["dtype"], node["shape"], content)

    return taken(header)


def framed(tree: object) -> bytes:
    """The frame of a header's tree."""
    payload: list[bytes] = []

    def described(node: typing.Any) -> typing.Any:
        if isinstance(node, Raw):
            payload.append(node.content)
            return {"dtype": node.dtype, "shape": node.shape}
        if isinstance(node, dict):
            return {name: described(value) for name, value in node.items()}
        return [described(item) for item in node] if isinstance(node, list) else node

    text = json.dumps(described(tree)).encode("ascii")
    return struct.pack("<I", len(text)) + text + b"".join(payload)


def places(node: typing.Any) -> Iterator[tuple[typing.Any, typing.Any]]:
    """(container, key) of every value below a node: leaves, lists and objects."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield node, key
        yield from places(value)


class Fuzzer:
    """Makes frames. The same seed makes the same ones.

    Args:
        seed: of every draw.
        honest: messages to begin with.
        paths: what a field that is text may name besides PATHS.
    """

    def __init__(self, seed: int, honest: list[object], paths: tuple[str, ...] = ()) -> None:
        self.rng = random.Random(seed)
        self._honest = [(message, parsed(1, message)) for message in honest]
        self._frames = [framed(tree) for _, tree in self._honest]
        self._texts = STRINGS + PATHS + paths

    def frame(self, message_id: int) -> bytes:
        """Any of them; ends no process and downloads nothing."""
        makers: tuple[Callable[[int], bytes], ...] = (self.damaged, self.lying, self.spoilt, self.scratch, self.bomb)
        return self.harmless(self.rng.choices(makers, (4, 3, 5, 2, 0.3))[0], message_id)

    def harmless(self, make: Callable[[int], bytes], message_id: int) -> bytes:
        """What one of the methods below makes, but for what ends a process or downloads something."""
        while harmful(frame := make(message_id)):
            pass
        return frame

    def honest(self, message_id: int, number: int) -> bytes:
        """One of the messages as it is."""
        tree = copy.deepcopy(self._honest[number % len(self._honest)][1])
        tree["id"] = message_id
        return framed(tree)

    # --- right types, wild values ---

    def spoilt(self, message_id: int) -> bytes:
        """An honest request with one to three of its values exchanged for wild ones of the same type."""
        tree = copy.deepcopy(self.rng.choice(self._honest)[1])
        tree["id"] = message_id
        for _ in range(self.rng.randint(1, 3)):
            spots = list(places(tree["fields"]))
            if not spots:
                break
            container, key = self.rng.choice(spots)
            container[key] = self._wilder(container[key])
        return framed(tree)

    def scratch(self, message_id: int) -> bytes:
        """A message of any kind, replies too, every value of it by the annotation and wild."""
        kind = self.rng.choice(all_requests() + all_replies())
        return framed({"id": message_id, "type": kind.__name__, "fields": self._fields(kind)})

    def _fields(self, kind: type) -> dict[str, typing.Any]:
        hints = typing.get_type_hints(kind)
        return {field.name: self._of(hints[field.name]) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]

    def _of(self, kind: typing.Any) -> typing.Any:
        simple = {bool: (False, True), int: INTS, float: FLOATS, str: self._texts}
        if kind in simple:
            return self.rng.choice(simple[kind])
        if kind is np.ndarray:
            return self._array()
        if typing.get_origin(kind) is tuple:
            return [self._of(typing.get_args(kind)[0]) for _ in range(self.rng.choice((0, 0, 1, 2)))]
        return self._fields(kind)

    def _wilder(self, value: typing.Any) -> typing.Any:
        """Another value of the same type."""
        if isinstance(value, Raw):
            return self._array(value)
        if isinstance(value, list):
            return self.rng.choice(([], value * 2, value[:1], value * self.rng.choice((3, 40))))
        if isinstance(value, dict):
            return value
        return self._of(type(value))

    def _array(self, like: Raw | None = None) -> Raw:
        dtype, shape = self.rng.choice(tuple(DTYPES)), list(self.rng.choice(SHAPES))
        if like is not None and self.rng.random() < 0.6:
            shape = like.shape
        if like is not None and self.rng.random() < 0.6:
            dtype = like.dtype
        kind, count = DTYPES[dtype], int(np.prod(shape, dtype=np.int64))
        if kind.kind == "b":
            return Raw(dtype, shape, bytes(self.rng.choices((0, 1), k=count)))
        if self.rng.random() < 0.2:
            return Raw(dtype, shape, self.rng.randbytes(count * kind.itemsize))
        with np.errstate(all="ignore"):
            values = FLOATS if kind.kind == "f" else INTS
            drawn = np.array(self.rng.choices(values, k=min(count, 64)), np.float64 if kind.kind == "f" else object)
            if like is not None and like.dtype == dtype and like.shape == shape and count:  # the rest stays honest
                full = np.frombuffer(like.content, kind).copy()
                full[: len(drawn) // 8 + 1] = _narrowed(drawn[: len(drawn) // 8 + 1], kind)
                return Raw(dtype, shape, full.tobytes())
            return Raw(dtype, shape, np.resize(_narrowed(drawn, kind), count).tobytes())

    # --- what is not a message ---

    def damaged(self, message_id: int) -> bytes:
        """Honest bytes with bits flipped, cut short, lengthened, or with a piece of another frame."""
        frame = bytearray(self.honest(message_id, self.rng.randrange(1 << 30)))
        for _ in range(self.rng.choice((1, 1, 2, 8))):
            at = self.rng.randrange(len(frame) + 1)
            match self.rng.randrange(6):
                case 0 | 1:
                    frame[at : at + 1] = bytes([frame[at] ^ 1 << self.rng.randrange(8)]) if at < len(frame) else b""
                case 2:
                    del frame[at:]
                case 3:
                    frame[at:at] = self.rng.randbytes(self.rng.choice((1, 4, 64)))
                case 4:
                    other = self.rng.choice(self._frames)
                    frame[at:] = other[self.rng.randrange(len(other)) :]
                case 5:
                    frame[:4] = struct.pack("<I", self.rng.choice(LENGTHS))
        return bytes(frame)

    def lying(self, message_id: int) -> bytes:
        """A header that says other types, shapes, fields or lengths than it should."""
        tree = copy.deepcopy(self.rng.choice(self._honest)[1])
        tree["id"] = message_id
        container, key = self.rng.choice(list(places(tree)))
        value = container[key]
        match self.rng.randrange(5):
            case 0 if isinstance(value, Raw):
                value.shape = self.rng.choice(([2**32], [2**31] * 8, [-1], [0, 2**32, 2**32], [2**62], ["3"], 3, None))
            case 1 if isinstance(value, Raw):
                value.dtype = self.rng.choice((*DTYPES, "|O", "<c16", ">f4", "object", "", "<U4", None))  # type: ignore[assignment]
            case 2 if isinstance(container, dict):
                del container[key]
            case 3 if isinstance(container, dict):
                container[self.rng.choice(("extra", "__class__", ""))] = value
            case _:
                container[key] = self.rng.choice(
                    (None, [], {}, "", 0, 1.5, True, 10**400, [[]], {"dtype": "<f4"}, "id", -1)
                )
        return framed(tree)

    def bomb(self, message_id: int) -> bytes:
        """Headers that cost much to read, as far as a reader lets them."""
        depth = self.rng.choice((10, 900, 100_000))
        head = b'{"id":%d,"type":"Cancel","fields":{"target":' % message_id
        text = self.rng.choice(
            (
                head + b"[" * depth + b"]" * depth + b"}}",
                head + b'{"a":' * depth,
                head + b"9" * depth + b"}}",
                head + b"[" + b"{}," * depth + b"{}]}}",
                head + b'"' + b"\\u0000" * depth + b'"}}',
            )
        )
        return struct.pack("<I", len(text)) + text


def _narrowed(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Numbers as this type has them; whole numbers wrap around."""
    if kind.kind == "f":
        return values.astype(kind)
    bits = 8 * kind.itemsize
    wrapped = [int(value) % (1 << bits) for value in values]
    return np.array(wrapped, f"<u{kind.itemsize}").view(kind)


def harmful(frame: bytes) -> bool:
    """Whether a frame would end the process or fetch from the network, have many pictures looked at by Segment Anything
    (0 are 40, the default: minutes), or only says that the sender lives (an empty one): valid all of them, and not
    the matter here."""
    if not frame:
        return True
    try:
        message = codec.decode(frame)[1]
    except WireError:
        return False
    if isinstance(message, Train):
        views = message.settings.views
        return message.sources.masks == "sam" and (views == 0 or 4 < views <= 1000)
    return isinstance(message, Shutdown) or (isinstance(message, FetchWeights) and message.kind in _FORBIDDEN_KINDS)

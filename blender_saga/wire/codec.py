"""Messages to bytes and back, strictly by the annotations of their dataclasses.

A frame is: length of the header (4 bytes, little-endian), the header (JSON: id, type, fields), then the raw arrays,
little-endian, in the order in which they stand in the header. In the header an array is its dtype and shape, a nested
dataclass an object, a tuple a list. Nothing else can be said, and no code is ever run by what arrives.
"""

from __future__ import annotations

import functools
import json
import math
import operator
import struct
import typing
from dataclasses import fields

import numpy as np

from ..errors import ErrorCode, UserError
from ..gaussians.cloud import GaussianCloud
from ..gaussians.view import View
from .messages import MESSAGES, Part, Reply, Request

MAX_FRAME = 1 << 32
"""Largest frame, 4 GiB: enough for ten million Gaussians with all SH coefficients of degree 4."""
MAX_HEADER = 1 << 20
"""Largest header in bytes, which limits the cost of parsing the JSON."""
MAX_ID = 1 << 53
"""Upper bound of message ids, so that every JSON reader represents them exactly."""
DTYPES = {
    name: np.dtype(name) for name in ("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<i8", "<f2", "<f4", "<f8")
}
"""The allowed element types of arrays."""

_LENGTH = struct.Struct("<I")


class WireError(UserError):
    """Invalid data instead of a message. `message_id` is the frame's id if readable, otherwise 0."""

    def __init__(self, why: str, message_id: int = 0) -> None:
        super().__init__("A message between Blender and the backend is not valid", why, code=ErrorCode.WIRE)
        self.message_id = message_id


# --- encode -----------------------------------------------------------------------------------------------------


def encode(message_id: int, message: object) -> bytes:
    """Encode a message to a frame.

    Args:
        message_id: connects a request and its answers, 0 to MAX_ID - 1.
        message: a Request or a Reply.

    Raises:
        TypeError: if this is no message, or a field does not match its annotation (a bug of the sender).
        WireError: if the frame would be too large.
    """
    kind = type(message)
    if MESSAGES.get(kind.__name__) is not kind:
        raise TypeError(f"{kind.__name__} is not a message")
    if not 0 <= message_id < MAX_ID:
        raise TypeError(f"{message_id} is no message id")
    arrays: list[np.ndarray] = []
    described = _describe(message, kind, arrays)
    header = json.dumps({"id": message_id, "type": kind.__name__, "fields": described}).encode("ascii")
    size = _LENGTH.size + len(header) + sum(array.nbytes for array in arrays)
    if len(header) > MAX_HEADER or size > MAX_FRAME:
        raise WireError(f"it is too large: {size} bytes, {len(header)} of them in the header")
    return b"".join([_LENGTH.pack(len(header)), header, *(_raw(array) for array in arrays)])


def _describe(value: typing.Any, kind: typing.Any, arrays: list[np.ndarray]) -> typing.Any:
    """Convert a value to JSON; collects its arrays."""
    if kind is np.ndarray:
        return _put_aside(value, arrays)
    if typing.get_origin(kind) is tuple:
        (item_kind,) = _item_kinds(kind)
        if not isinstance(value, tuple):
            raise TypeError(f"expected a tuple, found {type(value).__name__}")
        return [_describe(item, item_kind, arrays) for item in value]
    if kind in _SCALARS:
        return _SCALARS[kind](value)
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, found {type(value).__name__}")
    return {name: _describe(getattr(value, name), inner, arrays) for name, inner in _fields(kind).items()}  # type: ignore[arg-type]


def _put_aside(value: np.ndarray, arrays: list[np.ndarray]) -> dict[str, object]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"expected an array, found {type(value).__name__}")
    dtype = value.dtype.newbyteorder("<")
    if dtype.str not in DTYPES:
        raise TypeError(f"arrays of {value.dtype} do not travel")
    # ascontiguousarray makes [1] of a scalar array, hence the reshape.
    arrays.append(np.ascontiguousarray(value, dtype=dtype).reshape(value.shape))
    return {"dtype": dtype.str, "shape": list(value.shape)}


def _raw(array: np.ndarray) -> memoryview | bytes:
    # A memoryview with a zero in its shape cannot be cast to bytes.
    return array.reshape(-1).view(np.uint8).data if array.size else b""


def _as_bool(value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"expected a bool, found {type(value).__name__}")
    return bool(value)


def _as_int(value: object) -> int:
    number = operator.index(value)  # type: ignore[arg-type]
    if isinstance(value, bool) or not -(1 << 63) <= number < 1 << 63:
        raise TypeError(f"expected an int of 64 bits, found {value!r}")
    return number


def _as_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"expected a float, found {type(value).__name__}")
    return float(value)


def _as_str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a str, found {type(value).__name__}")
    return value


_SCALARS: dict[object, typing.Callable[[typing.Any], object]] = {
    bool: _as_bool,
    int: _as_int,
    float: _as_float,
    str: _as_str,
}

# --- decode -----------------------------------------------------------------------------------------------------


def decode(frame: bytes) -> tuple[int, typing.Any]:
    """Decode a frame to its id and message. Arrays are copies, writable and in native byte order.

    Raises:
        WireError: if the bytes are not exactly one message. Allocates no more than the size of the frame.
    """
    header, payload = _split(frame)
    message_id = header.get("id")
    if set(header) != {"id", "type", "fields"} or type(message_id) is not int or not 0 <= message_id < MAX_ID:
        raise WireError("its header is not one of ours")
    kind = MESSAGES.get(header["type"]) if isinstance(header["type"], str) else None
    if kind is None:
        raise WireError("it is of a kind that is not known here", message_id)
    reader = _Reader(payload)
    try:
        message = reader.read(header["fields"], kind, kind.__name__)
        reader.finish()
    except _Malformed as error:
        raise WireError(str(error), message_id) from error
    return message_id, message


def _split(frame: bytes) -> tuple[dict[str, typing.Any], memoryview]:
    """The parsed header and the bytes after it."""
    view = memoryview(frame)
    if len(view) > MAX_FRAME or len(view) < _LENGTH.size:
        raise WireError(f"it has {len(view)} bytes")
    end = _LENGTH.size + _LENGTH.unpack(view[: _LENGTH.size])[0]
    if end > len(view) or end > MAX_HEADER + _LENGTH.size:
        raise WireError("its header is cut short or too long")
    try:
        header = json.loads(bytes(view[_LENGTH.size : end]).decode("ascii"))
    except (ValueError, RecursionError) as error:  # deeply nested brackets raise RecursionError
        raise WireError("its header is not JSON that we can read") from error
    if not isinstance(header, dict):
        raise WireError("its header is not one of ours")
    return header, view[end:]


class _Malformed(Exception):
    """An invalid field; becomes a WireError."""


class _Reader:
    """Builds a message from its header, with the arrays from the payload in order."""

    def __init__(self, payload: memoryview) -> None:
        self._rest = payload

    def read(self, value: typing.Any, kind: typing.Any, where: str) -> typing.Any:
        if kind is np.ndarray:
            return self._array(value, where)
        if typing.get_origin(kind) is tuple:
            if not isinstance(value, list):
                raise _Malformed(f"{where} is not a list")
            return tuple(self.read(item, _item_kinds(kind)[0], where) for item in value)
        if kind in _SCALARS:
            return _scalar(value, kind, where)
        return self._dataclass(value, kind, where)

    def finish(self) -> None:
        if len(self._rest):
            raise _Malformed(f"{len(self._rest)} bytes are left over")

    def _dataclass(self, value: typing.Any, kind: typing.Any, where: str) -> typing.Any:
        if not isinstance(value, dict) or set(value) != set(_fields(kind)):
            raise _Malformed(f"{where} has not the fields of {kind.__name__}")
        arguments = {name: self.read(value[name], inner, f"{where}.{name}") for name, inner in _fields(kind).items()}
        try:
            return kind(**arguments)
        except (ValueError, UserError) as error:  # GaussianCloud and View check their shapes and values
            raise _Malformed(f"{where}: {error}") from error

    def _array(self, value: typing.Any, where: str) -> np.ndarray:
        if not isinstance(value, dict) or set(value) != {"dtype", "shape"}:
            raise _Malformed(f"{where} is not an array")
        name, shape = value["dtype"], value["shape"]
        if not isinstance(name, str) or name not in DTYPES:
            raise _Malformed(f"{where} has an element type that is not allowed")
        plain = isinstance(shape, list) and len(shape) <= 8
        if not plain or not all(type(n) is int and 0 <= n <= MAX_FRAME for n in shape):
            raise _Malformed(f"{where} has no shape")
        return self._take(DTYPES[name], shape, where)

    def _take(self, dtype: np.dtype, shape: list[int], where: str) -> np.ndarray:
        size = math.prod(shape) * dtype.itemsize  # Python integers: no overflow
        if size > len(self._rest):
            raise _Malformed(f"{where} says {size} bytes, {len(self._rest)} are there")
        raw, self._rest = self._rest[:size], self._rest[size:]
        if dtype.kind == "b" and np.frombuffer(raw, np.uint8).max(initial=0) > 1:
            raise _Malformed(f"{where} has truth values other than 0 and 1")
        try:
            flat = np.frombuffer(raw, dtype) if size else np.zeros(0, dtype)
            return flat.reshape(shape).astype(dtype.newbyteorder("="), copy=True)
        except ValueError as error:  # (0, 2**32, 2**32) is too large for numpy
            raise _Malformed(f"{where} has no shape") from error


def _scalar(value: typing.Any, kind: typing.Any, where: str) -> typing.Any:
    try:
        return _SCALARS[kind](value)
    except (TypeError, OverflowError) as error:
        raise _Malformed(f"{where} is not of type {kind.__name__}") from error


# --- annotations ------------------------------------------------------------------------------------------------


@functools.cache
def _fields(kind: type) -> dict[str, typing.Any]:
    """The annotation of each field of a message or part, by name."""
    if not issubclass(kind, (Request, Reply, Part, GaussianCloud, View)):
        raise TypeError(f"{kind} cannot stand in a message")
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}  # type: ignore[arg-type]  # all are dataclasses


def _item_kinds(kind: typing.Any) -> tuple[typing.Any, ...]:
    """(X,) for tuple[X, ...], the only kind of tuple in messages."""
    items = typing.get_args(kind)
    if len(items) != 2 or items[1] is not Ellipsis:
        raise TypeError(f"{kind} cannot stand in a message")
    return items[:1]

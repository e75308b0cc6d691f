"""The header of a PLY file: elements, properties and the offset of the vertices."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import ErrorCode, UserError

_LONGEST_HEADER = 1 << 20  # bytes; a file without an end of the header must not be read completely
_FORMATS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
_SHORT = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"}
_TYPES = _SHORT | {"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"}
_TYPES |= {"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"}


@dataclass
class Element:
    """One element of the header.

    Attributes:
        name, count: name and number of rows.
        kinds: numpy type of each property by name, without byte order, in the order of the file.
        has_list: whether a property is a list, so that rows have no fixed size.
        order: byte order of a binary file.
        start: byte offset of the first row in a binary file; -1 after an element with a list.
    """

    name: str
    count: int
    kinds: dict[str, str] = field(default_factory=dict)
    has_list: bool = False
    order: str = "<"
    start: int = -1

    @property
    def properties(self) -> list[tuple[str, str]]:
        """Name and numpy type of each property, in the order of the file."""
        return list(self.kinds.items())

    @property
    def names(self) -> list[str]:
        """Names of the properties, in the order of the file."""
        return list(self.kinds)

    @property
    def dtype(self) -> np.dtype:
        """One row as a structured dtype, in the byte order of the file."""
        return np.dtype([(name, self.order + kind) for name, kind in self.kinds.items()])


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        ascii: whether the rows are lines of text.
        vertex: the element `vertex`.
        elements: all elements by name, in the order of the file.
        skip: distance from the header to the vertices, in bytes, or in lines if ascii.
    """

    ascii: bool
    vertex: Element
    elements: dict[str, Element]
    skip: int


def read_header(stream: BinaryIO, path: Path) -> Header:
    """Read the header; the stream is then at the first byte after it.

    Raises:
        UserError: if the file is no PLY file with usable vertices.
    """
    lines = _header_lines(stream, path)
    order, elements = "", []
    for number, words in enumerate(lines, start=2):
        try:
            match words:
                case ["format", name, _] if name in _FORMATS:
                    order = _FORMATS[name]
                case ["element", name, count] if int(count) >= 0:
                    elements.append(Element(name, int(count)))
                case ["property", "list", *_] if elements:
                    elements[-1].has_list = True
                case ["property", kind, name] if elements and name not in elements[-1].kinds:
                    elements[-1].kinds[name] = _TYPES[kind]
                case ["comment" | "obj_info", *_] | []:
                    pass
                case _:
                    raise ValueError
        except (ValueError, KeyError) as error:
            raise _bad(path, f"line {number} of its header is invalid: '{' '.join(words)[:60]}'") from error
    if not order:
        raise _bad(path, "its header names no format")
    start = stream.tell()
    for element in elements:
        element.order, element.start = order, start
        start = -1 if element.has_list or start < 0 else start + element.count * element.dtype.itemsize
    return _find_vertex(path, elements, order == "=")


def _header_lines(stream: BinaryIO, path: Path) -> list[list[str]]:
    """The words of each line between `ply` and `end_header`."""
    first = stream.readline(_LONGEST_HEADER)
    if first.strip() != b"ply":
        raise _bad(path, "it does not start with 'ply'")
    lines: list[list[str]] = []
    while stream.tell() < _LONGEST_HEADER and (line := stream.readline(_LONGEST_HEADER)):
        words = line.decode("ascii", "replace").split()
        if words == ["end_header"]:
            return lines
        lines.append(words)
    raise _bad(path, "its header has no end")


def _find_vertex(path: Path, elements: list[Element], ascii: bool) -> Header:
    skip = 0
    for element in elements:
        if element.name == "vertex":
            if element.has_list:
                raise _bad(path, "its vertices have list properties")
            return Header(ascii, element, {e.name: e for e in elements}, skip)
        if element.has_list and not ascii:
            raise _bad(path, f"its element '{element.name}' before the vertices has a list property")
        skip += element.count if ascii else element.count * element.dtype.itemsize
    raise _bad(path, "it has no vertices")


def _bad(path: Path, why: str) -> UserError:
    fix = "Choose the PLY of a splat trainer"
    return UserError(f"The file {path.name} is not a readable PLY file", why, fix, code=ErrorCode.BAD_FILE)

"""Read untrusted files with bounds checks and byte offsets in errors."""

from __future__ import annotations

import importlib
import stat
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ErrorCode, UserError

_FREE = 16 << 20  # bytes that any file may request
_WINDOW = 25  # bits of the window that a zstd stream may request; encoders use 23 at most
_EXPANSION = 100  # further bytes that a compressed file may request per byte of its size; real splats stay below 10


def bad_file(path: Path, why: str, at: int | None = None, fix: str = "Copy or export it again") -> UserError:
    """The error for a damaged or unsupported file.

    Args:
        path: the file.
        why: the reason.
        at: offset of the error in bytes, if known.
        fix: what to do next.
    """
    where = "" if at is None else f"at byte {at}, "
    return UserError(f"The file {path.name} cannot be read", where + why, fix, code=ErrorCode.BAD_FILE)


def unreadable(path: Path, error: OSError) -> UserError:
    """The error for a file that the operating system cannot read."""
    return UserError(
        f"The file {path} cannot be read",
        error.strerror or str(error),
        fix="Check that the file exists and that you have permission to read it",
        code=ErrorCode.FILE,
    )


def map_bytes(path: Path) -> np.ndarray:
    """[size] uint8, mapped from the file, so that only accessed pages are read.

    Raises:
        UserError: if the file is missing, cannot be read or is empty.
    """
    try:
        if path.stat().st_size == 0:
            raise bad_file(path, "it is empty")
        return np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise unreadable(path, error) from error


def first_bytes(path: Path, count: int) -> bytes:
    """The first `count` bytes of a file, or fewer if it is shorter.

    Raises:
        UserError: if the file is missing, cannot be read, or is no regular file, such as a pipe, which would block.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise bad_file(path, "it is not a regular file", fix="Choose a file")
        with path.open("rb") as stream:
            return stream.read(count)
    except OSError as error:
        raise unreadable(path, error) from error


def check_expansion(path: Path, wanted: int, given: int, what: str, at: int | None = None) -> None:
    """Refuse a compressed part that needs far more memory than its size justifies.

    Raises:
        UserError: if `wanted` bytes are out of proportion to the `given` bytes.
    """
    if wanted > _FREE + _EXPANSION * given:
        why = f"{what} needs {wanted:,} bytes from {given:,}, more than any real splat"
        raise bad_file(path, why, at)


class Inflater:
    """A gzip stream read in pieces of known sizes, and never beyond."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path, self._rest = path, data
        self._engine = zlib.decompressobj(31)  # gzip header and checksum
        self.read_so_far = 0

    def read(self, count: int) -> bytes:
        """Read exactly `count` bytes.

        Raises:
            UserError: if the stream is damaged or ends too early.
        """
        data = self._step(count) if count else b""
        if len(data) < count:
            raise bad_file(self._path, f"the unpacked data ends there; {count - len(data)} bytes are missing", self._at)
        return data

    def read_rest(self, most: int) -> bytes:
        """Read the rest, which also verifies the checksum.

        Raises:
            UserError: if the stream is damaged, cut off, or longer than `most`.
        """
        data = self._step(most + 1)
        if len(data) > most or not self._engine.eof:
            raise bad_file(self._path, "the unpacked data does not end where it should", self._at)
        return data

    @property
    def _at(self) -> int:
        return self.read_so_far

    def _step(self, count: int) -> bytes:
        try:
            data = self._engine.decompress(self._rest, count)
        except zlib.error as error:
            raise bad_file(self._path, f"its gzip data is damaged ({error})", self._at) from error
        self._rest = self._engine.unconsumed_tail
        self.read_so_far += len(data)
        return data


def zstd() -> Any:
    """The zstd functions of Python or the package `zstandard`; None if there are none.

    Returns:
        An object with `compress(data) -> bytes` and `decompress(data, size) -> bytes` (at most size + 1 bytes).
    """
    for kind in (_StandardZstd, _PackageZstd):
        try:
            return kind()
        except ImportError:
            continue
    return None


class _StandardZstd:
    """The zstd module of Python 3.14 and newer."""

    def __init__(self) -> None:
        self._module = importlib.import_module("compression.zstd")
        self.error: type[Exception] = self._module.ZstdError

    def compress(self, data: bytes) -> bytes:
        return self._module.compress(data, level=12)

    def decompress(self, data: bytes, size: int) -> bytes:
        limit = {self._module.DecompressionParameter.window_log_max: _WINDOW}
        return self._module.ZstdDecompressor(options=limit).decompress(data, max_length=size + 1)


class _PackageZstd:
    """The package `zstandard`, which Blender includes."""

    def __init__(self) -> None:
        self._module = importlib.import_module("zstandard")
        self.error: type[Exception] = self._module.ZstdError

    def compress(self, data: bytes) -> bytes:
        return self._module.ZstdCompressor(level=12).compress(data)

    def decompress(self, data: bytes, size: int) -> bytes:
        with self._module.ZstdDecompressor(max_window_size=1 << _WINDOW).stream_reader(data) as reader:
            return reader.read(size + 1)

"""Checks on untrusted numpy, zip and torch files: sizes are checked before memory is allocated.

A file of a hundred bytes can declare a terabyte, and a megabyte can unpack to a gigabyte of zeros.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    import torch

MAX_BYTES = 1 << 32
"""Limit for all unpacked arrays of an archive together."""
BROKEN = (
    OSError,
    ValueError,
    LookupError,
    EOFError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)
"""Errors that damaged array files cause: zipfile and zlib raise their own, numpy parses its headers as Python literals,
and a wrong size can exhaust the memory."""


def load_array(path: Path) -> np.ndarray:
    """The array of an `.npy` file.

    Raises:
        ValueError: if it is not an array, or its size differs from its header; `OSError` if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            _check_array(file, path.stat().st_size)
            file.seek(0)
            return np.load(file, allow_pickle=False)
    except OSError:
        raise
    except BROKEN as error:
        raise ValueError(f"the file is damaged ({type(error).__name__}: {error})".splitlines()[0]) from error


def check_archive(path: Path) -> None:
    """Reject an `.npz` file whose arrays are too large or differ in size from their headers.

    Raises:
        One of BROKEN.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MAX_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_BYTES >> 30} GiB")
        for member in members:
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    _check_array(file, member.file_size)  # type: ignore[arg-type]


def _check_array(file: BinaryIO, size: int) -> None:
    """Reject an array whose header does not match the `size` bytes of its file."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"its format version {version} is not supported")
    if dtype.hasobject:
        raise ValueError("it contains objects instead of numbers")
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"its header says {list(shape)} of {dtype}, which does not match its size")


def check_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """The same tensor, if its storage holds all its elements: with strides of zero, one number looks like a terabyte.

    Raises:
        ValueError: if its storage is too small.
    """
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"the storage of a tensor {list(tensor.shape)} is too small")
    return tensor

"""numpy's, zip's and torch's files from others: what they say of sizes is checked before memory is asked for.

A file of a hundred bytes can say that it holds a terabyte, or hold a gigabyte of zeros in a megabyte.
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

MOST_BYTES = 1 << 32
"""Of all arrays of an archive, unpacked."""
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
"""What reading a damaged file of arrays raises: zipfile and zlib have errors of their own, numpy parses its headers as
Python's literals, and memory may be asked for that nobody has."""


def load_array(path: Path) -> np.ndarray:
    """The array of an `.npy` file.

    Raises:
        ValueError: if it is none, or does not hold what it says; `OSError` where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            _check_array(file, path.stat().st_size)
            file.seek(0)
            return np.load(file, allow_pickle=False)
    except OSError:
        raise
    except BROKEN as error:
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})".splitlines()[0]) from error


def check_archive(path: Path) -> None:
    """Refuse an `.npz` file whose arrays do not hold what they say, or too much.

    Raises:
        One of BROKEN.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MOST_BYTES:
            raise ValueError(f"unpacked it has more than {MOST_BYTES >> 30} GiB")
        for member in members:
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    _check_array(file, member.file_size)  # type: ignore[arg-type]


def _check_array(file: BinaryIO, size: int) -> None:
    """Refuse an array that says another size than the `size` bytes of its file leave for it."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"its format is {version}")
    if dtype.hasobject:
        raise ValueError("it holds objects, not numbers")
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"it says that it holds {list(shape)} of {dtype}, which is not its size")


def check_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, if it has a number for each of its elements: strides of zero make a terabyte of one.

    Raises:
        ValueError: if not.
    """
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"a tensor {list(tensor.shape)} repeats few numbers")
    return tensor

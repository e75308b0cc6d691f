"""Which files a message may name, and for what.

A backend behind a tunnel reads and writes files of its machine at the word of who has the key. It opens what a request
is about and no more: models are written only as regular files called *.saga, nothing is read that is not a file (a pipe
or a device would be waited for), and with a root all of it lies in one folder. What a file holds is checked by its
reader.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.messages import PathUse, paths_of

MODEL_SUFFIX = ".saga"
_LONGEST = 4096  # letters; what systems take
_FOLDERS = (PathUse.masks_folder, PathUse.written_folder)


@dataclass(frozen=True)
class Confinement:
    """Where the paths of messages may lead.

    Attributes:
        root: the folder in which all of them must lie, links followed; None: anywhere that this user may.
    """

    root: Path | None = None

    def check(self, request: object) -> None:
        """Refuse a request that names what it must not.

        Raises:
            UserError: if so (code "bad_path"); nothing was opened.
        """
        for text, use in paths_of(request):
            self._check(text, use)

    def _check(self, text: str, use: PathUse) -> None:
        if not text:
            return  # it names none
        try:
            path = Path(text)
            if len(text) > _LONGEST or not path.is_absolute():
                raise _refused(text, use, "it is not the whole path of a file" if text[:1] else "")
            there = _kind(path)
            if self.root is not None and not path.resolve().is_relative_to(self.root.resolve()):
                raise _refused(text, use, f"it does not lie in {self.root}")
        except (OSError, ValueError, RuntimeError) as error:  # a zero byte, half of a letter, a loop of links
            raise _refused(text, use, getattr(error, "strerror", None) or "no file can be called so") from error
        if why := _objection(path, use, there):
            raise _refused(text, use, why)


def _kind(path: Path) -> int:
    """Type bits of what is there, links followed; 0 for nothing."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _objection(path: Path, use: PathUse, there: int) -> str:
    """Why a path cannot be used for this, or ""; what is missing is told by who opens it."""
    if use in _FOLDERS:
        return "" if there in (0, stat.S_IFDIR) else "it is no folder"
    if there not in (0, stat.S_IFREG) and not (use is PathUse.cameras and there == stat.S_IFDIR):
        return "it is no file"
    if use is PathUse.saved_model:
        if path.suffix.lower() != MODEL_SUFFIX:
            return f"a model's file ends in {MODEL_SUFFIX}"
        if path.is_symlink():
            return f"it is a link; give the file that it leads to, {os.path.realpath(path)}"
    return ""


def _refused(text: str, use: PathUse, why: str) -> UserError:
    shown = text if len(text) < 200 else f"{text[:200]} ..."
    return UserError(f"The path {shown!r} cannot be {use.value}", why, "Choose another", ErrorCode.BAD_PATH)

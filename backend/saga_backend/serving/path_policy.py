"""The files that a message may name, by their use.

A backend behind a tunnel reads and writes files of its machine for every client with the key. It opens only the files
of a request: it writes models only as regular files called *.saga, reads only regular files (a pipe or a device would
block), and with a root all of them lie in one folder. The readers check the contents of the files.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.messages import PathUse, Request

MODEL_SUFFIX = ".saga"
_LONGEST = 4096  # characters; the limit of the systems
_FOLDERS = (PathUse.masks_folder, PathUse.written_folder)


@dataclass(frozen=True)
class Confinement:
    """The allowed paths of messages.

    Attributes:
        root: the folder of all paths, with links resolved; None: every path of this user.
    """

    root: Path | None = None

    def check(self, request: object) -> None:
        """Reject a request with a path that is not allowed.

        Raises:
            UserError: if so (code "bad_path"); no file was opened.
        """
        for text, use in request.paths() if isinstance(request, Request) else ():
            self._check(text, use)

    def _check(self, text: str, use: PathUse) -> None:
        if not text:
            return  # no path
        try:
            path = Path(text)
            if len(text) > _LONGEST or not path.is_absolute():
                raise _bad_path(text, use, "it is no absolute path" if text[:1] else "")
            kind = _kind(path)
            if self.root is not None and not path.resolve().is_relative_to(self.root.resolve()):
                raise _bad_path(text, use, f"it lies outside of {self.root}")
        except (OSError, ValueError, RuntimeError) as error:  # a zero byte, an invalid character, a loop of links
            raise _bad_path(text, use, getattr(error, "strerror", None) or "it is no valid file name") from error
        if why := _objection(path, use, kind):
            raise _bad_path(text, use, why)


def _kind(path: Path) -> int:
    """Type bits of the file behind a path, with links resolved; 0 if nothing exists."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _objection(path: Path, use: PathUse, kind: int) -> str:
    """Why a path cannot be used, or ""; the readers report missing files."""
    if use in _FOLDERS:
        return "" if kind in (0, stat.S_IFDIR) else "it is no folder"
    if kind not in (0, stat.S_IFREG) and not (use is PathUse.cameras and kind == stat.S_IFDIR):
        return "it is no regular file"
    if use is PathUse.saved_model:
        if path.suffix.lower() != MODEL_SUFFIX:
            return f"the name of a model file ends in {MODEL_SUFFIX}"
        if path.is_symlink():
            return f"it is a link; use its target, {os.path.realpath(path)}"
    return ""


def _bad_path(text: str, use: PathUse, why: str) -> UserError:
    shown = text if len(text) < 200 else f"{text[:200]} ..."
    return UserError(f"The path {shown!r} cannot be {use.value}", why, "Choose another path", ErrorCode.BAD_PATH)

"""Check that the installer runs as the owner of the folder, never as root for another user (Python 3.9)."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import ErrorCode, UserError


def check_owner(folder: Path) -> None:
    """Refuse to install as root into a folder of another user.

    The packages would run with root permissions, and the user could not change their files afterwards.

    Args:
        folder: folder of the environment; may not exist.

    Raises:
        UserError: if this is the case (code "root").
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if place.stat().st_uid != 0:
        why = f"Blender runs as root, and {place} belongs to another user"
        raise UserError("The backend was not installed", why, "Start Blender without sudo", ErrorCode.ROOT)

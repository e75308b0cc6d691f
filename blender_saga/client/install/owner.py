"""The installer runs as the user whose folder it fills, and never raises its rights (standard library, Python 3.9)."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import ErrorCode, UserError


def check_owner(folder: Path) -> None:
    """Refuse to install as root into a folder that is another user's.

    Packages would be fetched and run with all rights, and the user could not change their files afterwards.

    Args:
        folder: of the environment; need not exist.

    Raises:
        UserError: if so (code "root").
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if place.stat().st_uid != 0:
        why = f"Blender runs as root, and {place} belongs to another user"
        raise UserError("The backend is not installed", why, "Start Blender as yourself, without sudo", ErrorCode.ROOT)

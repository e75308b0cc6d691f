"""What stands only in the repository's checkout: the extension's zip leaves out what only developers run."""

from __future__ import annotations

from pathlib import Path

from blender_saga.errors import ErrorCode, UserError

_PACKAGE = Path(__file__).resolve().parents[1]


def in_checkout(file: str) -> bool:
    """Whether a file of this package is here, such as "cli/evaluate.py"."""
    return (_PACKAGE / file).is_file()


def need_checkout(file: str, option: str) -> None:
    """Refuse an option whose code the zip leaves out.

    Args:
        file: what it needs, such as "masks/ray_engine.py".
        option: as the user wrote it, such as "--engine ray".

    Raises:
        UserError: if the file is not here.
    """
    if not in_checkout(file):
        why = "the extension's zip does not hold its code"
        raise UserError(
            f"{option} works only in a checkout of the repository", why, "Run it there", ErrorCode.NOT_INSTALLED
        )

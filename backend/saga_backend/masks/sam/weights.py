"""The official files of SAM's weights: what they are called, how large they are, where they lie, and fetching one.

Names and addresses are those of the README of facebookresearch/segment-anything. Its authors publish no hashes; these
are the ones that independent projects check their downloads against (3D Slicer's extension and micro-SAM among them).
"""

from __future__ import annotations

import hashlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.atomic_write import create_file, replace_file

from ...common.progress import Control
from ...common.user_dirs import cache_folder

_BLOCK = 1 << 20
_PHASE = "downloading"
_ALLOWED = ("https://", "http://127.0.0.1:")  # the second for tests; what comes is known by its hash


@dataclass(frozen=True)
class OfficialFile:
    """One published file of weights.

    Attributes:
        kind: "vit_h", "vit_l" or "vit_b".
        name: the file's.
        size: bytes.
        sha256: of its content, hexadecimal.
        address: where it is downloaded from.
    """

    kind: str
    name: str
    size: int
    sha256: str
    address: str

    def sentence(self) -> str:
        """What is asked before it is downloaded."""
        return f"{self.name} has {self.size / 1e6:,.0f} MB and comes from {self.address}"


_ROOT = "https://dl.fbaipublicfiles.com/segment_anything/"
OFFICIAL = {
    file.kind: file
    for file in (
        OfficialFile(
            "vit_h", "sam_vit_h_4b8939.pth", 2_564_550_879,
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", _ROOT + "sam_vit_h_4b8939.pth",
        ),
        OfficialFile(
            "vit_l", "sam_vit_l_0b3195.pth", 1_249_524_607,
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", _ROOT + "sam_vit_l_0b3195.pth",
        ),
        OfficialFile(
            "vit_b", "sam_vit_b_01ec64.pth", 375_042_383,
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", _ROOT + "sam_vit_b_01ec64.pth",
        ),
    )
}  # fmt: skip
"""By kind, the best first."""


def sha256_of(path: Path, control: Control | None = None) -> str:
    """Hexadecimal SHA-256 of a file.

    Raises:
        UserError: if it cannot be read.
        Cancelled: if the control was cancelled.
    """
    control, digest = control or Control(), hashlib.sha256()
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                control.progress("checking the weights", file.tell() >> 20, size >> 20)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read",
            error.strerror or str(error),
            fix="Check that the file is there and that you may read it",
        ) from error
    return digest.hexdigest()


def official_by_name(name: str) -> OfficialFile | None:
    """The official file of that name."""
    return next((file for file in OFFICIAL.values() if file.name == name), None)


def check_official(path: Path, sha256: str) -> None:
    """Refuse a file that has an official one's name, but not its content.

    Raises:
        UserError: if so.
    """
    official = official_by_name(path.name)
    if official is None or sha256 == official.sha256:
        return
    size = path.stat().st_size
    why = f"its SHA-256 is not that of the official file of this name; it has {size:,} bytes of {official.size:,}"
    raise UserError(
        f"{path} is not what its name says",
        why,
        "Download it again, or rename it if it is your own",
        ErrorCode.BAD_WEIGHTS,
    )


def weights_folder() -> Path:
    """Where downloaded weights are kept: the user's cache folder."""
    return cache_folder("weights")


def download(file: OfficialFile, folder: Path, control: Control, online: Callable[[], bool] = lambda: True) -> Path:
    """Fetch a file into a folder, going on where an earlier attempt ended; it gets its name when its hash is right.

    Args:
        file: which one.
        folder: where to; made if need be.
        control: progress in MB, and cancel: what has come so far stays.
        online: asked before the network is used.

    Returns:
        Its path; a file that is there already and right is not fetched again.

    Raises:
        UserError: if it cannot be had, there is no room for it, or its content is wrong.
        Cancelled: if the control was cancelled.
    """
    path, part = folder / file.name, folder / (file.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file() and sha256_of(path, control) == file.sha256:
            return path
        if not online():
            raise UserError(
                f"{file.name} cannot be downloaded", "online access is switched off", "Allow it, or copy it"
            )
        _check_room(file, part)
        create_file(part)
        _fetch(file, part, control)
    except OSError as error:
        why = getattr(error, "reason", None) or error.strerror or error
        fix = "Try again: it goes on where it was; or download it yourself and give its path"
        raise UserError(f"{file.name} cannot be downloaded", str(why), fix) from error
    if sha256_of(part, control) != file.sha256:
        part.unlink()
        raise UserError(f"What came as {file.name} is another file", "its SHA-256 is wrong", "Try again")
    replace_file(path, part)
    return path


def _check_room(file: OfficialFile, part: Path) -> None:
    there = part.stat().st_size if part.is_file() else 0
    free = shutil.disk_usage(part.parent).free
    if free < file.size - there:
        why = f"{(file.size - there) / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free on {part.parent}"
        raise UserError(f"There is no room for {file.name}", why, fix="Free some space on that disk, then try again")


def _fetch(file: OfficialFile, part: Path, control: Control) -> None:
    """Append what is missing of the file to `part`."""
    there = part.stat().st_size if part.is_file() else 0
    if there >= file.size:
        return
    if not file.address.startswith(_ALLOWED):
        raise ValueError(f"{file.address} is no address of the web")
    request = urllib.request.Request(file.address, headers={"Range": f"bytes={there}-"} if there else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - https, as was just made sure
        goes_on = answer.status == 206
        with part.open("ab" if goes_on else "wb") as out:
            while block := answer.read(_BLOCK):
                out.write(block)
                if out.tell() > file.size + (file.size >> 4) + _BLOCK:
                    raise urllib.error.URLError("more comes than the file has")
                control.progress(_PHASE, out.tell() >> 20, file.size >> 20)
    if part.stat().st_size < file.size:
        raise urllib.error.URLError(f"the connection ended after {part.stat().st_size >> 20} MB")

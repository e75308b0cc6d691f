"""The official weights files of SAM: names, sizes, addresses, and the download.

Names and addresses are from the README of facebookresearch/segment-anything. Its authors publish no hashes; these
are the hashes that independent projects use to verify downloads (among them 3D Slicer's extension and micro-SAM).
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
_ALLOWED = ("https://", "http://127.0.0.1:")  # the second is for tests; the hash verifies the content


@dataclass(frozen=True)
class OfficialFile:
    """A published weights file.

    Attributes:
        kind: "vit_h", "vit_l" or "vit_b".
        name: file name.
        size: bytes.
        sha256: SHA-256 of the content, hexadecimal.
        address: download address.
    """

    kind: str
    name: str
    size: int
    sha256: str
    address: str

    def sentence(self) -> str:
        """Description for the confirmation before a download."""
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
"""Files by kind, best first."""


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
            fix="Check that the file exists and that you have permission to read it",
        ) from error
    return digest.hexdigest()


def official_by_name(name: str) -> OfficialFile | None:
    """The official file with this name, or None."""
    return next((file for file in OFFICIAL.values() if file.name == name), None)


def check_official(path: Path, sha256: str) -> None:
    """Reject a file with the name of an official file and other content.

    Raises:
        UserError: if the content differs.
    """
    official = official_by_name(path.name)
    if official is None or sha256 == official.sha256:
        return
    size = path.stat().st_size
    why = f"its SHA-256 is not that of the official file; it has {size:,} of {official.size:,} bytes"
    raise UserError(
        f"{path} is not the official file with this name",
        why,
        "Download it again, or rename it if it is another model",
        ErrorCode.BAD_WEIGHTS,
    )


def weights_folder() -> Path:
    """Folder of downloaded weights, in the user's cache."""
    return cache_folder("weights")


def download(file: OfficialFile, folder: Path, control: Control, online: Callable[[], bool] = lambda: True) -> Path:
    """Download a file into a folder, continuing an earlier attempt; the file is renamed after its hash is verified.

    Args:
        file: the file to download.
        folder: target folder; created if necessary.
        control: progress in MB, and cancellation, which keeps the partial file.
        online: whether network access is allowed; called before the network is used.

    Returns:
        The path of the file. An existing file with the right hash is not downloaded again.

    Raises:
        UserError: if the download fails, the disk is full, or the hash is wrong.
        Cancelled: if the control was cancelled.
    """
    path, part = folder / file.name, folder / (file.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file() and sha256_of(path, control) == file.sha256:
            return path
        if not online():
            raise UserError(
                f"{file.name} cannot be downloaded",
                "online access is switched off",
                "Allow online access in Blender's preferences",
            )
        _check_room(file, part)
        create_file(part)
        _fetch(file, part, control)
    except OSError as error:
        why = getattr(error, "reason", None) or error.strerror or error
        fix = "Try again, which continues the download; or download it yourself and choose the file"
        raise UserError(f"{file.name} cannot be downloaded", str(why), fix) from error
    if sha256_of(part, control) != file.sha256:
        part.unlink()
        raise UserError(f"The download of {file.name} is damaged", "its SHA-256 is wrong", "Try again")
    replace_file(path, part)
    return path


def _check_room(file: OfficialFile, part: Path) -> None:
    size = part.stat().st_size if part.is_file() else 0
    free = shutil.disk_usage(part.parent).free
    if free < file.size - size:
        why = f"{(file.size - size) / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free on {part.parent}"
        raise UserError(f"There is no space for {file.name}", why, fix="Free some space on that disk, then try again")


def _fetch(file: OfficialFile, part: Path, control: Control) -> None:
    """Append the missing bytes of the file to `part`."""
    size = part.stat().st_size if part.is_file() else 0
    if size >= file.size:
        return
    if not file.address.startswith(_ALLOWED):
        raise ValueError(f"{file.address} is not a web address")
    request = urllib.request.Request(file.address, headers={"Range": f"bytes={size}-"} if size else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - the scheme was checked above
        resumed = response.status == 206
        with part.open("ab" if resumed else "wb") as out:
            while block := response.read(_BLOCK):
                out.write(block)
                if out.tell() > file.size + (file.size >> 4) + _BLOCK:
                    raise urllib.error.URLError("the server sent more than the size of the file")
                control.progress(_PHASE, out.tell() >> 20, file.size >> 20)
    if part.stat().st_size < file.size:
        raise urllib.error.URLError(f"the connection ended after {part.stat().st_size >> 20} MB")

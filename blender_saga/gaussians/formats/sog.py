"""Read SOG (spatially ordered Gaussians), versions 1 and 2, as a zip file or a folder.

`meta.json` names lossless 8-bit images with one pixel per Gaussian, by row from the top left. Centers: 16 bits in two
images, between bounds, of sign(x) ln(1 + |x|). Quaternions: three components within +-sqrt(1/2), with alpha 252 + the
index of the largest (order w, x, y, z). Version 2: scales, colors and harmonics are indices into tables of 256 values,
and the alpha of `sh0` is the opacity. Version 1: they are between bounds, and the alpha of `sh0` is the logit. Higher
harmonics: labels into a palette with 64 entries per row. Axes as in PLY files.
Specified by PlayCanvas: developer.playcanvas.com, "Gaussian Splatting > Formats > SOG"; version 1 by its public engine
and converter (MIT).
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ...errors import ErrorCode, UserError
from ..cloud import SH_COEFFICIENTS
from ..files import bad_file, check_expansion, first_bytes, unreadable
from ..loaded import Decoded, LoadedSplat, assemble
from .images import decode_picture, picture_size
from .packing import BYTES, join_largest

META = "meta.json"
_LARGEST_META = 4 << 20  # bytes
_PALETTE_COLUMNS = 64
_NUMBERS, _HARMONICS = 14, 45  # float32 values of one Gaussian in memory


def read_sog(path: str | Path, keep_invalid: bool = False) -> LoadedSplat:
    """Read a SOG: a zip file, a folder, or the `meta.json` in a folder, under any name.

    Raises:
        UserError: if a part is missing, damaged or inconsistent, or WebP cannot be decoded.
    """
    path = Path(path)
    files = _ZipFiles(path) if path.is_file() and first_bytes(path, 2) == b"PK" else _FolderFiles(path)
    try:
        meta = _Meta(path, files.read(META, _LARGEST_META))
        pictures = _Pictures(path, files, meta)
        with np.errstate(over="ignore", invalid="ignore"):  # overflow gives non-finite values, which drop their row
            decoded = (_decode_2 if meta.version == 2 else _decode_1)(meta, pictures)
    finally:
        files.close()
    loaded = assemble(path, decoded, keep_invalid)
    return LoadedSplat(loaded.cloud, loaded.kept, loaded.warnings, "sog", str(meta.version))


class _FolderFiles:
    """The files next to a `meta.json`."""

    def __init__(self, path: Path) -> None:
        self._path, self._folder = path, path if path.is_dir() else path.parent
        self._meta = path / META if path.is_dir() else path
        try:
            self.size = sum(entry.stat().st_size for entry in self._folder.iterdir() if entry.is_file())
        except OSError as error:
            raise unreadable(path, error) from error

    def read(self, name: str, most: int) -> bytes:
        place = self._meta if name == META else self._folder / name
        try:
            if place.stat().st_size > most:
                raise bad_file(self._path, f"its part {name} is larger than {most:,} bytes")
            return place.read_bytes()
        except OSError as error:
            raise bad_file(self._path, f"its part {name} cannot be read ({error.strerror})") from error

    def close(self) -> None:
        """Do nothing; no file is open."""


class _ZipFiles:
    """The members of a zip file, never unpacked to disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.size = path.stat().st_size
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise unreadable(path, error) from error
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise bad_file(path, f"its zip directory is damaged ({error})") from error
        # Some tools put the files in a folder inside the zip.
        metas = [name for name in self._zip.namelist() if PurePosixPath(name).name == META]
        self._root = min(metas, key=len)[: -len(META)] if metas else ""

    def read(self, name: str, most: int) -> bytes:
        try:
            info = self._zip.getinfo(self._root + name)
        except KeyError as error:
            raise bad_file(self._path, f"its part {name} is missing") from error
        if info.file_size > most:
            raise bad_file(self._path, f"its part {name} unpacks to {info.file_size:,} bytes", info.header_offset)
        try:
            with self._zip.open(info) as stream:
                return stream.read(most)  # zipfile stops at the size in the directory
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise bad_file(self._path, f"its part {name} is damaged ({error})", info.header_offset) from error

    def close(self) -> None:
        self._zip.close()


class _Meta:
    """The content of `meta.json`, with checks of each field."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path = path
        try:
            self._values = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise bad_file(path, f"its {META} is not valid JSON ({error})") from error
        if not isinstance(self._values, dict) or not isinstance(self._values.get("means"), dict):
            raise bad_file(path, f"its {META} does not describe a SOG")
        version = self._values.get("version", 1)
        if version not in (1, 2):
            raise bad_file(
                path, f"SOG version {str(version)[:20]} is not supported", None, "Export it as SOG version 2"
            )
        self.version: int = version
        self.count = self._count()

    def _count(self) -> int:
        if self.version == 2:
            count = self._values.get("count", 0)
        else:
            shape = self._values["means"].get("shape")
            count = shape[0] if isinstance(shape, list) and shape else 0
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise bad_file(self._path, f"its {META} gives {str(count)[:20]} as the number of Gaussians")
        if count == 0:
            raise UserError(
                f"The file {self._path.name} has no Gaussians",
                f"its {META} declares 0 Gaussians",
                fix="Export it again from the trainer",
                code=ErrorCode.BAD_FILE,
            )
        return count

    def has(self, part: str) -> bool:
        """Whether a part exists."""
        return isinstance(self._values.get(part), dict)

    def names(self, part: str, count: int) -> list[str]:
        """The file names of a part; refuses names outside the folder."""
        names = self._part(part).get("files")
        if not isinstance(names, list) or len(names) < count or not all(isinstance(name, str) for name in names):
            raise bad_file(self._path, f"its {META} does not name {count} files for {part}")
        for name in names:
            if name != PurePosixPath(name).name or "\\" in name or ":" in name or name in ("", ".", ".."):
                raise bad_file(self._path, f"the file name {name!r} leads out of its folder")
        return names[:count]

    def numbers(self, part: str, key: str, count: int) -> np.ndarray:
        """[count] float64 values of a part."""
        values = self._part(part).get(key)
        values = [values] * count if isinstance(values, int | float) else values
        try:
            numbers = np.array(values, np.float64)
        except (ValueError, TypeError, OverflowError):
            numbers = np.empty(0)
        if numbers.ndim != 1 or len(numbers) < count:
            raise bad_file(self._path, f"its {META} does not have {count} numbers as {key} of {part}")
        return numbers[:count]

    def degree(self) -> int:
        """The number of bands of the higher harmonics."""
        bands = self._part("shN").get("bands")
        if bands not in (1, 2, 3, 4):
            raise bad_file(self._path, f"its {META} gives {str(bands)[:20]} bands of spherical harmonics")
        return int(bands)

    def _part(self, part: str) -> Mapping[str, Any]:
        values = self._values.get(part)
        if not isinstance(values, dict):
            raise bad_file(self._path, f"its {META} has no {part}")
        return values


class _Pictures:
    """The images of a SOG, decoded on demand."""

    def __init__(self, path: Path, files: _FolderFiles | _ZipFiles, meta: _Meta) -> None:
        self._path, self._files, self._meta = path, files, meta
        numbers = _NUMBERS + (_HARMONICS if meta.has("shN") else 0)
        check_expansion(path, 4 * numbers * meta.count, files.size, f"a {META} with {meta.count} Gaussians")

    def pixels(self, part: str, count: int = 1) -> list[np.ndarray]:
        """The pixels [N,4] uint8 of a part, one pixel per Gaussian."""
        pictures = [self.picture(name).reshape(-1, 4) for name in self._meta.names(part, count)]
        for pixels in pictures:
            if len(pixels) < self._meta.count:
                raise bad_file(self._path, f"an image of {part} has fewer pixels than Gaussians")
        return [pixels[: self._meta.count] for pixels in pictures]

    def picture(self, name: str) -> np.ndarray:
        """[H,W,4] uint8."""
        data = self._files.read(name, self._files.size * 100 + (1 << 20))
        size = picture_size(data)
        if size is None:
            raise bad_file(self._path, f"its part {name} is not a WebP image")
        check_expansion(self._path, 4 * size[0] * size[1], self._files.size, f"the image {name} of {size} pixels")
        return decode_picture(self._path, name, data)

    def palette(self, degree: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Indices [N] into a palette of harmonics, and the palette [P,K-1,3] uint8.

        Args:
            degree: degree of the harmonics; None to derive it from the width of the image, as in version 1.
        """
        centroids = self.picture(self._meta.names("shN", 2)[0])
        labels = self._labels()
        height, width = centroids.shape[:2]
        widths = {_PALETTE_COLUMNS * (k - 1): k - 1 for k in SH_COEFFICIENTS[1:]}
        rest = widths.get(width, 0) if degree is None else SH_COEFFICIENTS[degree] - 1
        if not rest or width != _PALETTE_COLUMNS * rest:
            raise bad_file(self._path, f"its palette of harmonics is {width} pixels wide, which matches no degree")
        palette = centroids[:, :, :3].reshape(height * _PALETTE_COLUMNS, rest, 3)
        if labels.max() >= len(palette):
            raise bad_file(self._path, f"a label of its harmonics exceeds the palette of {len(palette)} entries")
        return labels, palette

    def _labels(self) -> np.ndarray:
        pixels = self.picture(self._meta.names("shN", 2)[1]).reshape(-1, 4)
        if len(pixels) < self._meta.count:
            raise bad_file(self._path, "an image of shN has fewer pixels than Gaussians")
        pixels = pixels[: self._meta.count].astype(np.uint16)
        return pixels[:, 0] | pixels[:, 1] << 8


def _decode_2(meta: _Meta, pictures: _Pictures) -> Decoded:
    """Decode version 2, which uses tables."""
    color = pictures.pixels("sh0")[0]
    dc = meta.numbers("sh0", "codebook", 256).astype(np.float32)[color[:, :3]]
    rest = None
    if meta.has("shN"):
        labels, palette = pictures.palette(meta.degree())
        rest = meta.numbers("shN", "codebook", 256).astype(np.float32)[palette][labels]
    table = _exp(meta.numbers("scales", "codebook", 256))
    scales = table[pictures.pixels("scales")[0][:, :3]]
    opacities = (BYTES / 255).astype(np.float32)[color[:, 3]]
    return Decoded(_means(meta, pictures), _quats(pictures), scales, opacities, _join(dc, rest))


def _decode_1(meta: _Meta, pictures: _Pictures) -> Decoded:
    """Decode version 1, which uses bounds."""
    color = _lerp(meta, "sh0", pictures.pixels("sh0")[0], 255)
    rest = None
    if meta.has("shN"):
        labels, palette = pictures.palette(None)
        low, high = (meta.numbers("shN", key, 1)[0] for key in ("mins", "maxs"))
        rest = (low + (high - low) * BYTES / 255).astype(np.float32)[palette][labels]
    scales = _exp(_lerp(meta, "scales", pictures.pixels("scales")[0][:, :3], 255))
    opacities = (1 / (1 + np.exp(-color[:, 3]))).astype(np.float32)
    return Decoded(_means(meta, pictures), _quats(pictures), scales, opacities, _join(color[:, :3], rest))


def _lerp(meta: _Meta, part: str, values: np.ndarray, steps: int) -> np.ndarray:
    """[N,C] float64, interpolated between the bounds of a part."""
    low, high = (meta.numbers(part, key, values.shape[1]) for key in ("mins", "maxs"))
    return low + (high - low) * (values / steps)


def _exp(values: np.ndarray) -> np.ndarray:
    return np.exp(values).astype(np.float32)


def _means(meta: _Meta, pictures: _Pictures) -> np.ndarray:
    low, high = (pixels[:, :3].astype(np.uint16) for pixels in pictures.pixels("means", 2))
    values = _lerp(meta, "means", low | high << 8, 65535)
    return (np.sign(values) * np.expm1(np.abs(values))).astype(np.float32)


def _quats(pictures: _Pictures) -> np.ndarray:
    pixels = pictures.pixels("quats")[0]
    parts = ((BYTES / 255 * 2 - 1) * np.sqrt(0.5)).astype(np.float32)[pixels[:, :3]]
    known = pixels[:, 3] >= 252
    quats = join_largest(parts, np.where(known, pixels[:, 3] - 252, 0).astype(np.int8))
    quats[~known] = (1, 0, 0, 0)
    return quats


def _join(dc: np.ndarray, rest: np.ndarray | None) -> np.ndarray:
    if rest is None:
        return dc[:, None].astype(np.float32)
    return np.concatenate([dc[:, None], rest], axis=1, dtype=np.float32)

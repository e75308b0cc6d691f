"""Damaged, lying and hostile files: one kind of error, with a reason, in bounded memory; never a crash."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blender_saga.errors import UserError
from blender_saga.gaussians import files
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.formats.registry import WriteOptions, read_splat, write_splat
from blender_saga.gaussians.ply import read_ply, write_ply
from tests.helpers.format_clouds import SPLATS, random_cloud
from tests.unit.test_formats_layouts import ksplat_bytes, ksplat_cloud, sog_1, spz_bytes

LIMIT = 100 << 20  # bytes that reading a small file may take at its peak


def zipped(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return stream.getvalue()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small sound file of every format."""
    folder = tmp_path_factory.mktemp("samples")
    cloud = random_cloud(40, 1)
    for name in ("a.ply", "a.compressed.ply", "a.splat", "a.glb", "a.spz"):
        write_splat(folder / name, cloud)
    found = {file.name: file.read_bytes() for file in folder.iterdir()}
    found["old.spz"] = gzip.compress(spz_bytes(cloud, 2))
    found |= {f"{level}.ksplat": ksplat_bytes(ksplat_cloud(1), level) for level in (0, 1)}
    text = b"ply\nformat ascii 1.0\nelement vertex 2\n"
    names = [*"xyz", "opacity", *(f"{n}_{i}" for n in ("f_dc", "scale", "rot") for i in range(3)), "rot_3"]
    text += "".join(f"property float {name}\n" for name in names).encode() + b"end_header\n"
    found["ascii.ply"] = text + (b"0.5 " * 13 + b"1\n") * 2
    if files.zstd() is not None:
        write_splat(folder / "four.spz", cloud, WriteOptions(spz_version=4))
        found["four.spz"] = (folder / "four.spz").read_bytes()
    pictures = tmp_path_factory.mktemp("sog")
    sog_1(pictures, 1)
    found["a.sog"] = zipped(pictures)
    if SPLATS.exists():
        khr = SPLATS / "formats/khr_conformance_matrix.glb"
        points = SPLATS / "formats/test-splat.3-points-from-train.ply"
        found |= {"khr.glb": khr.read_bytes(), "points.ply": points.read_bytes()}
    return found


def outcome(path: Path, data: bytes) -> UserError | None:
    """Read a file; anything but a sound cloud or a UserError fails the test."""
    path.write_bytes(data)
    try:
        loaded = read_splat(path)
    except UserError as error:
        assert error.why and error.what and error.code in ("bad_file", "file", "missing", "user"), repr(error)
        return error
    assert 0 < len(loaded.cloud) <= loaded.file_count
    for column in ("means", "quats", "scales", "opacities", "sh"):
        assert np.isfinite(getattr(loaded.cloud, column)).all(), column
    return None


def test_every_sample_is_sound(samples: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in samples.items():
        assert outcome(tmp_path / "a.bin", data) is None, name


# --- fuzz ----------------------------------------------------------------------------------------------------------

FUZZ = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@FUZZ
@given(data=st.data())
def test_mutated_files_give_a_cloud_or_a_reason(samples: dict[str, bytes], tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(samples)))
    content = bytearray(samples[name])
    header = min(len(content), 400) if not name.endswith("ksplat") else 5200
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["flip", "number", "cut", "drop", "double"]))
        at = data.draw(st.one_of(st.integers(0, header), st.integers(0, len(content) - 1))) % max(1, len(content))
        if kind == "flip":
            content[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
        elif kind == "number":
            value = data.draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0x7F800000, 0x7FC00000]))
            content[at : at + 4] = struct.pack("<I", value)
        elif kind == "cut":
            del content[max(1, at) :]
        elif kind == "drop":
            del content[at : at + data.draw(st.integers(1, 64))]
        else:
            content[at:at] = content[at : at + data.draw(st.integers(1, 64))]
        if not content:
            return
    outcome(tmp_path / "a.bin", bytes(content))


@FUZZ
@given(st.binary(max_size=300), st.sampled_from([b"", b"ply\n", b"NGSP", b"glTF", b"PK\x03\x04", b"\x1f\x8b", b"{"]))
def test_arbitrary_bytes_give_a_reason(tmp_path: Path, content: bytes, mark: bytes) -> None:
    outcome(tmp_path / "a.bin", mark + content)


def test_files_cut_off_at_any_byte(samples: dict[str, bytes], tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    for name, content in samples.items():
        places = {0, 1, 3, 4, 12, 20, 31, len(content) - 1, *random.integers(0, len(content), 12).tolist()}
        for place in sorted(places):
            error = outcome(tmp_path / "a.bin", content[:place])
            whole_rows = name == "a.splat" and place % 32 == 0 and place
            tail = name == "ascii.ply" and place == len(content) - 1  # only the last line break is gone
            assert error is not None or whole_rows or tail, (name, place)


# --- headers that lie ----------------------------------------------------------------------------------------------


def patched(content: bytes, at: int, value: int, size: int = 4) -> bytes:
    return content[:at] + value.to_bytes(size, "little") + content[at + size :]


def gz(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda content: gzip.compress(change(gzip.decompress(content)))


def json_of_glb(content: bytes, old: bytes, new: bytes) -> bytes:
    size = struct.unpack_from("<I", content, 12)[0]
    text = content[20 : 20 + size]
    assert old in text
    text = text.replace(old, new)
    text += b" " * (-len(text) % 4)
    return (
        content[:8]
        + struct.pack("<2I", len(content) - size + len(text), len(text))
        + b"JSON"
        + text
        + content[20 + size :]
    )


HUGE = 0x7FFFFFFF
LIES: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "PLY count": (
        "a.ply",
        lambda c: c.replace(b"vertex 40", b"vertex 2147483647"),
        "only 40 exist; the file ends at byte",
    ),
    "PLY count beyond 64 bits": (
        "a.ply",
        lambda c: c.replace(b"vertex 40", b"vertex " + b"9" * 40),
        "only 40 exist",
    ),
    "PLY negative count": ("a.ply", lambda c: c.replace(b"vertex 40", b"vertex -4"), "line 3 of its header"),
    "ascii count": ("ascii.ply", lambda c: c.replace(b"vertex 2", b"vertex 99999999999"), "do not fit into"),
    "chunk count": ("a.compressed.ply", lambda c: c.replace(b"chunk 1", b"chunk 9"), "it has 9 chunks"),
    "both counts": (
        "a.compressed.ply",
        lambda c: (
            c.replace(b"chunk 1", b"chunk 8388608")
            .replace(b"x 40", b"x 2147483648")
            .replace(b"sh 40", b"sh 2147483648")
        ),
        "at byte .*should have",
    ),
    "SPZ count": ("a.spz", gz(lambda c: patched(c, 8, HUGE)), "at byte 8, a header with"),
    "SPZ count, plausible": ("a.spz", gz(lambda c: patched(c, 8, 60)), "the unpacked data ends there"),
    "SPZ fewer": ("a.spz", gz(lambda c: patched(c, 8, 4)), "does not end where it should"),
    "SPZ version": ("a.spz", gz(lambda c: patched(c, 4, 9)), "at byte 4, SPZ version 9 is not supported"),
    "SPZ degree": ("a.spz", gz(lambda c: patched(c, 12, 7, 1)), "at byte 12, spherical harmonics of degree 7"),
    "SPZ fraction": ("a.spz", gz(lambda c: patched(c, 13, 60, 1)), "at byte 13"),
    "ksplat sections": ("0.ksplat", lambda c: patched(c, 4, HUGE), "at byte 4|unlike any supported format"),
    "ksplat section count": (
        "0.ksplat",
        lambda c: patched(patched(c, 5120, HUGE), 5124, HUGE),
        "section 1 should have",
    ),
    "ksplat buckets": ("1.ksplat", lambda c: patched(c, 5120 + 12, HUGE), "should have 7 Gaussians, but the file ends"),
    "ksplat level": ("0.ksplat", lambda c: patched(c, 20, 3, 2), "unlike any supported format"),
    "glTF count": ("a.glb", lambda c: json_of_glb(c, b'"count":40', b'"count":41'), "has 41 rows"),
    "glTF huge count": (
        "a.glb",
        lambda c: json_of_glb(c, b'"count":40', b'"count":2000000000'),
        "1 primitives needs",
    ),
    "glTF no data": ("a.glb", lambda c: json_of_glb(c, b'"bufferView":2,', b""), "has no data"),
    "glTF another count": (
        "a.glb",
        lambda c: json_of_glb(
            c, b'"bufferView":2,"componentType":5126,"count":40', b'"bufferView":2,"componentType":5126,"count":39'
        ),
        "39 rows for 40 Gaussians",
    ),
    "glTF view": ("a.glb", lambda c: json_of_glb(c, b'"byteLength":480', b'"byteLength":4800000'), "buffer view"),
    "glTF length": ("a.glb", lambda c: patched(c, 12, HUGE), "at byte 8"),
    "glTF instances": (
        "a.glb",
        lambda c: json_of_glb(
            json_of_glb(
                c, b'"scenes":[{"nodes":[0]}]', b'"scenes":[{"nodes":' + str(list(range(20_000))).encode() + b"}]"
            ),
            b'"nodes":[{"mesh":0}]',
            b'"nodes":[' + b",".join([b'{"mesh":0}'] * 20_000) + b"]",
        ),
        "more than 10,000 splat primitives",
    ),
    "glTF cycle": (
        "a.glb",
        lambda c: json_of_glb(c, b'"nodes":[{"mesh":0}]', b'"nodes":[{"children":[0]}]'),
        "own parent",
    ),
    "glTF without splats": (
        "a.glb",
        lambda c: json_of_glb(c, b'"extensions":{"KHR', b'"extensions":{"KHX'),
        "no primitive",
    ),
    "glTF address": (
        "a.glb",
        lambda c: json_of_glb(c, b'"buffers":[{', b'"buffers":[{"uri":"../../secret.bin",'),
        "leads out",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_lying_headers_are_refused_in_little_memory(samples: dict[str, bytes], tmp_path: Path, lie: str) -> None:
    sample, change, reason = LIES[lie]
    path = tmp_path / "a.bin"
    path.write_bytes(change(samples[sample]))
    assert path.read_bytes() != samples[sample]
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=reason):
            read_splat(path)
        assert tracemalloc.get_traced_memory()[1] < LIMIT
    finally:
        tracemalloc.stop()


def archive_of(meta: dict, picture: bytes) -> bytes:
    """A SOG that has the same content for every picture."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.json", json.dumps(meta))
        for name in "lusqc":
            archive.writestr(f"{name}.webp", picture)
    return stream.getvalue()


def bombs(folder: Path) -> dict[str, bytes]:
    """Small files that unpack to gigabytes."""
    count = 40_000_000
    head = struct.pack("<4s2I4B", b"NGSP", 3, count, 0, 12, 0, 0)
    found = {"gzip": gzip.compress(head + bytes(1 << 26), 9)}  # and 700 MB more are announced
    if files.zstd() is not None:
        packed = files.zstd().compress(bytes(1 << 26))
        table = b"".join(struct.pack("<2Q", len(packed), size * count) for size in (9, 1, 3, 3, 4))
        found["zstd"] = (
            head.replace(b"\3\0\0\0", b"\4\0\0\0", 1)[:15] + struct.pack("<BI12x", 5, 32) + table + packed * 5
        )
    sog_1(folder, 0)
    meta = json.loads((folder / "meta.json").read_text())
    blank = b"RIFF\x20\0\0\0WEBPVP8L\x10\0\0\0\x2f" + struct.pack("<I", 16382 | 16382 << 14) + bytes(20)
    found["zip"] = archive_of(meta, bytes(1 << 26))
    found["picture"] = archive_of(meta, blank)
    meta["means"]["shape"][0] = 10**9
    found["count"] = archive_of(meta, blank)
    return found


def test_bombs_are_refused_in_little_memory(tmp_path: Path) -> None:
    (tmp_path / "sog").mkdir()
    for name, content in bombs(tmp_path / "sog").items():
        assert len(content) < 1 << 20, name
        (tmp_path / "a.bin").write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(UserError, match=r"needs .* bytes from|unpacks to"):
                read_splat(tmp_path / "a.bin")
            assert tracemalloc.get_traced_memory()[1] < LIMIT, name
        finally:
            tracemalloc.stop()


# --- numbers that are none -----------------------------------------------------------------------------------------


def test_nan_and_inf_are_left_out_and_counted_or_kept_on_request(tmp_path: Path) -> None:
    cloud = random_cloud(10, 1)
    means, sh, scales = cloud.means.copy(), cloud.sh.copy(), cloud.scales.copy()
    means[1, 0], sh[4, 2, 1], scales[7, 2] = np.nan, np.inf, np.nan
    write_ply(
        tmp_path / "a.ply", GaussianCloud(means, cloud.quats, scales, cloud.opacities, sh), {"mark": np.arange(10)}
    )
    loaded = read_splat(tmp_path / "a.ply")
    left = [0, 2, 3, 5, 6, 8, 9]
    np.testing.assert_array_equal(np.flatnonzero(loaded.kept), left)
    np.testing.assert_array_equal(loaded.extras["mark"], left)
    assert len(loaded.cloud) == 7 and loaded.file_count == 10 and len(loaded.rows) == 7
    assert "3 of 10 Gaussians were left out" in loaded.warnings[0]
    kept = read_splat(tmp_path / "a.ply", keep_invalid=True)
    assert len(kept.cloud) == 10 and kept.kept is None and "kept, as requested" in kept.warnings[0]
    assert np.isnan(kept.cloud.means[1, 0]) and np.isinf(kept.cloud.sh[4, 2, 1])


def test_large_finite_numbers_are_not_taken_for_infinite(tmp_path: Path) -> None:
    cloud = random_cloud(3, 0)
    means = np.full((3, 3), 3e38, np.float32)  # their sum is beyond float32
    write_ply(tmp_path / "a.ply", GaussianCloud(means, cloud.quats, cloud.scales, cloud.opacities, cloud.sh))
    assert len(read_splat(tmp_path / "a.ply").cloud) == 3


def test_rotations_of_length_zero_become_none_and_are_told(tmp_path: Path) -> None:
    cloud = random_cloud(5, 0)
    quats = cloud.quats.copy()
    quats[2] = 0
    cloud = GaussianCloud(cloud.means, quats, cloud.scales, cloud.opacities, cloud.sh)
    for name in ("a.ply", "a.glb"):
        write_splat(tmp_path / name, cloud)
        loaded = read_splat(tmp_path / name)
        assert "1 Gaussians had an invalid rotation" in loaded.warnings[0]
    np.testing.assert_array_equal(read_ply(tmp_path / "a.ply").cloud.quats[2], [1, 0, 0, 0])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"hello world, this is no splat at all", "unlike any supported format"),
        (
            b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nend_header\n1\n2\n3\n",
            "a mesh or a plain point",
        ),
        (b'{"asset": {"version": "2.0"}}', "no primitive"),
        (b'{"asset": {}, "nodes": 2.5}', "no primitive"),
        (b'{"asset": {}, "means": {"shape": []}}', "declares 0"),
        (b'{"one": 1}', "neither glTF nor"),
        (b"[1, 2]", "unlike any supported format"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(UserError, match=reason):
        read_splat(tmp_path / "a.bin")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file or directory"):
        read_splat(tmp_path / "nothing.ply")
    with pytest.raises(UserError, match=r"the folder contains no meta\.json"):
        read_splat(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in its file system")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ply")
    with pytest.raises(UserError, match="it is not a regular file"):
        read_splat(tmp_path / "pipe.ply")


def test_zstd_that_asks_for_a_huge_window_is_refused(tmp_path: Path) -> None:
    """A stream of a few bytes may ask a decoder for 128 MB before it says anything."""
    zstandard = pytest.importorskip("zstandard", reason="zstandard writes the odd stream")
    write_splat(tmp_path / "a.spz", random_cloud(40, 0), WriteOptions(spz_version=4))
    content = (tmp_path / "a.spz").read_bytes()
    wide = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=0)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    first = packer.compress(bytes(9 * 40)) + packer.flush()
    table = struct.pack("<2Q", len(first), 9 * 40) + content[48 : 32 + 16 * 5]
    rest = content[32 + 16 * 5 + struct.unpack_from("<Q", content, 32)[0] :]
    error = outcome(tmp_path / "b.spz", content[:32] + table + first + rest)
    assert error is not None and "zstd data is damaged" in error.why

"""Layouts that no shared file has, written here byte by byte from their descriptions, one Gaussian at a time."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from blender_saga.errors import UserError
from blender_saga.gaussians import files
from blender_saga.gaussians.axes import axes_matrix, change_axes
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.formats import images
from blender_saga.gaussians.formats.registry import WriteOptions, read_splat, write_splat
from blender_saga.gaussians.sh import colors
from blender_saga.gaussians.transforms import transform_cloud
from tests.helpers.format_clouds import assert_close, assert_equal, random_cloud, same_shapes

C0 = 0.28209479177387814


# --- SPZ -----------------------------------------------------------------------------------------------------------


def spz_bytes(cloud: GaussianCloud, version: int) -> bytes:
    """SPZ 1 or 2 of a cloud that is given in SPZ's own axes; struct and loops only."""
    n, degree = len(cloud), cloud.sh_degree
    out = struct.pack("<4sIIBBBB", b"NGSP", version, n, degree, 12, 0, 0)
    for value in cloud.means.ravel():
        fixed = struct.pack("<e", value) if version == 1 else struct.pack("<i", round(float(value) * 4096))[:3]
        out += fixed
    out += bytes(round(float(a) * 255) for a in cloud.opacities)
    out += bytes(min(255, max(0, round(float(c) * 0.15 * 255 + 127.5))) for c in cloud.sh[:, 0].ravel())
    out += bytes(min(255, max(0, round((np.log(float(s)) + 10) * 16))) for s in cloud.scales.ravel())
    for w, x, y, z in cloud.quats:
        out += bytes(round(float(v) * (127.5 if w >= 0 else -127.5) + 127.5) for v in (x, y, z))
    return out + bytes(min(255, max(0, round(float(v) * 128) + 128)) for v in cloud.sh[:, 1:].ravel())


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("degree", range(4))
def test_old_spz(tmp_path: Path, version: int, degree: int) -> None:
    cloud = random_cloud(40, degree)
    (tmp_path / "a.spz").write_bytes(gzip.compress(spz_bytes(cloud, version)))
    loaded = read_splat(tmp_path / "a.spz")
    assert loaded.version == str(version)
    wanted = change_axes(cloud, "RUB", "RDF")
    steps = {"means": 2**-11 if version == 1 else 2**-13, "logs": 1 / 32 + 1e-5, "opacities": 0.51 / 255}
    assert_close(loaded.cloud, wanted, **steps, dc=0.0131, rest=0.51 / 128)
    same_shapes(loaded.cloud, wanted, atol=0.15)  # 8 bits leave up to 5 degrees where w is small


def test_spz_extension_records(tmp_path: Path) -> None:
    plain = spz_bytes(random_cloud(3, 0), 2)
    flagged = plain[:14] + b"\x02" + plain[15:]
    unknown = struct.pack("<2I5s", 0x12340001, 5, b"hello")
    (tmp_path / "a.spz").write_bytes(gzip.compress(flagged + unknown + struct.pack("<3I", 0xADBE0003, 4, 6)))
    (tmp_path / "b.spz").write_bytes(gzip.compress(plain))
    as_rdf, as_rub = (read_splat(tmp_path / name).cloud for name in ("a.spz", "b.spz"))
    np.testing.assert_array_equal(as_rdf.means, as_rub.means * [1, -1, -1])
    (tmp_path / "c.spz").write_bytes(gzip.compress(flagged + struct.pack("<3I", 0xADBE0003, 4, 99)))
    with pytest.raises(UserError, match="axes have the unknown number 99"):
        read_splat(tmp_path / "c.spz")


@pytest.mark.skipif(files.zstd() is None, reason="this Python has no zstd")
def test_spz_4_says_what_to_install_where_zstd_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_splat(tmp_path / "a.spz", random_cloud(5, 1), WriteOptions(spz_version=4))
    assert read_splat(tmp_path / "a.spz").version == "4"
    from blender_saga.gaussians.formats import spz, spz_write

    monkeypatch.setattr(spz, "zstd", lambda: None)
    monkeypatch.setattr(spz_write, "zstd", lambda: None)
    with pytest.raises(UserError, match="Install the package zstandard"):
        read_splat(tmp_path / "a.spz")
    with pytest.raises(UserError, match="Choose version 3"):
        write_splat(tmp_path / "b.spz", random_cloud(5, 1), WriteOptions(spz_version=4))


# --- ksplat --------------------------------------------------------------------------------------------------------

BUCKETS = ((0.0, 0.0, 0.0), (10.0, 0.0, -5.0), (0.0, 20.0, 1.0))
OWNERS = (0, 0, 1, 1, 2, 2, 2)  # two full buckets of 2, one partial of 3: buckets as the viewer fills them


def ksplat_cloud(degree: int) -> GaussianCloud:
    """Seven Gaussians near their buckets."""
    cloud = random_cloud(7, degree)
    means = cloud.means + np.array(BUCKETS)[list(OWNERS)]
    return GaussianCloud(means, cloud.quats, cloud.scales, cloud.opacities, cloud.sh)


def ksplat_bytes(cloud: GaussianCloud, level: int) -> bytes:
    """Seven Gaussians, one empty section before theirs; centers lie within 2.5 of their bucket's."""
    degree = cloud.sh_degree
    head = struct.pack("<BBHIIIIHH3f2f", 0, 1, 0, 2, 2, 7, 7, level, 0, 0, 0, 0, -2.0, 2.0).ljust(4096, b"\0")
    empty = struct.pack("<4IfHHIIIIH", 0, 0, 256, 0, 5.0, 12, 0, 32767, 0, 0, 0, 0).ljust(1024, b"\0")
    filled = struct.pack("<4IfHHIIIIH", 7, 7, 2, 3, 5.0, 12, 0, 32767, 0, 2, 1, degree).ljust(1024, b"\0")
    out = head + empty + filled + struct.pack("<I", 3) + b"".join(struct.pack("<3f", *bucket) for bucket in BUCKETS)
    number = "f" if level == 0 else "e"
    for i, owner in enumerate(OWNERS):
        if level == 0:
            out += struct.pack("<3f", *cloud.means[i])
        else:
            steps = [(float(m) - b) * 32767 / 2.5 + 32767 for m, b in zip(cloud.means[i], BUCKETS[owner], strict=True)]
            out += struct.pack("<3H", *(round(step) for step in steps))
        out += struct.pack(f"<7{number}", *cloud.scales[i], *cloud.quats[i])
        color = [*(0.5 + C0 * float(c) for c in cloud.sh[i, 0]), float(cloud.opacities[i])]
        out += bytes(min(255, max(0, round(c * 255))) for c in color)
        for band in range(1, degree + 1):
            for value in cloud.sh[i, band**2 : (band + 1) ** 2].T.ravel():
                out += bytes([round((float(value) + 2) / 4 * 255)]) if level == 2 else struct.pack(f"<{number}", value)
    return out


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("degree", range(4))
def test_ksplat(tmp_path: Path, level: int, degree: int) -> None:
    cloud = ksplat_cloud(degree)
    (tmp_path / "a.ksplat").write_bytes(ksplat_bytes(cloud, level))
    loaded = read_splat(tmp_path / "a.ksplat")
    assert (loaded.format, loaded.version, loaded.warnings) == ("ksplat", "0.1", ())
    near = {"means": 2.5 / 32767, "logs": 2**-10, "angle": 0.1} if level else {"means": 0, "logs": 1e-6, "angle": 1e-4}
    rest = (0, 2**-11, 0.51 * 4 / 255)[level]
    assert_close(loaded.cloud, cloud, **near, opacities=0.51 / 255, dc=0.51 / 255 / C0, rest=rest)


# --- SOG version 1 -------------------------------------------------------------------------------------------------


def picture(pixels: np.ndarray) -> bytes:
    """[H,W,4] uint8 as lossless WebP."""
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures of a SOG")
    stream = io.BytesIO()
    image.fromarray(pixels).save(stream, "WEBP", lossless=True, exact=True)
    return stream.getvalue()


def sog_1(folder: Path, degree: int) -> GaussianCloud:
    """Write six Gaussians as SOG 1 into a folder; returns what they mean."""
    random = np.random.default_rng(degree)
    pixel = {name: random.integers(0, 256, (2, 3, 4)).astype(np.uint8) for name in ("l", "u", "s", "q", "c")}
    pixel["q"][..., 3] = 252 + random.integers(0, 4, (2, 3))
    rest = (degree + 1) ** 2 - 1
    meta = {
        "means": {"shape": [6, 3], "mins": [-1, -2, 0], "maxs": [1, 2, 3], "files": ["l.webp", "u.webp"]},
        "scales": {"mins": [-5, -6, -7], "maxs": [-1, -2, -3], "files": ["s.webp"]},
        "quats": {"files": ["q.webp"]},
        "sh0": {"mins": [-1, -1, -1, -4], "maxs": [1, 2, 3, 4], "files": ["c.webp"]},
    }
    sh = np.zeros((6, rest + 1, 3))
    flat = {name: values.reshape(6, 4).astype(float) for name, values in pixel.items()}
    sh[:, 0] = -1 + np.array([2, 3, 4]) * flat["c"][:, :3] / 255
    if degree:
        palette = random.integers(0, 256, (2, 64 * rest, 4)).astype(np.uint8)
        labels = random.integers(0, 128, 6)
        marks = np.stack([labels % 256, labels // 256, labels * 0, labels * 0 + 255], 1).astype(np.uint8)
        meta["shN"] = {"mins": -0.5, "maxs": 0.5, "files": ["p.webp", "n.webp"]}
        pixel |= {"p": palette, "n": marks.reshape(2, 3, 4)}
        for i, label in enumerate(labels):
            row, column = label // 64, label % 64 * rest
            sh[i, 1:] = palette[row, column : column + rest, :3] / 255.0 - 0.5
    for name, values in pixel.items():
        (folder / f"{name}.webp").write_bytes(picture(values))
    (folder / "meta.json").write_text(json.dumps(meta))
    words = (flat["l"] + 256 * flat["u"])[:, :3] / 65535
    logs = np.array([-1, -2, 0]) + np.array([2, 4, 3]) * words
    quats = np.zeros((6, 4))
    for i, (a, b, c, tag) in enumerate(flat["q"]):
        parts = [(v / 255 * 2 - 1) / np.sqrt(2) for v in (a, b, c)]
        parts.insert(int(tag) - 252, np.sqrt(max(0, 1 - sum(p * p for p in parts))))
        quats[i] = parts
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    scales = np.exp(np.array([-5, -6, -7]) + 4 * flat["s"][:, :3] / 255)
    opacities = 1 / (1 + np.exp(4 - 8 * flat["c"][:, 3] / 255))
    return GaussianCloud(np.sign(logs) * (np.exp(np.abs(logs)) - 1), quats, scales, opacities, sh)


@pytest.mark.parametrize("degree", range(4))
def test_sog_1(tmp_path: Path, degree: int) -> None:
    wanted = sog_1(tmp_path, degree)
    loaded = read_splat(tmp_path)
    assert (loaded.format, loaded.version, loaded.cloud.sh_degree) == ("sog", "1", degree)
    assert_close(loaded.cloud, wanted, means=1e-5, logs=1e-5, angle=1e-3, opacities=1e-6, dc=1e-6, rest=1e-6)


def test_a_sog_whose_label_leaves_the_palette_is_refused(tmp_path: Path) -> None:
    sog_1(tmp_path, 1)
    (tmp_path / "n.webp").write_bytes(picture(np.full((2, 3, 4), 200, np.uint8)))
    with pytest.raises(UserError, match="exceeds the palette"):
        read_splat(tmp_path)


def test_sog_without_a_webp_reader_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sog_1(tmp_path, 0)
    wanted = read_splat(tmp_path).cloud
    pillow = images._pillow()[0]
    monkeypatch.setattr(images, "_pillow", lambda: [])
    with pytest.raises(UserError, match="Install the package pillow"):
        read_splat(tmp_path)
    images.use_reader(pillow)  # as the add-on hands in Blender's
    try:
        assert_equal(read_splat(tmp_path).cloud, wanted)
    finally:
        images.use_reader(None)


def test_picture_sizes_are_read_from_their_headers() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")
    for size in ((1, 1), (17, 300), (5000, 3)):
        for form, options in (("WEBP", {"lossless": True}), ("WEBP", {"lossless": False}), ("PNG", {})):
            for mode in ("RGB", "RGBA"):
                stream = io.BytesIO()
                image.new(mode, size, "red").save(stream, form, **options)
                assert images.picture_size(stream.getvalue()) == size
    assert images.picture_size(b"GIF89a" + bytes(40)) is None


# --- glTF ----------------------------------------------------------------------------------------------------------


def test_gltf_nodes_move_turn_and_scale_their_gaussians(tmp_path: Path) -> None:
    cloud = random_cloud(30, 3)
    write_splat(tmp_path / "a.glb", cloud)
    data = (tmp_path / "a.glb").read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    document, blob = json.loads(data[20 : 20 + size]), data[28 + size :]
    document["buffers"] = [{"uri": "data:application/octet-stream;base64," + base64.b64encode(blob).decode()}]
    half = float(np.sqrt(0.5))
    document["nodes"] = [
        {"translation": [1, 2, 3], "children": [1]},
        {"rotation": [0, 0, half, half], "scale": [2, 2, 2], "mesh": 0},
        {"mesh": 0, "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 0, 0, 1]},
    ]
    document["scenes"] = [{"nodes": [0, 2]}]
    (tmp_path / "b.gltf").write_text(json.dumps(document))
    back = read_splat(tmp_path / "b.gltf")
    assert (back.format, back.file_count) == ("gltf", 60)
    matrix = np.array([[0, -2, 0, 1], [2, 0, 0, 2], [0, 0, 2, 3], [0, 0, 0, 1.0]])
    first = transform_cloud(change_axes(cloud, "RDF", "LUF"), matrix)
    first = change_axes(first, "LUF", "RDF")
    assert_close(back.cloud.take(np.arange(30)), first, means=1e-5, logs=1e-5, angle=1e-3, opacities=0, rest=1e-5)
    np.testing.assert_allclose(back.cloud.means[30:], cloud.means - [5, 0, 0], atol=1e-6)


def test_gltf_with_spz_inside(tmp_path: Path) -> None:
    cloud = random_cloud(30, 2)
    write_splat(tmp_path / "a.spz", cloud)
    inner = {"KHR_gaussian_splatting_compression_spz_2": {"bufferView": 0}}
    primitive = {"attributes": {}, "mode": 0, "extensions": {"KHR_gaussian_splatting": {"extensions": inner}}}
    data = (tmp_path / "a.spz").read_bytes()
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "buffers": [{"uri": "a.spz", "byteLength": len(data)}],
        "bufferViews": [{"buffer": 0, "byteLength": len(data)}],
    }
    (tmp_path / "b.gltf").write_text(json.dumps(document))
    assert_equal(read_splat(tmp_path / "b.gltf").cloud, read_splat(tmp_path / "a.spz").cloud)


# --- axes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["RUB", "LUF", "LDB", "RDF"])
def test_axes_by_signs_are_exact_both_ways_and_agree_with_the_matrix(name: str) -> None:
    cloud = random_cloud(20, 4)
    there = change_axes(cloud, "RDF", name)
    assert_equal(change_axes(there, name, "RDF"), cloud)
    wide = np.eye(4)
    wide[:3, :3] = axes_matrix("RDF", name)
    slow = transform_cloud(cloud, wide)
    np.testing.assert_allclose(there.means, slow.means, atol=1e-6)
    np.testing.assert_allclose(there.sh, slow.sh, atol=2e-6)
    same_shapes(there, slow, atol=1e-6)


@pytest.mark.parametrize("name", ["RFU", "LBD", "RUF", "BLD"])
def test_a_gaussian_looks_the_same_in_any_axes(name: str) -> None:
    cloud = random_cloud(20, 3)
    there, eye = change_axes(cloud, "RDF", name), np.array([3.0, -2.0, 5.0])
    np.testing.assert_allclose(colors(there, axes_matrix("RDF", name) @ eye), colors(cloud, eye), atol=1e-5)


def test_zip_names_that_leave_the_archive_are_refused(tmp_path: Path) -> None:
    sog_1(tmp_path, 0)
    meta = json.loads((tmp_path / "meta.json").read_text())
    for name in ("../q.webp", "/etc/passwd", "..\\q.webp", "C:q.webp", "", ".."):
        meta["quats"]["files"] = [name]
        (tmp_path / "meta.json").write_text(json.dumps(meta))
        with zipfile.ZipFile(tmp_path / "a.sog", "w") as archive:
            for file in tmp_path.glob("*.*"):
                if file.suffix != ".sog":
                    archive.write(file, file.name)
        for place in (tmp_path, tmp_path / "a.sog"):
            with pytest.raises(UserError, match="leads out of its folder"):
                read_splat(place)

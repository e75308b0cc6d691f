"""Fuzz behind the wrapping: what is packed or JSON is unpacked, changed and packed again, so that checksums hold."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blender_saga.gaussians import files
from blender_saga.gaussians.formats.registry import WriteOptions, write_splat
from tests.helpers.format_clouds import random_cloud
from tests.unit.test_formats_bad_input import outcome
from tests.unit.test_formats_layouts import sog_1, spz_bytes

FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
NUMBERS = (0, 1, 255, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0x7F800000, 0x7FC00000)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from(["", "x", "../x", "VEC3"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "count"]), inner, max_size=2),
    max_leaves=4,
)


def changed_bytes(data: st.DataObject, content: bytes, header: int) -> bytes:
    """A few numbers in the header, or bytes anywhere, are others; now and then the end is missing."""
    out = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, header - 4) | st.integers(0, len(out) - 1))
        if data.draw(st.booleans()):
            out[at : at + 4] = struct.pack("<I", data.draw(st.sampled_from(NUMBERS)))
        else:
            out[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
    return bytes(out[: data.draw(st.just(len(out)) | st.integers(header, len(out)))])


def changed_json(data: st.DataObject, document: Any) -> Any:
    """A value somewhere in the document is another one, or is gone."""
    document = json.loads(json.dumps(document))
    for _ in range(data.draw(st.integers(1, 3))):
        place = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 3)):
                place = place[key]
                continue
            if data.draw(st.integers(0, 4)):
                place[key] = data.draw(JSON)
            else:
                del place[key]
            break
    return document


@FUZZ
@given(data=st.data())
def test_spz_behind_its_gzip(tmp_path: Path, data: st.DataObject) -> None:
    content = spz_bytes(random_cloud(12, data.draw(st.integers(0, 3))), data.draw(st.integers(1, 2)))
    outcome(tmp_path / "a.bin", gzip.compress(changed_bytes(data, content, 16), 1))


@pytest.mark.skipif(files.zstd() is None, reason="this Python has no zstd")
@FUZZ
@given(data=st.data())
def test_the_table_of_spz_4(tmp_path: Path, data: st.DataObject) -> None:
    write_splat(tmp_path / "a.spz", random_cloud(12, 1), WriteOptions(spz_version=4))
    outcome(tmp_path / "a.bin", changed_bytes(data, (tmp_path / "a.spz").read_bytes(), 128))


@FUZZ
@given(data=st.data())
def test_the_json_of_gltf(tmp_path: Path, data: st.DataObject) -> None:
    write_splat(tmp_path / "a.glb", random_cloud(12, 1))
    content = (tmp_path / "a.glb").read_bytes()
    size = struct.unpack_from("<I", content, 12)[0]
    text = json.dumps(changed_json(data, json.loads(content[20 : 20 + size]))).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4s4I", b"glTF", 2, len(content) - size + len(text), len(text), 0x4E4F534A)
    outcome(tmp_path / "a.bin", head + text + content[20 + size :])


@pytest.fixture(scope="module")
def sog(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What is in a SOG: its meta.json and its pictures."""
    folder = tmp_path_factory.mktemp("sog")
    sog_1(folder, 1)
    return json.loads((folder / "meta.json").read_text()), {p.name: p.read_bytes() for p in folder.glob("*.webp")}


@FUZZ
@given(data=st.data())
def test_the_meta_file_of_sog(
    sog: tuple[dict[str, Any], dict[str, bytes]], tmp_path: Path, data: st.DataObject
) -> None:
    meta, pictures = sog
    if data.draw(st.booleans()):  # the same pictures read as version 2
        table = {"codebook": [i / 256 for i in range(256)]}
        meta = meta | {"version": 2, "count": 6}
        meta |= {name: meta[name] | table for name in ("scales", "sh0", "shN")}
        meta["shN"] |= {"bands": 1}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("meta.json", json.dumps(changed_json(data, meta)))
        for name, content in pictures.items():
            archive.writestr(name, content)
    outcome(tmp_path / "a.bin", stream.getvalue())


def test_a_header_of_ten_thousands_of_properties_is_read_at_once(tmp_path: Path) -> None:
    """Its time must not grow with the square of their number: such a header took two minutes."""
    lines = b"".join(b"property char p%d\n" % i for i in range(50_000))
    content = b"ply\nformat binary_little_endian 1.0\nelement vertex 1\n" + lines + b"end_header\n" + bytes(50_000)
    error = outcome(tmp_path / "a.ply", content)
    assert error is not None and "mesh or a plain point cloud" in error.why

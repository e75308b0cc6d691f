"""The frame format: every message round-trips, and anything else is one clear WireError."""

from __future__ import annotations

import dataclasses
import json
import struct
import tracemalloc
import typing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import SH_COEFFICIENTS, GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire import codec, messages
from blender_saga.wire.codec import WireError, decode, encode
from blender_saga.wire.messages import (
    Click,
    Cluster,
    Done,
    LoadScene,
    ObjectPoints,
    Prompt,
    Selection,
    Unload,
    all_replies,
    all_requests,
)

ARRAYS = st.sampled_from(sorted(codec.DTYPES)).flatmap(
    lambda name: hnp.arrays(np.dtype(name), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
SCALARS = {
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(),
    str: st.text() | st.sampled_from(["", "\x00", "C:\\splats\\Küche.ply", "\udcff", "日本"]),
}


@st.composite
def clouds(draw: st.DrawFn) -> GaussianCloud:
    n, k = draw(st.integers(0, 4)), draw(st.sampled_from(SH_COEFFICIENTS))
    shapes = {"means": (n, 3), "quats": (n, 4), "scales": (n, 3), "opacities": (n,), "sh": (n, k, 3)}
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return GaussianCloud(**{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})


@st.composite
def views(draw: st.DrawFn) -> View:
    finite = st.floats(-1e6, 1e6)
    viewmat = draw(hnp.arrays(np.float64, (4, 4), elements=finite))
    K = draw(hnp.arrays(np.float64, (3, 3), elements=st.floats(0.5, 1e6)))
    size = st.integers(1, 10**6)
    return View(viewmat, K, draw(size), draw(size), draw(st.booleans()), draw(st.floats(allow_nan=False)))


def of_kind(kind: object) -> st.SearchStrategy:
    """Whatever an annotation allows."""
    if kind is np.ndarray:
        return ARRAYS
    if kind in SCALARS:
        return SCALARS[kind]
    if kind in (GaussianCloud, View):
        return clouds() if kind is GaussianCloud else views()
    if typing.get_origin(kind) is tuple:
        return st.lists(of_kind(typing.get_args(kind)[0]), max_size=3).map(tuple)
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{field.name: of_kind(hints[field.name]) for field in dataclasses.fields(kind)})


def same(a: object, b: object) -> bool:
    """Equal in type, dtype, shape and bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def frame_of(header: object, payload: bytes = b"") -> bytes:
    """A frame by the documented layout, whatever the header is."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + payload


def with_array(dtype: object, shape: object, payload: bytes = bytes(8)) -> bytes:
    """A Selection whose `bits` claim this dtype and shape."""
    described = {"dtype": dtype, "shape": shape}
    empty = {"dtype": "<f4", "shape": [0]}
    rest = {"count": 0, "total": 0, "scale": 0.0, "size_units": 0.0, "threshold": 0.0, "note": ""}
    rest["cleaned"] = dict.fromkeys(("floaters", "connected", "holes", "visible"), 0)
    fields = {"bits": described, "scores": empty, **rest}
    return frame_of({"id": 1, "type": "Selection", "fields": fields}, payload)


def a_click() -> Click:
    view = View(np.eye(4), np.eye(3), 64, 48)
    objects = (ObjectPoints(np.eye(4), np.arange(3, dtype=np.int32)), ObjectPoints(np.eye(4)))
    return Click("scene", (Prompt(view, np.zeros((1, 2), np.float32)),), objects)


@pytest.mark.parametrize("kind", [*all_requests(), *all_replies()], ids=lambda kind: kind.__name__)
def test_every_message_round_trips(kind: type) -> None:
    @settings(max_examples=25, deadline=None)
    @given(of_kind(kind), st.integers(0, codec.MAX_ID - 1))
    def check(message: object, message_id: int) -> None:
        decoded_id, decoded = decode(encode(message_id, message))
        assert decoded_id == message_id
        assert same(decoded, message)

    check()


def test_all_message_classes_are_known() -> None:
    classes = {c for c in vars(messages).values() if dataclasses.is_dataclass(c) and not issubclass(c, messages.Part)}
    assert classes - {GaussianCloud, View} == set(messages.MESSAGES.values())


def test_the_layout_is_as_documented() -> None:
    """Read by hand: length, JSON, raw little-endian arrays in the order of the header."""
    bits, scores = np.array([1, 2], np.uint8), np.array([0.5, -1.0], np.float32)
    frame = encode(7, Selection(bits, 2, 16, 0.5, 1.25, 0.75, scores, "note"))
    (length,) = struct.unpack_from("<I", frame)
    header = json.loads(frame[4 : 4 + length])
    assert (header["id"], header["type"]) == (7, "Selection")
    assert header["fields"]["bits"] == {"dtype": "|u1", "shape": [2]}
    assert header["fields"]["scores"] == {"dtype": "<f4", "shape": [2]}
    assert header["fields"]["size_units"] == 1.25
    assert frame[4 + length :] == b"\x01\x02" + struct.pack("<2f", 0.5, -1.0)


def test_arrays_are_the_readers_own() -> None:
    frame = bytearray(encode(1, Selection(np.arange(5, dtype=np.uint8), 0, 0, 0, 0, 0)))
    _, selection = decode(frame)
    selection.bits[0] = 9
    frame[-5:] = bytes(5)
    assert selection.bits.tolist() == [9, 1, 2, 3, 4]


def test_big_endian_and_strided_arrays_arrive_equal() -> None:
    big = np.arange(12, dtype=">f4").reshape(3, 4)[:, ::2]
    _, cluster = decode(encode(1, Cluster("scene", big)))
    assert cluster.scales.dtype == np.dtype("f4")
    np.testing.assert_array_equal(cluster.scales, big)


def test_numpy_scalars_may_stand_for_numbers() -> None:
    bits = np.zeros(0, np.uint8)
    _, selection = decode(encode(1, Selection(bits, np.int64(3), np.int32(4), np.float32(0.5), np.float64(2), 1)))
    assert (selection.count, selection.scale, selection.threshold) == (3, 0.5, 1.0)
    assert type(selection.threshold) is float


def test_a_huge_scene_round_trips() -> None:
    n = 200_000
    rng = np.random.default_rng(0)
    cloud = GaussianCloud(*(rng.random((n, *s), np.float32) for s in [(3,), (4,), (3,), (), (16, 3)]))
    _, scene = decode(encode(1, LoadScene("s", cloud, np.arange(n, dtype=np.int32), n)))
    assert same(scene.cloud, cloud)


@pytest.mark.parametrize("message", [Done(), a_click(), Unload("scene")], ids=lambda m: type(m).__name__)
def test_truncated_at_every_byte(message: object) -> None:
    frame = encode(1, message)
    for end in range(len(frame)):
        with pytest.raises(WireError):
            decode(frame[:end])
    with pytest.raises(WireError, match="left over"):
        decode(frame + b"\x00")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_frames_never_end_in_a_bug(data: st.DataObject) -> None:
    frame = bytearray(encode(3, a_click()))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(frame))
    except WireError as error:
        assert error.sentence().startswith("A message between Blender and the backend is not valid")


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(WireError):
        decode(noise)


@pytest.mark.parametrize(
    "dtype", ["|O", "O", "<c8", "<M8[s]", "|S8", "<U2", "|V8", ">f4", "float32", "", None, 4, ["<f4"], {}]
)
def test_element_types_outside_the_list(dtype: object) -> None:
    with pytest.raises(WireError, match="element type"):
        decode(with_array(dtype, [1]))


@pytest.mark.parametrize(
    "shape", [[-1], [1.0], [True], ["8"], 8, None, [2**70], [1] * 9, {}, [[1]], [0, 2**32, 2**32, 2**32]]
)
def test_shapes_that_are_none(shape: object) -> None:
    with pytest.raises(WireError, match="shape"):
        decode(with_array("|u1", shape))


@pytest.mark.parametrize("shape", [[9], [2**32], [2**32] * 8, [3, 3]])
def test_lengths_that_lie_allocate_nothing(shape: list[int]) -> None:
    frame = with_array("|u1", shape)
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match="8 are there"):
            decode(frame)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_lengths_that_say_too_little() -> None:
    with pytest.raises(WireError, match="1 bytes are left over"):
        decode(with_array("|u1", [7]))


def test_truth_values_are_0_and_1() -> None:
    assert decode(with_array("|b1", [2], b"\x00\x01"))[1].bits.tolist() == [False, True]
    with pytest.raises(WireError, match="truth values"):
        decode(with_array("|b1", [2], b"\x00\x02"))


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 500_000,
        b'{"id":1,"type":"Done","fields":' + b'{"a":' * 100_000,
        b'{"id":1,"type":"Done","fields":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"id":' + b"9" * 10_000 + b',"type":"Done","fields":{}}',
        b'{"id":1,"type":["Done"],"fields":{}}',
        b'{"id":1,"type":"Click","fields":[]}',
        b'{"id":1,"type":"Click","fields":{}}',
        b'{"id":1,"type":"Done","fields":{"extra":1}}',
        b'{"id":1,"type":"GaussianCloud","fields":{}}',
        b'{"id":1,"type":"Path","fields":{}}',
        b'{"id":true,"type":"Done","fields":{}}',
        b'{"id":-1,"type":"Done","fields":{}}',
        b'{"id":1.0,"type":"Done","fields":{}}',
        b'{"id":1,"type":"Done"}',
        b"[]",
        b"null",
        b"",
        b"\xff\xfe",
    ],
    ids=lambda text: text[:24].decode("latin1"),
)
def test_headers_that_are_none(text: bytes) -> None:
    with pytest.raises(WireError):
        decode(frame_of(text))


@pytest.mark.parametrize("value", [1.5, True, "1", None, 2**63, [1], float("inf")])
def test_numbers_keep_to_their_annotation(value: object) -> None:
    with pytest.raises(WireError, match=r"Cancel\.target is not of type int"):
        decode(frame_of({"id": 1, "type": "Cancel", "fields": {"target": value}}))


def test_a_header_beyond_the_limit_is_not_even_read() -> None:
    with pytest.raises(WireError, match="too long"):
        decode(struct.pack("<I", codec.MAX_HEADER + 1) + b" " * (codec.MAX_HEADER + 1))


def test_a_cloud_whose_arrays_do_not_fit_together() -> None:
    frame = encode(5, LoadScene("s", GaussianCloud(*(np.zeros((2, *s)) for s in [(3,), (4,), (3,), (), (1, 3)]))))
    broken = frame.replace(b'"shape": [2, 4]', b'"shape": [4, 2]')
    assert broken != frame
    with pytest.raises(WireError, match="quats") as caught:
        decode(broken)
    assert caught.value.message_id == 5


def test_a_wire_error_is_told_to_the_user() -> None:
    with pytest.raises(UserError) as caught:
        decode(b"")
    assert caught.value.code == "wire"


@pytest.mark.parametrize(
    "message",
    [
        Unload(3),
        Selection([1], 0, 0, 0, 0, 0),
        Selection(np.zeros(1, np.complex64), 0, 0, 0, 0, 0),
        Selection(np.zeros(1, object), 0, 0, 0, 0, 0),
        Selection(np.zeros(0, np.uint8), 1.5, 0, 0, 0, 0),
        Selection(np.zeros(0, np.uint8), 0, 0, "1", 0, 0),
        Click(**{**vars(a_click()), "objects": [ObjectPoints(np.eye(4))]}),
        View(np.eye(4), np.eye(3), 1, 1),
        "Done",
    ],
)
def test_the_senders_mistakes_are_bugs(message: object) -> None:
    with pytest.raises(TypeError):
        encode(1, message)


def test_a_header_too_large_to_send() -> None:
    with pytest.raises(WireError, match="it is too large"):
        encode(1, Unload("x" * codec.MAX_HEADER))

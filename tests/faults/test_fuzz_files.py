"""Files that come from others, damaged at random or made to lie: read, or refused in a sentence, and cheaply."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save as to_bytes

from blender_saga.errors import UserError
from saga_backend.cameras.photo import Frame
from saga_backend.cameras.read import read_cameras
from saga_backend.common import safe_arrays
from saga_backend.masks import coco_rle
from saga_backend.masks.cache import file_bytes, stored_key
from saga_backend.masks.mask_folder import read_masks
from saga_backend.masks.run_lengths import RunMasks, encode
from saga_backend.masks.sam.model import read_weights as sam_weights
from saga_backend.masks.sam.model import shape_of
from saga_backend.model import saga_file
from saga_backend.text import clip_files, text_file
from tests.faults.honest import front_view

pytestmark = pytest.mark.filterwarnings("ignore")  # of Pillow and numpy about what they read
VIEW = front_view()
FRAME = Frame(VIEW, "a.png")
ROOM = 2 << 30
FACTS = {"format": "2", "fingerprint": "f", "source": "", "count": 5, "steps": 3, "settings": "{}"}


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """What asks for far more than these small files hold fails."""
    if sys.platform != "linux":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def saga(**facts: object) -> bytes:
    arrays = {
        "segments.offsets": np.array([0, 2, 2, 5]),
        "segments.ids": np.array([0, 4, 1, 2, 3], np.int32),
        "segments.scales": np.array([0.5, 1, 2], np.float32),
        "segments.standing": np.array([1, 0.5, 3], np.float32),
        "quantiles": np.arange(4, dtype=np.float32),
        "features": np.ones((5, 4), np.float16),
        "gate": np.ones((2, 4), np.float32),
        "affinity.quantiles": np.arange(3, dtype=np.float32),
    }
    return to_bytes(arrays, {"saga": json.dumps(FACTS | facts)})


def masks() -> np.ndarray:
    out = np.zeros((2, VIEW.height, VIEW.width), bool)
    out[0, 3:9, 4:20], out[1, 10:30, 8:40] = True, True
    return out


def written(save: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def labels() -> np.ndarray:
    return masks()[0] + 2 * masks()[1].astype(np.uint8)


def run_lengths() -> bytes:
    entries = []
    for mask in masks():
        flat = mask.T.ravel()
        edges = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *edges, len(flat)]).tolist()
        entries.append({"segmentation": {"size": list(mask.shape), "counts": counts}})
    return json.dumps(entries).encode()


def kept() -> bytes:
    runs = [encode(mask) for mask in masks()]
    return file_bytes(RunMasks.of_runs(runs, masks()[0].shape, np.ones(2)), "key")


def cameras() -> bytes:
    frame = {"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}
    about = {"w": VIEW.width, "h": VIEW.height, "fl_x": 40.0, "fl_y": 40.0, "cx": 24.0, "cy": 18.0}
    return json.dumps({**about, "frames": [frame]}).encode()


def poses() -> bytes:
    return written(lambda file: np.save(file, np.random.default_rng(0).normal(size=(3, 17))))


def open_saga(path: Path) -> object:
    model, _ = saga_file.load(path)
    return text_file.read(path, model.count)


FILES: dict[str, tuple[Callable[[], bytes], Callable[[Path], object]]] = {
    "x.saga": (saga, open_saga),
    "a.pt": (lambda: written(lambda file: torch.save(torch.from_numpy(masks()), file)), lambda p: read_masks(p, FRAME)),
    "a.png": (lambda: written(lambda f: Image.fromarray(labels()).save(f, "png")), lambda p: read_masks(p, FRAME)),
    "a.npz": (lambda: written(lambda file: np.savez_compressed(file, masks=masks())), lambda p: read_masks(p, FRAME)),
    "b.npz": (
        lambda: file_bytes(RunMasks.of_runs([encode(m) for m in masks()], masks()[0].shape, np.ones(2)), "key"),
        stored_key,
    ),
    "a.json": (run_lengths, lambda p: read_masks(p, FRAME)),
    "sam.pth": (
        lambda: written(lambda f: torch.save({"image_encoder.pos_embed": torch.ones(1, 4, 4, 8)}, f)),
        lambda p: shape_of(sam_weights(p), p),
    ),
    "clip.pt": (lambda: written(lambda f: torch.save({"visual.proj": torch.ones(8, 8)}, f)), clip_files.read_weights),
    "transforms.json": (cameras, read_cameras),
    "poses_bounds.npy": (poses, read_cameras),
}


def damaged(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(6):
            case 0 | 1 | 2 if at < len(out):
                out[at] = rng.choice((out[at] ^ 1 << rng.randrange(8), rng.randrange(256), 0, 255))
            case 3:
                del out[at:]
            case 4:
                out[at:at] = rng.choice((rng.randbytes(8), b"9" * 30, b"[" * 3000, b"\x00" * 40))
            case _:
                begin = rng.randrange(len(data))
                out[at : at + 8] = data[begin : begin + 8]
    return bytes(out)


@pytest.mark.parametrize("name", FILES)
def test_damage(case, counts, seed: int, tmp_path: Path, name: str) -> None:
    make, read = FILES[name]
    total, refused = counts(reduced=1_000, full=20_000), 0
    (tmp_path / ("photo" if name == "a.png" else "a.png")).write_bytes(FILES["a.png"][0]())  # the cameras' photo
    with case(f"fuzz: {total:,} damaged files {name}") as row:
        rng, honest, path = random.Random(seed), make(), tmp_path / name
        for _ in range(total):
            path.write_bytes(damaged(rng, honest))
            try:
                read(path)
            except UserError as error:
                refused += 1
                assert error.what
        row.lost, row.remark = "nothing", f"{refused:,} refused in a sentence, the others were read; seed {seed}"


def test_the_files_are_honest_before(tmp_path: Path) -> None:
    for name, (make, read) in FILES.items():
        (tmp_path / name).write_bytes(make())
        with contextlib.suppress(UserError):  # not a whole SAM, and photos that are not there
            read(tmp_path / name)
        if name.startswith("a."):
            assert np.array_equal(read_masks(tmp_path / name, FRAME), masks()), name


def huge_png(width: int, height: int) -> bytes:
    """A picture of zeros that says that it is so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
        + chunk(b"IEND", b"")
    )


def lying_npz(shape: tuple[int, ...], content: bytes = b"", name: str = "masks") -> bytes:
    """An array that says that it is so large."""
    header = written(
        lambda f: np.lib.format.write_array_header_1_0(f, {"descr": "|b1", "fortran_order": False, "shape": shape})
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", header + content)
    return buffer.getvalue()


def repeated(*shape: int) -> bytes:
    """A tensor of one number, said to be so large by strides of zero."""
    return written(lambda file: torch.save(torch.ones(1).expand(*shape), file))


def runs(height: int, width: int, counts: object) -> bytes:
    return json.dumps([{"size": [height, width], "counts": counts}]).encode()


BOMBS = {
    "png of 10 gigapixels": ("a.png", lambda: huge_png(100_000, 100_000)),
    "png beyond 32 bits": ("a.png", lambda: huge_png(2**31 - 1, 2**31 - 1)),
    "npz of 10 GB": ("a.npz", lambda: lying_npz((1000, 3600, 4800))),
    "npz beyond counting": ("a.npz", lambda: lying_npz((2**31, 2**31, 2**31))),
    "masks of run lengths of 10 GB": ("a.json", lambda: runs(100_000, 100_000, [10**10])),
    "run lengths that wrap around": ("a.json", lambda: runs(4, 4, [2**62, 2**62, 2**62, 2**62, 16])),
    "run lengths as text that wrap": ("a.json", lambda: runs(36, 48, "o" * 13 + "1")),
    "a tensor of 10 GB in one number": ("a.pt", lambda: repeated(1000, 3600, 4800)),
    "weights of 4 GB in one number": (
        "clip.pt",
        lambda: written(lambda file: torch.save({"visual.proj": torch.ones(1).expand(2**15, 2**15)}, file)),
    ),
    "saga with a header of 90 MB": ("x.saga", lambda: struct.pack("<Q", 90 << 20) + b"{" + b" " * 1000),
    "saga with a header beyond": ("x.saga", lambda: struct.pack("<Q", 2**63) + b"{}"),
    "saga with nested facts": ("x.saga", lambda: to_bytes({"a": np.ones(1)}, {"saga": "[" * 10**6})),
    "saga of more steps than an answer can say": ("x.saga", lambda: saga(steps=10**40)),
    "saga of fewer steps than none": ("x.saga", lambda: saga(steps=-1)),
    "json of brackets": ("a.json", lambda: b"[" * 10**6),
    "cameras of brackets": ("transforms.json", lambda: b"[" * 10**6),
    "poses beyond counting": (
        "poses_bounds.npy",
        lambda: written(
            lambda f: np.lib.format.write_array_header_1_0(
                f, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 17)}
            )
        ),
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_in_a_sentence(tmp_path: Path, bomb: str) -> None:
    name, make = BOMBS[bomb]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(UserError) as caught:
        FILES[name][1](tmp_path / name)
    assert caught.value.what and "\n" not in caught.value.sentence()


def test_run_lengths_are_no_bombs() -> None:
    with pytest.raises(ValueError):
        coco_rle.decode(2**20, 2**20, [2**40])


def test_archives_of_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_arrays, "MAX_BYTES", 2 * VIEW.width * VIEW.height)  # and a header is on top of that
    (tmp_path / "a.npz").write_bytes(FILES["a.npz"][0]())
    with pytest.raises(UserError, match="GiB"):
        read_masks(tmp_path / "a.npz", FRAME)

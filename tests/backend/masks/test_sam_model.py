"""Opening weights: the published networks are recognized by their tensors, anything else is refused in a sentence."""

from __future__ import annotations

import hashlib
import http.server
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import sam_model_registry

from blender_saga.errors import Cancelled, UserError
from saga_backend.common.progress import Control
from saga_backend.masks.sam import weights
from saga_backend.masks.sam.model import build, open_sam, shape_of, shared_sam
from saga_backend.masks.sam.weights import OFFICIAL, OfficialFile, check_official, download, sha256_of
from tests.helpers.tiny_sam import tiny_sam


@pytest.mark.parametrize("kind", ["vit_b", "vit_l", "vit_h"])
def test_published_networks_are_known_by_their_tensors(kind):
    with torch.device("meta"):  # shapes only: vit_h has 2.5 GB
        published = sam_model_registry[kind]()
        tensors = published.state_dict()
        shape = shape_of(tensors, Path("x.pth"))
        ours = build(shape)
    assert shape.kind == kind
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in tensors.items()}
    for block, twin in zip(ours.image_encoder.blocks, published.image_encoder.blocks, strict=True):
        assert (block.window_size, block.attn.num_heads) == (twin.window_size, twin.attn.num_heads)


def test_a_file_becomes_the_model_it_was_written_from():
    sam = open_sam(tiny_sam())
    tensors = torch.load(tiny_sam(), weights_only=True)
    for name, value in sam.model.state_dict().items():
        assert torch.equal(value, tensors[name]), name
    assert sam.sha256 == hashlib.sha256(tiny_sam().read_bytes()).hexdigest()
    assert sam.shape.kind == "ViT of width 64 and 3 layers" and not sam.model.training
    with torch.no_grad():
        assert torch.isfinite(sam.model.image_encoder(torch.rand(1, 3, 64, 64))).all()
    assert shared_sam(tiny_sam(), "cpu") is shared_sam(tiny_sam(), "cpu")


def test_weights_in_halves_and_inside_a_dictionary(tmp_path):
    tensors = torch.load(tiny_sam(), weights_only=True)
    torch.save({"model": {k: v.half() for k, v in tensors.items()}}, tmp_path / "half.pth")
    sam = open_sam(tmp_path / "half.pth")
    for name, value in sam.model.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, tensors[name].half().float())


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (Path(self.path), "ran"))


def damaged(name: str, path: Path) -> None:
    """Write a file of weights that has one fault."""
    tensors = torch.load(tiny_sam(), weights_only=True)
    token = "mask_decoder.iou_token.weight"
    contents = {
        "trap": Trap(str(path.with_name("ran"))),
        "list": [1, 2],
        "other network": torch.nn.Linear(3, 4).state_dict(),
        "sam 2": {"model": {"image_encoder.trunk.pos_embed": torch.ones(3)}},
        "lacks one": {k: v for k, v in tensors.items() if k != token},
        "lacks a layer": {k: v for k, v in tensors.items() if ".blocks.1." not in k},
        "one more": tensors | {"classes": torch.ones(2)},
        "another shape": tensors | {token: torch.ones(1, 3)},
    }
    if name in contents:
        torch.save(contents[name], path)
    elif name != "missing":
        path.write_bytes(b"not weights" if name == "text" else tiny_sam().read_bytes()[:-2000])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing", "there is no such file"),
        ("truncated", "it is truncated"),
        ("text", "not a file of plain tensors"),
        ("trap", "not a file of plain tensors"),
        ("list", "it has no tensors by name"),
        ("other network", "it lacks image_encoder"),
        ("sam 2", "SAM 2"),
        ("lacks one", "for example mask_decoder.iou_token.weight"),
        ("lacks a layer", "other shapes|it lacks"),
        ("one more", "for example .*classes"),
        ("another shape", "for example mask_decoder.iou_token.weight"),
    ],
)
def test_what_is_no_sam_is_refused_in_a_sentence(tmp_path, name, why):
    damaged(name, tmp_path / "x.pth")
    with pytest.raises(UserError, match=why) as caught:
        open_sam(tmp_path / "x.pth")
    assert "\n" not in str(caught.value) and caught.value.fix
    assert not (tmp_path / "ran").exists()


def test_an_official_name_needs_the_official_content(tmp_path):
    path = tmp_path / "sam_vit_b_01ec64.pth"
    path.write_bytes(tiny_sam().read_bytes())
    with pytest.raises(UserError, match="SHA-256 is not that of the official file"):
        open_sam(path)
    check_official(path, OFFICIAL["vit_b"].sha256)
    check_official(path.with_name("mine.pth"), "0")
    assert all(len(file.sha256) == 64 and file.address.endswith(file.name) for file in OFFICIAL.values())
    assert "375 MB" in OFFICIAL["vit_b"].sentence()


# --- downloads ------------------------------------------------------------------------------------------------------


class Host(http.server.BaseHTTPRequestHandler):
    """Serves `content`, from an offset if asked; breaks off after `most` bytes."""

    content = b""
    most = 1 << 40
    ranges = True
    asked: list[str]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        type(self).asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        self.send_response(206 if wanted and self.ranges else 200)
        self.end_headers()
        self.wfile.write(self.content[start : start + self.most])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def host(rng) -> Iterator[tuple[type[Host], OfficialFile]]:
    """A server on a port that the system chooses, and the file it has."""
    handler = type("OneHost", (Host,), {"content": rng.bytes(3_000_000), "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sha256 = hashlib.sha256(handler.content).hexdigest()
    address = f"http://127.0.0.1:{server.server_address[1]}/w.pth"
    yield handler, OfficialFile("vit_b", "w.pth", len(handler.content), sha256, address)
    server.shutdown()
    server.server_close()


class Watching(Control):
    """Keeps the progress; cancels itself at a phase."""

    def __init__(self, stop_at: str = "") -> None:
        super().__init__()
        self.seen: list[tuple[str, int, int]] = []
        self._stop_at = stop_at

    def emit(self, phase: str, step: int, total: int) -> None:
        self.seen.append((phase, step, total))
        if phase == self._stop_at:
            self.cancel()


def test_a_download_is_checked_and_not_repeated(host, tmp_path):
    handler, file = host
    watching = Watching()
    path = download(file, tmp_path / "new" / "folder", watching)
    assert path.read_bytes() == handler.content and sha256_of(path) == file.sha256
    assert ("downloading", 2, 2) in watching.seen
    assert download(file, path.parent, Control(), online=lambda: False) == path and handler.asked == [""]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(host, tmp_path, ranges):
    handler, file = host
    handler.ranges, handler.most = ranges, 1_234_567
    with pytest.raises(UserError, match=r"the connection ended after 1 MB\. Try again"):
        download(file, tmp_path, Control())
    assert not (tmp_path / "w.pth").exists()
    handler.most = 1 << 40
    assert download(file, tmp_path, Control()).read_bytes() == handler.content
    assert handler.asked == ["", "bytes=1234567-"] and not list(tmp_path.glob("*.part"))


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
def test_a_download_is_not_written_through_a_link(host, tmp_path):
    handler, file = host
    victim, folder = tmp_path / "victim", tmp_path / "weights"
    victim.write_bytes(b"mine")
    folder.mkdir()
    (folder / "w.pth.part").symlink_to(victim)
    path = download(file, folder, Control())
    assert victim.read_bytes() == b"mine" and path.read_bytes() == handler.content and not path.is_symlink()


def test_a_cancelled_download_keeps_what_came(host, tmp_path):
    handler, file = host
    with pytest.raises(Cancelled):
        download(file, tmp_path, Watching("downloading"))
    assert 0 < (tmp_path / "w.pth.part").stat().st_size < len(handler.content)
    assert download(file, tmp_path, Control()).is_file() and handler.asked[1].startswith("bytes=")


def test_downloads_that_cannot_be(host, tmp_path, monkeypatch):
    _, file = host
    with pytest.raises(UserError, match="online access is switched off"):
        download(file, tmp_path, Control(), online=lambda: False)
    with pytest.raises(UserError, match="SHA-256 is wrong"):
        download(replace(file, sha256="0" * 64), tmp_path, Control())
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match="no space"):
        download(file, tmp_path, Control())
    monkeypatch.undo()
    with pytest.raises(UserError, match="cannot be downloaded"):
        download(replace(file, address="http://127.0.0.1:9/nobody"), tmp_path, Control())
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be downloaded"):
        download(file, tmp_path / "file", Control())


def test_numbers_of_the_tiny_pictures_are_what_they_show(rng):
    from tests.helpers.tiny_sam import shapes

    picture, labels = shapes(rng)
    assert picture.shape == (64, 64, 3) and labels.max() >= 1
    for label in np.unique(labels):  # one color each, up to the noise
        assert picture[labels == label].astype(float).std(axis=0).max() < 30

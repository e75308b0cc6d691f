"""Masks from files: every format says the same, and what is broken is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from blender_saga.errors import UserError
from blender_saga.gaussians.view import View
from saga_backend.cameras.photo import Frame, Lens, virtual_frames
from saga_backend.masks import coco_rle
from saga_backend.masks.mask_folder import MaskFolder, label_map, read_masks

W, H = 24, 16


def frame_of(name: str = "a.jpg", width: int = W, height: int = H, lens: Lens | None = None) -> Frame:
    K = np.array([[20.0, 0, width / 2], [0, 20, height / 2], [0, 0, 1]])
    return Frame(View(np.eye(4), K, width, height), name, None, lens or Lens())


def runs_of(mask: np.ndarray) -> list[int]:
    """COCO's run lengths, counted one pixel after another down the columns."""
    counts, value = [0], False
    for pixel in mask.T.ravel():
        if bool(pixel) != value:
            counts.append(0)
            value = not value
        counts[-1] += 1
    return counts


def compressed(counts: list[int]) -> str:
    """COCO's string of them, as pycocotools' rleToString describes it."""
    out = ""
    for index, number in enumerate(counts):
        x = number - counts[index - 2] if index > 2 else number
        more = True
        while more:
            c, x = x & 31, x >> 5
            more = x != (-1 if c & 16 else 0)
            out += chr((c | 32 if more else c) + 48)
    return out


@pytest.fixture
def masks() -> np.ndarray:
    """[3,H,W]: two that do not touch and one, the last, over a part of the first."""
    out = np.zeros((3, H, W), bool)
    out[0, 2:10, 3:12], out[1, 11:15, 14:23], out[2, 4:7, 5:9] = True, True, True
    return out


def save_all(folder: Path, masks: np.ndarray) -> None:
    """a.pt, b.png, c.npz, d.npz, e.json .. h.json: the two masks that do not overlap; .pt and .json all three."""
    labels = (masks[0] * 1 + masks[1] * 200).astype(np.uint8)
    torch.save(torch.from_numpy(masks), folder / "a.pt")
    Image.fromarray(labels).save(folder / "b.png")
    np.savez_compressed(folder / "c.npz", masks=masks)
    np.savez(folder / "d.npz", labels=np.stack([labels, masks[2] * 9]).astype(np.int32))
    plain = [{"size": [H, W], "counts": runs_of(mask)} for mask in masks]
    short = [{"size": [H, W], "counts": compressed(runs_of(mask))} for mask in masks]
    for name, content in (
        ("e", plain),
        ("f", short),
        ("g", [{"segmentation": s, "area": 5, "bbox": [0, 0, 1, 1]} for s in short]),
        ("h", {"image": {}, "annotations": [{"segmentation": s} for s in plain]}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_every_format_says_the_same(tmp_path, masks):
    save_all(tmp_path, masks)
    folder = MaskFolder(tmp_path, [frame_of(f"{name}.JPG") for name in "abcdefgh"])
    assert len(folder) == 8 and folder.missing == []
    for index in range(8):
        expected = masks[:2] if index == 1 else masks  # a label map of one level cannot overlap
        assert folder[index].dtype == bool
        np.testing.assert_array_equal(folder[index], expected, err_msg="abcdefgh"[index])
    np.testing.assert_array_equal(folder[-1], folder[7])
    assert [len(m) for m in folder[1:3]] == [2, 3]


def test_numbers_in_a_tensor_count_from_a_half(tmp_path):
    torch.save(torch.tensor([[[0.4, 0.6], [1.0, 0.0]]]), tmp_path / "a.pt")
    np.testing.assert_array_equal(read_masks(tmp_path / "a.pt", frame_of("a", 2, 2)), [[[0, 1], [1, 0]]])


def test_pictures_of_all_kinds_are_label_maps(tmp_path):
    gray = np.array([[0, 3], [7, 7]])
    Image.fromarray(gray.astype(np.uint8)).save(tmp_path / "gray.png")
    Image.fromarray((gray * 1000).astype(np.uint16)).save(tmp_path / "deep.png")
    palette = Image.fromarray(gray.astype(np.uint8), mode="P")
    palette.putpalette(list(range(256)) * 3)
    palette.save(tmp_path / "palette.png")
    rgb = np.array([[[0, 0, 0], [255, 0, 0]], [[0, 255, 1], [0, 255, 1]]], np.uint8)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    opaque = np.concatenate([rgb, [[[0], [255]], [[255], [255]]]], axis=2).astype(np.uint8)
    opaque[0, 0, :3] = 9  # a color that cannot be seen is none
    Image.fromarray(opaque).save(tmp_path / "rgba.png")
    Image.fromarray(gray > 0).save(tmp_path / "bits.png")
    for name in ("gray", "deep", "palette", "rgb", "rgba"):
        labels = label_map(tmp_path / f"{name}.png")
        assert labels[0, 0] == 0 and labels[1, 0] == labels[1, 1] != labels[0, 1] != 0, name
        assert len(read_masks(tmp_path / f"{name}.png", frame_of("a", 2, 2))) == 2
    np.testing.assert_array_equal(read_masks(tmp_path / "bits.png", frame_of("a", 2, 2)), [gray > 0])


def test_run_lengths_that_others_wrote():
    # From the test vectors of independent decoders: a negative difference, and a number of two groups.
    assert coco_rle.uncompress("122O") == [1, 2, 2, 1]
    np.testing.assert_array_equal(coco_rle.decode(2, 3, "122O"), [[0, 1, 0], [1, 0, 1]])
    assert coco_rle.uncompress("Z11") == [42, 1]


@given(st.integers(1, 30), st.integers(1, 70), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_run_lengths_round_trip(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    counts = runs_of(mask)
    assert coco_rle.uncompress(compressed(counts)) == counts
    np.testing.assert_array_equal(coco_rle.decode(height, width, counts), mask)
    np.testing.assert_array_equal(coco_rle.decode(height, width, compressed(counts)), mask)


@pytest.mark.parametrize("counts", [[5], [3, 2], [-1, 5], [2, 1, 2, 1, 9], "1", "122o", "1\x02", "é"])
def test_run_lengths_that_do_not_fill_the_picture(counts):
    with pytest.raises(ValueError, match=r"the runs have|run lengths"):
        coco_rle.decode(2, 3, counts)


def test_masks_of_another_size_take_the_nearest_pixel(tmp_path, masks):
    big = np.kron(masks, np.ones((1, 4, 4), bool))
    np.savez(tmp_path / "a.npz", masks=big)
    np.testing.assert_array_equal(read_masks(tmp_path / "a.npz", frame_of()), masks)
    np.savez(tmp_path / "a.npz", masks=masks)
    np.testing.assert_array_equal(read_masks(tmp_path / "a.npz", frame_of("a", 4 * W, 4 * H)), big)


def test_masks_of_a_distorted_photo_are_straightened(tmp_path, masks):
    frame = frame_of(lens=Lens((0.4, 0, 0, 0, 0, 0)))
    np.savez(tmp_path / "a.npz", masks=masks)
    seen = read_masks(tmp_path / "a.npz", frame)
    np.testing.assert_array_equal(seen, frame.look_up(masks))
    assert (seen != masks).any()


def test_masks_that_a_view_does_not_show_are_left_out(tmp_path, masks):
    masks[1] = False
    torch.save(torch.from_numpy(masks), tmp_path / "a.pt")
    np.testing.assert_array_equal(read_masks(tmp_path / "a.pt", frame_of()), masks[[0, 2]])
    Image.fromarray(np.zeros((H, W), np.uint8)).save(tmp_path / "b.png")
    assert read_masks(tmp_path / "b.png", frame_of()).shape == (0, H, W)


def test_files_are_found_by_folder_and_name_or_by_name_alone(tmp_path, masks):
    np.savez(tmp_path / "a.npz", masks=masks)
    (tmp_path / "left").mkdir()
    np.savez(tmp_path / "left" / "b.npz", masks=masks[:1])
    np.savez(tmp_path / "c.jpg.npz", masks=masks[:2])
    frames = [frame_of("left/a.jpg"), frame_of("left/b.jpg"), frame_of("c.jpg"), frame_of("d.jpg")]
    folder = MaskFolder(tmp_path, frames)
    assert [len(m) for m in folder] == [3, 1, 2, 0] and folder.missing == ["d.jpg"]
    assert folder[3].shape == (0, H, W)
    twice = MaskFolder(tmp_path, [frame_of("left/b.jpg"), frame_of("right/b.jpg"), frame_of("right/a.jpg")])
    assert [len(m) for m in twice] == [1, 0, 0]  # two photos called b: their folders have to say which is meant
    np.savez(tmp_path / "view_001.npz", masks=masks)
    virtual = MaskFolder(tmp_path, virtual_frames([frame_of().view, frame_of().view]))
    assert [len(m) for m in virtual] == [0, 3]


@pytest.mark.parametrize(
    "name",
    ["../outside/a.png", "inside/../../outside/a.png", "{root}/outside/a.png", "a\x00.png", "..png", "x/..jpg", ""],
)
def test_names_do_not_lead_out_of_the_folder(tmp_path, masks, name):
    for place in ("folder", "outside"):
        (tmp_path / place).mkdir()
    torch.save(torch.from_numpy(masks), tmp_path / "outside" / "a.pt")
    frames = [frame_of(name.format(root=tmp_path)), frame_of("b.png")]
    torch.save(torch.from_numpy(masks), tmp_path / "folder" / "b.pt")
    assert MaskFolder(tmp_path / "folder", frames).missing == [frames[0].name]


def test_folders_that_cannot_be_used(tmp_path, masks):
    with pytest.raises(UserError, match="no such folder"):
        MaskFolder(tmp_path / "gone", [frame_of()])
    with pytest.raises(UserError, match=r"fit none of the photos: it has no mask files\. Name them like a\.png"):
        MaskFolder(tmp_path, [frame_of()])
    np.savez(tmp_path / "b.npz", masks=masks)
    with pytest.raises(UserError, match=r"it has 1 mask files \(b\.npz"):
        MaskFolder(tmp_path, [frame_of()])
    for name in ("a.npz", "a.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.pt and a\.npz belong to the same photo"):
        MaskFolder(tmp_path, [frame_of()])


def test_masks_of_another_aspect_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", masks=np.ones((1, 30, 30), bool))
    with pytest.raises(UserError, match="30 x 30 pixels") as caught:
        read_masks(tmp_path / "a.npz", frame_of())
    assert caught.value.code == "bad_masks" and "24 x 16" in str(caught.value)


def photo() -> np.ndarray:
    """[8H,8W,3] uint8: more colors than any label map has."""
    return np.random.default_rng(0).integers(0, 256, (8 * H, 8 * W, 3)).astype(np.uint8)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (Path(self.path), "ran"))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.pt", lambda p: p.write_bytes(b"not a tensor")),
        ("a.pt", lambda p: torch.save(torch.ones(3, 4), p)),
        ("a.pt", lambda p: torch.save({"masks": [1]}, p)),
        ("a.pt", lambda p: torch.save(Trap(str(p.with_name("ran"))), p)),
        ("a.png", lambda p: p.write_bytes(b"not a picture")),
        ("a.png", lambda p: Image.fromarray(photo()).save(p)),
        ("a.npz", lambda p: p.write_bytes(b"PK but no zip")),
        ("a.npz", lambda p: np.savez(p, other=np.ones(3))),
        ("a.npz", lambda p: np.savez(p, masks=np.ones((2, 3)))),
        ("a.npz", lambda p: np.savez(p, labels=np.ones((H, W)))),
        ("a.npz", lambda p: np.savez(p, masks=np.array([{"a": 1}], dtype=object))),
        ("a.json", lambda p: p.write_text("{")),
        ("a.json", lambda p: p.write_text("{}")),
        ("a.json", lambda p: p.write_text("[3]")),
        ("a.json", lambda p: p.write_text('[{"size": [2, 3], "counts": [1, 1]}]')),
        ("a.json", lambda p: p.write_text('[{"size": [2], "counts": "122O"}]')),
        ("a.json", lambda p: p.write_text('[{"size": [2, 3], "counts": "' + "o" * 90 + '1"}]')),
    ],
)
def test_broken_files_are_refused_in_a_sentence(tmp_path, name, write):
    write(tmp_path / name)
    with pytest.raises(UserError, match="cannot be read") as caught:
        read_masks(tmp_path / name, frame_of())
    assert "\n" not in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_truncated_file_is_refused_when_its_view_is_asked_for(tmp_path, masks):
    torch.save(torch.from_numpy(masks), tmp_path / "a.pt")
    data = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(data[: len(data) // 2])
    folder = MaskFolder(tmp_path, [frame_of()])
    with pytest.raises(UserError, match="cannot be read"):
        folder[0]

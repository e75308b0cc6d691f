"""Masks by SAM, from a picture to a file: the real generator on a tiny model, memory that runs out, files that last."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from segment_anything import SamAutomaticMaskGenerator

from blender_saga.errors import UserError
from saga_backend.cameras.photo import virtual_frames
from saga_backend.masks.cache import MaskCache, file_bytes, masks_key, read_runs, stored_key, view_content
from saga_backend.masks.mask_folder import MaskFolder
from saga_backend.masks.run_lengths import RunMasks, decode, encode
from saga_backend.masks.sam import generator as sam_generate
from saga_backend.masks.sam.generator import (
    SamGenerator,
    batch_size,
    encoder_bytes,
    fit,
    free_bytes,
    limit_size,
    out_of_memory,
    without_specks,
)
from saga_backend.masks.sam.model import open_sam
from saga_backend.masks.sam.settings import SamSettings
from tests.helpers.tiny_sam import OPEN, shapes, tiny_sam
from tests.helpers.twins import random_view

SAM = open_sam(tiny_sam())


def masks_of(picture: np.ndarray, **more: float) -> RunMasks:
    return SamGenerator(SAM, SamSettings(**(OPEN | more))).masks(picture)


# --- the generator --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crops", [0, 1])
def test_masks_are_those_of_the_published_generator(rng, crops):
    picture, _ = shapes(rng)
    records = SamAutomaticMaskGenerator(
        SAM.model, points_per_side=6, points_per_batch=16, pred_iou_thresh=0, stability_score_thresh=0,
        box_nms_thresh=0.9, crop_n_layers=crops, crop_nms_thresh=0.9,
    ).generate(picture)  # fmt: skip
    records.sort(key=lambda record: -record["predicted_iou"])
    masks = masks_of(picture, nms=0.9, least_area=0, crop_layers=crops)
    assert len(masks) == len(records) > 0 and masks.size == (64, 64)
    for ours, theirs in zip(masks, records, strict=True):
        np.testing.assert_array_equal(ours, theirs["segmentation"])
    np.testing.assert_allclose(masks.scores, [record["predicted_iou"] for record in records], rtol=1e-6)


def test_the_defaults_are_those_of_the_paper(monkeypatch, rng):
    given = {}

    class Recording:
        def __init__(self, model, **options):
            given.update(options)

        def generate(self, picture):
            return []

    monkeypatch.setattr("segment_anything.SamAutomaticMaskGenerator", Recording)
    masks = SamGenerator(SAM).masks(shapes(rng)[0])
    assert len(masks) == 0 and masks.pictures().shape == (0, 64, 64)
    wanted = {"points_per_side": 32, "pred_iou_thresh": 0.88, "stability_score_thresh": 0.95, "box_nms_thresh": 0.7}
    assert wanted.items() <= given.items() and SamSettings().least_area == 100


def test_a_picture_in_which_nothing_is_found(rng):
    masks = masks_of(shapes(rng)[0], iou=1.0)
    assert len(masks) == 0 and masks.scores.shape == (0,)


def test_large_pictures_are_made_smaller(rng):
    picture = rng.integers(0, 256, (100, 260, 3)).astype(np.uint8)
    assert masks_of(picture, longest_side=64).size == (25, 64)
    assert limit_size(picture, 260) is picture
    halves = limit_size(picture, 130).astype(float)
    means = picture.reshape(50, 2, 130, 2, 3).mean(axis=(1, 3))
    assert abs(halves - means).max() <= 1


def test_memory_that_runs_out_means_smaller_batches_and_is_told(rng, monkeypatch, caplog):
    picture, _ = shapes(rng)
    wanted = masks_of(picture, batch=2)
    real, asked = SamGenerator._generate, []

    def short(self, picture):
        asked.append(self.points)
        if self.points > 2:
            raise torch.OutOfMemoryError("CUDA out of memory") if len(asked) % 2 else RuntimeError("not enough memory")
        return real(self, picture)

    monkeypatch.setattr(SamGenerator, "_generate", short)
    generator = SamGenerator(SAM, SamSettings(**(OPEN | {"batch": 16})))
    with caplog.at_level(logging.WARNING):
        masks = generator.masks(picture)
    assert asked == [16, 8, 4, 2] and generator.points == 2
    assert "SAM now processes 2 points at a time" in caplog.text
    assert len(generator.notes) == 3 and generator.notes[-1] in caplog.text
    np.testing.assert_array_equal(masks.pictures(), wanted.pictures())
    generator.masks(picture)
    assert asked[4:] == [2]  # it remembers


def test_a_point_too_much_is_said_and_other_errors_are_bugs(rng, monkeypatch):
    picture, _ = shapes(rng)
    monkeypatch.setattr(SamGenerator, "_generate", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(UserError, match=r"not enough memory for SAM.*64 x 64"):
        masks_of(picture)
    monkeypatch.setattr(SamGenerator, "_generate", lambda *_: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        masks_of(picture)
    assert not out_of_memory(ValueError("out of memory"))


def test_a_batch_fits_into_what_is_free(monkeypatch):
    assert free_bytes("cpu") > 2**20
    each = 3 * (64**2 + 100 * 50) * 4
    for free, points in ((each * 4 * 2 * 10, 10), (10, 1), (2**50, 64)):
        monkeypatch.setattr(sam_generate, "free_bytes", lambda _, free=free: free)
        assert batch_size(SAM, (100, 50)) == points


def test_the_size_of_pictures_fits_into_what_is_free(monkeypatch):
    """Halved until the masks of a point fit; what the model needs to look at all does not depend on it."""

    def with_free(free: float) -> tuple[SamSettings, list[str]]:
        monkeypatch.setattr(sam_generate, "free_bytes", lambda _: free)
        return fit(SAM, SamSettings(longest_side=4000))

    one_point = 3 * (64**2 + 1000**2) * 4 * 4  # at 1000 pixels a side
    assert encoder_bytes(SAM) == 3 * 4 * SAM.shape.heads * (64 // SAM.shape.patch) ** 4 < one_point
    assert with_free(2**50) == (SamSettings(longest_side=4000), [])
    settings, notes = with_free(2 * one_point)
    assert settings == SamSettings(longest_side=1000) and "at 1000 pixels per side" in notes[0] and "4000" in notes[0]
    assert with_free(2 * one_point - 1)[0].longest_side == 500
    assert with_free(encoder_bytes(SAM))[0].longest_side == 256
    with pytest.raises(UserError, match="not enough memory for SAM") as caught:
        with_free(encoder_bytes(SAM) - 1)
    assert caught.value.code == "no_memory"


@pytest.mark.parametrize("name", ["points_per_side", "iou", "stability", "nms", "least_area", "longest_side", "batch"])
@pytest.mark.parametrize("value", [-1, 10**9, float("nan")])
def test_settings_out_of_range(name, value):
    with pytest.raises(UserError, match=name):
        SamSettings(**{name: value})


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0.2, 0.8))
def test_specks_go(seed, least, share):
    mask = np.random.default_rng(seed).random((17, 23)) < share
    cleaned, changed = without_specks(mask, least)
    twin, corners = mask.copy(), np.ones((3, 3))
    for inside in (False, True):
        numbers, count = ndimage.label(twin == inside, corners)
        pieces = [numbers == n for n in range(1, count + 1)]
        edge = [p[[0, -1]].any() or p[:, [0, -1]].any() for p in pieces]
        if not inside:
            for piece, touches in zip(pieces, edge, strict=True):
                if piece.sum() < least and not touches:
                    twin[piece] = True
        elif pieces:
            largest = max(range(count), key=lambda n: pieces[n].sum())
            large = [n for n in range(count) if pieces[n].sum() >= least] or [largest]
            twin = np.any([pieces[n] for n in large], axis=0)
    np.testing.assert_array_equal(cleaned, twin)
    assert changed == (twin != mask).any()


# --- files ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 20), st.integers(1, 30), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 1.0]))
def test_runs_round_trip(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    runs = encode(mask)
    assert runs.sum() == mask.size and runs[1::2].sum() == mask.sum()
    np.testing.assert_array_equal(decode(runs, mask.shape), mask)
    with pytest.raises(ValueError, match="the runs have"):
        decode(runs, (height + 1, width))


def some_masks(rng: np.random.Generator) -> tuple[np.ndarray, RunMasks]:
    masks = rng.random((5, 16, 24)) < 0.4
    return masks, RunMasks.of_runs([encode(mask) for mask in masks], (16, 24), np.linspace(1, 0.5, 5))


def test_a_file_is_read_as_masks_and_the_same_masks_make_the_same_file(rng, tmp_path):
    masks, runs = some_masks(rng)
    np.testing.assert_array_equal(runs.pictures(), masks)
    cache, view = MaskCache(tmp_path), random_view(rng, "perspective").resized(24, 16)
    content = file_bytes(runs, "key")
    assert content == file_bytes(runs, "key") != file_bytes(runs, "other")
    cache.save("view_000", content)
    assert cache.has("view_000", "key") and not cache.has("view_000", "other") and not cache.has("view_001", "key")
    np.testing.assert_array_equal(MaskFolder(tmp_path, virtual_frames([view]))[0], masks)
    assert [p.name for p in tmp_path.iterdir()] == ["view_000.npz"]


def test_half_written_and_damaged_files_are_not_trusted(rng, tmp_path):
    cache, content = MaskCache(tmp_path), file_bytes(some_masks(rng)[1], "key")
    path = cache.path("a.jpg")
    for cut in rng.integers(0, len(content), 20):
        path.write_bytes(content[:cut])
        assert stored_key(path) == ""
    missed = 0
    for place in rng.integers(0, len(content), 200):
        broken = bytearray(content)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        if stored_key(path) == "key":  # a byte that says nothing: a date, a flag
            with np.load(path) as arrays:
                np.testing.assert_array_equal(read_runs(arrays).pictures(), some_masks_again(content))
            missed += 1
    assert missed < 150
    path.write_bytes(content)
    assert stored_key(path) == "key"


def some_masks_again(content: bytes) -> np.ndarray:
    import io

    with np.load(io.BytesIO(content)) as arrays:
        return read_runs(arrays).pictures()


@pytest.mark.parametrize("fault", ["offsets", "size", "scores", "counts"])
def test_arrays_that_do_not_fit(rng, fault):
    runs = some_masks(rng)[1]
    arrays = {"counts": runs.counts, "offsets": runs.offsets, "size": np.array(runs.size), "scores": runs.scores}
    read_runs(arrays)
    arrays[fault] = arrays[fault][:-1] if fault != "counts" else arrays["counts"].astype(np.float64)
    with pytest.raises(ValueError, match="run lengths"):
        read_runs(arrays)


@pytest.mark.parametrize("name", ["../../x.jpg", "/etc/x", "a/../../x.png", "C:/x", "left/0001.jpg", "..\\..\\x.jpg"])
def test_files_stay_in_their_folder(tmp_path, name):
    path = MaskCache(tmp_path).path(name)
    assert path.resolve().is_relative_to(tmp_path.resolve()) and path.suffix == ".npz"
    with pytest.raises(UserError, match="cannot be stored"):
        MaskCache(tmp_path).path("..")
    with pytest.raises(UserError, match="not a valid file name"):
        MaskCache(tmp_path).path("..npz")  # Path.with_suffix has no answer for it


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
def test_nothing_is_written_through_a_link(tmp_path):
    """Somebody who may write to the folder has laid a link under the name of the part that will be written."""
    cache, victim = MaskCache(tmp_path / "masks"), tmp_path / "victim"
    victim.write_bytes(b"mine")
    cache.folder.mkdir()
    (cache.folder / f"a.npz.{os.getpid()}.part").symlink_to(victim)
    cache.save("a.png", b"masks")
    assert victim.read_bytes() == b"mine" and cache.path("a.png").read_bytes() == b"masks"
    assert not cache.path("a.png").is_symlink()


def test_a_folder_that_cannot_be_written(rng, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        MaskCache(tmp_path / "file").save("a", b"")


def test_what_a_key_depends_on(rng):
    base = masks_key("picture", SamSettings().meaning(), "model")
    others = [
        masks_key("another", SamSettings().meaning(), "model"),
        masks_key("picture", SamSettings(iou=0.9).meaning(), "model"),
        masks_key("picture", SamSettings().meaning(), "another"),
    ]
    assert len({base, *others}) == 4
    assert masks_key("picture", SamSettings(batch=3).meaning(), "model") == base  # how fast, not what
    view = random_view(rng, "perspective")
    contents = {view_content("a", view), view_content("b", view), view_content("a", view.resized(9, 9))}
    contents.add(view_content("a", replace(view, near=2 * view.near)))  # it shows less
    assert len(contents) == 4 and view_content("a", view.resized(view.width, view.height)) in contents

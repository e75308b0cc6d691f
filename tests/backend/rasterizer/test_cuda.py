"""The CUDA rasterizer without CUDA: its projection, its way from pairs to rows, and its wiring with gsplat's kernels
played by plain tensor code. What only a GPU can show is in tests/gpu.
"""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from saga_backend.rasterizer import cpu, cuda, projection, select
from saga_backend.rasterizer.cpu import all_pixels, contributions, render
from saga_backend.rasterizer.cuda import CudaRasterizer, Pairs, to_device, to_rows, weights
from tests.helpers.twins import dense, random_cloud, random_view, splat

KINDS = ("perspective", "orthographic", "off-center", "affine")


def behind_the_camera(view):
    """The same orthographic view from so near that half of what it shows lies behind it, as in Blender."""
    viewmat = view.viewmat.copy()
    viewmat[2, 3] -= 3
    return type(view)(viewmat, view.K, view.width, view.height, True, -1e30)


@pytest.mark.parametrize("kind", KINDS)
def test_the_projection_is_that_of_the_cpu(rng, kind):
    cloud, view = random_cloud(rng, 400), random_view(rng, kind)
    theirs, ours = projection.project(cloud, view), cuda.project(to_device(cloud, "cpu"), view)
    assert ours.ids.tolist() == theirs.ids.tolist() and len(ours.ids) > 20
    for name in ("means2d", "conics", "opacities", "depths"):
        np.testing.assert_allclose(getattr(ours, name).numpy(), getattr(theirs, name), rtol=1e-5, atol=1e-5)
    assert (ours.radii.numpy() >= theirs.radii).all() and (ours.radii.numpy() <= theirs.radii + 1).all()


def test_the_projection_agrees_with_the_twin(rng):
    cloud, view = random_cloud(rng, 30), random_view(rng)
    ours = cuda.project(to_device(cloud, "cpu"), view)
    for k, index in enumerate(ours.ids.tolist()):
        twin = splat(cloud, index, view)
        np.testing.assert_allclose(ours.means2d[k], twin.place, atol=1e-3)
        xx, xy, yy = ours.conics[k].tolist()
        np.testing.assert_allclose([[xx, xy], [xy, yy]], twin.inverse, rtol=1e-4, atol=1e-6)


def pairs_of(cloud, view, projected) -> Pairs:
    """All pairs of a view as gsplat's kernel would list them, from the CPU's rows."""
    rows = contributions(cloud, view, all_pixels(view))
    position = np.full(len(cloud), -1)
    position[projected.ids.numpy()] = np.arange(len(projected.ids))
    places = np.repeat(np.arange(len(rows)), np.diff(rows.offsets))
    return Pairs(torch.as_tensor(position[rows.ids]), torch.as_tensor(places))


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_become_the_rows_of_the_cpu(rng, kind):
    cloud, view = random_cloud(rng, 200), random_view(rng, kind)
    projected = cuda.project(to_device(cloud, "cpu"), view)
    pixels = rng.integers(0, (view.width, view.height), (80, 2)).astype(np.int32)  # any order, repeats
    ours = to_rows(projected, pairs_of(cloud, view, projected), torch.as_tensor(pixels), view)
    theirs = contributions(cloud, view, pixels)
    np.testing.assert_array_equal(ours.offsets, theirs.offsets)
    np.testing.assert_array_equal(ours.ids, theirs.ids)
    np.testing.assert_allclose(ours.weights, theirs.weights, atol=1e-5)
    assert (ours.offsets.dtype, ours.ids.dtype, ours.weights.dtype) == (np.int64, np.int32, np.float32)
    assert len(ours.ids) > 80


def test_weights_are_alpha_times_what_passes(rng):
    places = torch.as_tensor(np.sort(rng.integers(0, 40, 300)))
    alpha = torch.as_tensor(rng.uniform(1 / 255, 0.999, 300).astype(np.float32))
    expected, passed, place = [], 1.0, -1
    for a, p in zip(alpha.tolist(), places.tolist(), strict=True):
        passed, place = (1.0, p) if p != place else (passed, place)
        expected.append(a * passed)
        passed *= 1 - a
    np.testing.assert_allclose(weights(alpha, places), expected, atol=1e-6)
    assert len(weights(alpha[:0], places[:0])) == 0


# --- the wiring, with gsplat's kernels played ------------------------------------------------------------------------


class PlayedKernels:
    """What gsplat's functions promise, in plain loops over one picture."""

    def isect_tiles(self, means2d, radii, depths, size, columns, rows):
        assert means2d.shape == (1, *means2d.shape[1:]) and radii.dtype == torch.int32
        keys = depths[0].contiguous().view(torch.int32).tolist()
        found = []
        for g, ((x, y), (rx, ry)) in enumerate(zip(means2d[0].tolist(), radii[0].tolist(), strict=True)):
            for row in range(max(0, int((y - ry) // size)), min(rows, int(-(-(y + ry) // size)))):
                for column in range(max(0, int((x - rx) // size)), min(columns, int(-(-(x + rx) // size)))):
                    found.append((row * columns + column, keys[g], g))
        found.sort()
        ids = torch.tensor([[tile << 32 | key, g] for tile, key, g in found]).reshape(-1, 2)
        return None, ids[:, 0], ids[:, 1].int()

    def isect_offset_encode(self, keys, pictures, columns, rows):
        tiles = torch.arange(rows * columns)
        return torch.searchsorted(keys >> 32, tiles).int().reshape(pictures, rows, columns)

    def rasterize_to_indices_in_range(self, start, end, through, *rest):
        *splats, width, height, size, offsets, items = rest
        assert start == 0 and end > len(items)
        found = []
        for y, x in np.ndindex(height, width):
            tile = self._tile(x, y, (size, offsets, items))
            found += [(g, y * width + x) for g, _ in self._pixel((x, y), float(through[0, y, x]), splats, tile)]
        pairs = torch.tensor(found, dtype=torch.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1], torch.zeros(len(pairs))

    def rasterize_to_pixels(self, means2d, conics, values, opacities, *rest):
        width, height, *tiles = rest
        out, alpha = torch.zeros(1, height, width, values.shape[2]), torch.zeros(1, height, width, 1)
        for y, x in np.ndindex(height, width):
            for g, weight in self._pixel((x, y), 1.0, (means2d, conics, opacities), self._tile(x, y, tiles)):
                out[0, y, x] += weight * values[0, g]
                alpha[0, y, x] += weight
        return out, alpha

    def spherical_harmonics(self, degree, directions, coefficients):
        from blender_saga.gaussians.sh import sh_basis

        units = torch.nn.functional.normalize(directions, dim=1).numpy()
        return torch.as_tensor(np.einsum("nk,nkc->nc", sh_basis(units, degree), coefficients.numpy()))

    def _tile(self, x, y, tiles):
        size, offsets, items = tiles
        ends = [*offsets.flatten().tolist(), len(items)]
        tile = y // size * offsets.shape[2] + x // size
        return items[ends[tile] : ends[tile + 1]].tolist()

    def _pixel(self, place, through, splats, tile):
        means2d, conics, opacities = (values[0] for values in splats)
        for g in tile:
            dx, dy = (p + 0.5 - m for p, m in zip(place, means2d[g].tolist(), strict=True))
            a, b, c = conics[g].tolist()
            alpha = min(0.999, float(opacities[g]) * float(np.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)))
            if alpha < 1 / 255:
                continue
            if through * (1 - alpha) <= 1e-4:
                return
            yield g, through * alpha
            through *= 1 - alpha


@pytest.fixture
def played(monkeypatch) -> CudaRasterizer:
    from gsplat.cuda import _wrapper

    kernels = PlayedKernels()
    for name in dir(kernels):
        if not name.startswith("_"):
            monkeypatch.setattr(_wrapper, name, getattr(kernels, name))
    return CudaRasterizer("cpu")


@pytest.mark.parametrize("kind", [*KINDS, "behind"])
def test_pictures_and_rows_agree_with_the_cpu(rng, played, kind):
    cloud = random_cloud(rng, 60, 9)
    view = random_view(rng, "orthographic" if kind == "behind" else kind, (35, 20))
    view = behind_the_camera(view) if kind == "behind" else view
    ours, theirs = played.render(cloud, view), render(cloud, view)
    assert theirs.alpha.max() > 0.5
    for name in ("rgb", "depth", "alpha"):
        difference = np.abs(getattr(ours, name) - getattr(theirs, name))
        assert np.quantile(difference, 0.98) < 1e-4, name  # an alpha of nearly 1/255 may fall either way
        assert getattr(ours, name).dtype == np.float32
    pixels = rng.integers(0, (view.width, view.height), (40, 2))
    pixels[1] = pixels[0]
    rows, expected = played.contributions(cloud, view, pixels), contributions(cloud, view, pixels)
    difference = np.abs(dense(rows, 60) - dense(expected, 60)).max(axis=1)
    assert (difference < 1e-4).mean() > 0.9 and len(rows) == 40


def test_nothing_in_sight_and_no_pixels(rng, played):
    cloud, view = random_cloud(rng, 5), random_view(rng)
    away = type(view)(np.diag([1.0, 1, -1, 1]) @ view.viewmat, view.K, view.width, view.height)
    assert not played.render(cloud, away).alpha.any()
    assert np.diff(played.contributions(cloud, away, all_pixels(view)).offsets).max() == 0
    assert len(played.contributions(cloud, view, np.empty((0, 2), int))) == 0
    with pytest.raises(ValueError, match="outside"):
        played.contributions(cloud, view, np.array([[view.width, 0]]))


def test_a_cloud_stays_on_the_device_while_it_is_the_last(rng, played):
    first, second, view = random_cloud(rng, 5), random_cloud(rng, 5), random_view(rng)
    played.contributions(first, view, np.zeros((1, 2), int))
    there = played._last[1]
    played.contributions(first, view, np.zeros((1, 2), int))
    assert played._last[1] is there
    played.contributions(second, view, np.zeros((1, 2), int))
    assert played._last[1] is not there and played._last[0]() is second


# --- which one is chosen --------------------------------------------------------------------------------------------


def test_without_cuda_the_cpu_rasterizes_and_the_log_says_why_once(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    select._cuda_or_cpu.cache_clear()
    with caplog.at_level(logging.WARNING):
        found = [select.rasterizer("cuda") for _ in range(3)]
    select._cuda_or_cpu.cache_clear()
    assert found == [select.CPU] * 3 and select.rasterizer("cpu").render is cpu.render
    assert [r.getMessage().count("torch finds no CUDA device") for r in caplog.records] == [1]


def test_the_toolkit_behind_a_wrapper_is_found(monkeypatch, tmp_path):
    real = tmp_path / "cuda-99"
    (real / "bin").mkdir(parents=True)
    wrapper = tmp_path / "nvcc"
    wrapper.write_text(f"#!/bin/sh\necho '#$ _HERE_={real}/bin' >&2\necho '#$ TOP={real}/bin/..' >&2\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert select.cuda_home() == str(real)
    monkeypatch.setenv("PATH", str(real))
    assert select.cuda_home() == ""

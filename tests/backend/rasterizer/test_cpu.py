"""The rasterizer against float64 loops (twins.py), picture against rows, and what must not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import colors
from blender_saga.gaussians.view import View
from saga_backend.rasterizer.cpu import all_pixels, contributions, contributions_of, render
from saga_backend.rasterizer.projection import merge, project
from tests.helpers.twins import dense, pixel_rows, random_cloud, random_view

KINDS = ("perspective", "orthographic", "off-center", "affine")


def cloud_on_axis(depths, opacities, scale=0.2) -> GaussianCloud:
    """Round Gaussians on the z axis."""
    n = len(depths)
    means = np.stack([np.zeros(n), np.zeros(n), depths], axis=1)
    quats = np.tile([1.0, 0, 0, 0], (n, 1))
    return GaussianCloud(means, quats, np.full((n, 3), scale), np.asarray(opacities, float), np.zeros((n, 1, 3)))


def view_on_axis(size=(9, 9), focal=20.0, near=0.01) -> View:
    K = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
    return View(np.eye(4), K, *size, near=near)


def test_members_take_part_and_are_counted(rng):
    cloud, view = random_cloud(rng, 80), random_view(rng)
    members = rng.permutation(80)[:30].astype(np.int32)
    some, alone = project(cloud, view, members=members), project(cloud.take(members), view)
    for name, values in some._asdict().items():
        np.testing.assert_array_equal(values, getattr(alone, name))


@pytest.mark.parametrize("kind", KINDS)
def test_the_sift_loses_nothing(rng, kind):
    cloud, view = random_cloud(rng, 300), random_view(rng, kind, (64, 48))
    for pixels in (np.array([[0, 0]]), np.array([[63, 20]]), np.array([[30, 25], [34, 26]])):
        near, everyone = project(cloud, view, pixels), project(cloud, view)
        low, high = pixels.min(axis=0), pixels.max(axis=0) + 1
        reaches = ((everyone.means2d + everyone.radii > low) & (everyone.means2d - everyone.radii < high)).all(axis=1)
        assert near.ids.tolist() == everyone.ids[reaches].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_agree_with_the_twin(rng, kind):
    cloud, view = random_cloud(rng, 50), random_view(rng, kind)
    pixels = all_pixels(view)
    rows = contributions(cloud, view, pixels)
    twin = pixel_rows(cloud, view, pixels)
    sure = [p for p in range(len(pixels)) if twin[p].sure]
    assert len(sure) > 0.7 * len(pixels)
    assert any(twin[p].ids for p in sure)
    for p in sure:
        part = slice(rows.offsets[p], rows.offsets[p + 1])
        assert rows.ids[part].tolist() == twin[p].ids
        np.testing.assert_allclose(rows.weights[part], twin[p].weights, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_picture_agrees_with_the_twin(rng, kind):
    cloud, view = random_cloud(rng, 40), random_view(rng, kind, (21, 18))
    picture = render(cloud, view)
    base = np.maximum(0.5 + 0.5 / np.sqrt(np.pi) * cloud.sh[:, 0].astype(float), 0)
    depth_of = cloud.means.astype(float) @ view.viewmat[2, :3] + view.viewmat[2, 3]
    for (column, row), twin in zip(all_pixels(view), pixel_rows(cloud, view, all_pixels(view)), strict=True):
        if not twin.sure:
            continue
        weights, alpha = np.array(twin.weights), sum(twin.weights)
        assert picture.alpha[row, column] == pytest.approx(alpha, abs=1e-4)
        np.testing.assert_allclose(picture.rgb[row, column], weights @ base[twin.ids], atol=3e-4)
        if alpha > 0.01:
            assert picture.depth[row, column] == pytest.approx(weights @ depth_of[twin.ids] / alpha, abs=2e-3)
        elif alpha == 0:
            assert picture.depth[row, column] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_blended_colors_are_the_picture(rng, kind):
    cloud = random_cloud(rng, 300, coefficients=16)
    view = random_view(rng, kind, (70, 50))
    picture = render(cloud, view)
    rows = contributions(cloud, view, all_pixels(view))
    rgb = rows.blend(colors(cloud, view.camera_position))
    np.testing.assert_allclose(rgb.reshape(50, 70, 3), picture.rgb, atol=1e-5)
    np.testing.assert_allclose(rows.alphas().reshape(50, 70), picture.alpha, atol=1e-5)
    assert picture.alpha.max() <= 1 and picture.alpha.min() >= 0


def test_chosen_pixels_in_any_order_are_those_of_the_whole_picture(rng):
    cloud, view = random_cloud(rng, 200), random_view(rng, "perspective", (60, 45))
    pixels = all_pixels(view)
    whole = contributions(cloud, view, pixels)
    chosen = rng.integers(len(pixels), size=80)  # with repeats
    part = contributions(cloud, view, pixels[chosen])
    wanted = whole.take(chosen)
    np.testing.assert_array_equal(part.offsets, wanted.offsets)
    np.testing.assert_array_equal(part.ids, wanted.ids)
    np.testing.assert_array_equal(part.weights, wanted.weights)
    one = contributions(cloud, view, pixels[chosen[:1]])
    np.testing.assert_array_equal(one.ids, whole.take(chosen[:1]).ids)


def test_all_pixels_go_row_by_row():
    assert all_pixels(view_on_axis((3, 2))).tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]


def test_merged_projections_are_those_of_the_joined_cloud(rng):
    cloud, view = random_cloud(rng, 90), random_view(rng)
    parts = [project(cloud.take(np.arange(a, b)), view) for a, b in ((0, 30), (30, 31), (31, 90))]
    rows = contributions_of(merge(parts, [0, 30, 31]), view, all_pixels(view))
    whole = contributions(cloud, view, all_pixels(view))
    np.testing.assert_array_equal(rows.ids, whole.ids)
    np.testing.assert_array_equal(rows.weights, whole.weights)


def test_order_of_the_gaussians_does_not_matter(rng):
    cloud, view = random_cloud(rng, 120), random_view(rng)
    order = rng.permutation(120)
    a = dense(contributions(cloud, view, all_pixels(view)), 120)
    b = dense(contributions(cloud.take(order), view, all_pixels(view)), 120)
    np.testing.assert_allclose(b, a[:, order], atol=1e-7)


def test_length_of_a_quaternion_does_not_matter(rng):
    cloud, view = random_cloud(rng, 50), random_view(rng)
    longer = replace(cloud, quats=cloud.quats * rng.uniform(0.2, 5, (50, 1)).astype(np.float32))
    np.testing.assert_allclose(render(longer, view).alpha, render(cloud, view).alpha, atol=1e-4)


def test_opaque_is_capped_and_ends_the_pixel():
    rows = contributions(cloud_on_axis([3, 1, 2], [1.0, 1.0, 1.0]), view_on_axis(), np.array([[4, 4]]))
    # 0.999 of the nearest; the next would bring transmittance to 1e-6, so the pixel ends before it.
    assert rows.ids.tolist() == [1]
    assert rows.weights[0] == pytest.approx(0.999, abs=1e-6)


def test_faint_is_skipped_and_not_the_end():
    rows = contributions(cloud_on_axis([1, 2], [0.0039, 0.5]), view_on_axis(), np.array([[4, 4]]))
    assert rows.ids.tolist() == [1]
    assert rows.weights[0] == pytest.approx(0.5, abs=1e-6)
    rows = contributions(cloud_on_axis([1, 2], [0.0040, 0.5]), view_on_axis(), np.array([[4, 4]]))
    assert rows.ids.tolist() == [0, 1]


def test_a_point_gets_the_dilation():
    """A Gaussian without extent is a blot of variance 0.3 px: opacity exp(-d^2 / 0.6) at d pixels."""
    picture = render(cloud_on_axis([2.0], [0.8], scale=0.0), view_on_axis())
    for dx in range(4):
        wanted = 0.8 * np.exp(-(dx**2) / 0.6)
        assert picture.alpha[4, 4 + dx] == pytest.approx(wanted if wanted >= 1 / 255 else 0, abs=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("side", [-1, 1])
def test_reach_into_the_next_tile_is_not_cut(axis, side):
    """Work goes by tiles of 16 pixels; a Gaussian whose rim just enters one must be in its list."""
    cloud = cloud_on_axis([2.0], [0.9], scale=0.3)
    rim = np.sqrt(2 * np.log(0.9 * 255)) * np.sqrt((20 * 0.3 / 2) ** 2 + 0.3)
    for step in np.arange(-1.6, 1.6, 0.1):
        view = view_on_axis((70, 70))
        view.K[:2, 2] = 40.5
        view.K[axis, 2] = 32 + side * (rim + step)
        pixels = all_pixels(view)
        near = pixels[(np.abs(pixels[:, axis] - 31.5) < 3) & (np.abs(pixels[:, 1 - axis] - 40) < 3)]
        rows, twin = contributions(cloud, view, near), pixel_rows(cloud, view, near)
        lit = render(cloud, view).alpha[near[:, 1], near[:, 0]] > 0
        for p in range(len(near)):
            if twin[p].sure:
                assert rows.offsets[p + 1] - rows.offsets[p] == len(twin[p].ids) == lit[p]


def test_nearer_than_near_is_not_drawn_and_orthographic_sees_behind():
    cloud = cloud_on_axis([0.5, 2.0, -1.0], [0.9, 0.5, 0.2])
    rows = contributions(cloud, view_on_axis(near=1.0), np.array([[4, 4]]))
    assert rows.ids.tolist() == [1]
    flat = replace(view_on_axis(near=-1e30), orthographic=True)
    rows = contributions(cloud, flat, np.array([[4, 4]]))
    assert rows.ids.tolist() == [2, 0, 1]


def test_equal_depths_keep_the_order_of_the_cloud():
    rows = contributions(cloud_on_axis([2, 2, 2], [0.5, 0.5, 0.5]), view_on_axis(), np.array([[4, 4]]))
    assert rows.ids.tolist() == [0, 1, 2]
    np.testing.assert_allclose(rows.weights, [0.5, 0.25, 0.125], atol=1e-5)


def test_nothing_to_see():
    view = view_on_axis((5, 4))
    for cloud in (cloud_on_axis([], []), cloud_on_axis([-1.0], [0.9]), cloud_on_axis([2.0], [0.0])):
        picture = render(cloud, view)
        assert not picture.rgb.any() and not picture.alpha.any() and not picture.depth.any()
        rows = contributions(cloud, view, all_pixels(view))
        assert len(rows) == 20 and len(rows.ids) == 0
    none = contributions(cloud_on_axis([2.0], [0.9]), view, np.zeros((0, 2), int))
    assert len(none) == 0 and none.offsets.tolist() == [0]


@pytest.mark.parametrize("pixel", [(-1, 0), (0, -1), (9, 0), (0, 9)])
def test_a_pixel_outside_is_refused(pixel):
    with pytest.raises(ValueError, match="outside"):
        contributions(cloud_on_axis([2.0], [0.9]), view_on_axis(), np.array([[0, 0], pixel]))


def test_huge_and_tiny_gaussians_give_finite_pictures(rng):
    cloud, view = random_cloud(rng, 60), random_view(rng)
    scales = np.exp(rng.uniform(np.log(1e-12), np.log(1e6), (60, 3)))
    picture = render(replace(cloud, scales=scales, means=cloud.means * 10), view)
    for array in (picture.rgb, picture.alpha, picture.depth):
        assert np.isfinite(array).all()
    assert picture.alpha.max() <= 1

"""SAGA's votes against plain loops and HDBSCAN's own package; LERF's relevancy; crops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hdbscan import hdbscan_

from blender_saga.errors import Cancelled
from saga_backend.common.progress import Control
from saga_backend.methods.saga.model import DEFAULT_THRESHOLD, AffinityModel
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.text.crops import THUMBNAIL, masked_crops, thumbnail
from saga_backend.text.mask_vectors import mean_features
from saga_backend.text.relevancy import mean_relevancy, relevancy
from saga_backend.text.votes import group_masks, iou_distances, mask_queries, select_gaussians, slider_positions
from tests.helpers.twins import CancelsAt, dense, unit

pytestmark = pytest.mark.usefixtures("one_thread")


def random_rows(rng, pixels: int, count: int) -> Contributions:
    lengths = rng.integers(0, 5, pixels)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(0, count, offsets[-1]).astype(np.int32)
    return Contributions(offsets, ids, rng.uniform(0, 0.4, offsets[-1]).astype(np.float32))


def random_model(rng, count: int, width: int = 6) -> AffinityModel:
    features = unit(rng.normal(size=(count, width))).astype(np.float32)
    return AffinityModel(features, rng.normal(size=(2, width)).astype(np.float32), np.sort(rng.uniform(0, 5, 9)))


def test_equation_14_and_what_a_mask_selects(rng):
    """A loop over masks and pixels that gates every pixel's feature before it is averaged, as the paper writes it."""
    model, rows = random_model(rng, 40), random_rows(rng, 30, 40)
    members = rng.random((30, 7)) < 0.4
    members[0] = True  # no mask is empty
    sizes = rng.uniform(0, 6, 7)
    scales = slider_positions(model, sizes)
    gated, gates = mask_queries(model, mean_features(model.features, rows, members), scales)
    chosen = select_gaussians(model.features, gated, gates)
    weights = dense(rows, 40)
    for m in range(7):
        table = model.quantiles
        s = float(np.interp(sizes[m], table, np.linspace(0, 1, len(table))))
        gate = np.array([1 / (1 + math.exp(-(s * w + b))) for w, b in model.gate.T])
        pixels = [
            gate * sum(weights[p, i] * model.features[i] for i in range(40)) for p in np.flatnonzero(members[:, m])
        ]
        f = sum(pixels) / len(pixels)
        np.testing.assert_allclose(gated[m], f / np.linalg.norm(f), atol=2e-5)
        for g in range(40):
            own = gate * model.features[g]
            cosine = own @ f / (np.linalg.norm(own) * np.linalg.norm(f))
            assert abs(cosine - DEFAULT_THRESHOLD) < 1e-4 or chosen[m, g] == (cosine > DEFAULT_THRESHOLD)


def test_distances_are_one_minus_iou(rng):
    sets = rng.random((12, 50)) < rng.uniform(0, 1, (12, 1))
    sets[3] = sets[7] = False
    distances = iou_distances(sets)
    for i in range(12):
        for j in range(12):
            union = (sets[i] | sets[j]).sum()
            wanted = 0 if i == j else 1 - ((sets[i] & sets[j]).sum() / union if union else 0)
            assert distances[i, j] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("smallest", [2, 3, 6])
def test_groups_are_those_of_the_package(rng, smallest):
    """The steps of hdbscan itself on the same matrix; it does not count a point as its own neighbor, and we do.

    Many edges of its tree are equally long, and its sort leaves them in any order, which can move a point to another
    group. Here they stay in the order in which they were found.
    """
    points = np.concatenate([rng.normal(size=(15, 3)) * 0.3 + center for center in rng.normal(size=(5, 3)) * 4])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2).astype(np.float32)
    reach = hdbscan_.mutual_reachability(distances.astype(np.float64), smallest - 1)
    edges = hdbscan_.mst_linkage_core(reach)
    tree = hdbscan_.label(edges[np.argsort(edges[:, 2], kind="stable")])
    wanted = hdbscan_._tree_to_labels(distances, tree, smallest)[0]
    ours = group_masks(distances, smallest, Control())
    np.testing.assert_array_equal(ours < 0, wanted < 0)
    pairs = set(zip(ours.tolist(), wanted.tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})  # the same groups, whatever numbers


def test_few_masks_make_no_group_and_grouping_can_be_cancelled(rng):
    assert (group_masks(np.zeros((3, 3), np.float32), 3, Control()) == -1).all()
    with pytest.raises(Cancelled):
        group_masks(iou_distances(rng.random((20, 9)) < 0.5), 3, CancelsAt("grouping masks"))


def test_relevancy_is_lerfs(rng):
    """The least of the pairwise softmaxes, over a loop; one half where text and best phrase fit alike."""
    pictures, text, phrases = unit(rng.normal(size=(9, 5))), unit(rng.normal(size=5)), unit(rng.normal(size=(4, 5)))
    scores = relevancy(pictures, text, phrases)
    for picture, score in zip(pictures, scores, strict=True):
        pairs = [
            math.exp(10 * picture @ text) / (math.exp(10 * picture @ text) + math.exp(10 * picture @ c))
            for c in phrases
        ]
        assert score == pytest.approx(min(pairs), abs=1e-5)
    assert relevancy(pictures, phrases[0], phrases[:1]) == pytest.approx(0.5)


def test_equation_15(rng):
    values, targets = rng.random(30).astype(np.float32), rng.integers(-1, 4, 30)
    found = mean_relevancy(values, targets, 6)
    for target in range(6):
        own = [float(v) for v, t in zip(values, targets, strict=True) if t == target]
        assert found[target] == pytest.approx(sum(own) / len(own) if own else 0, abs=1e-6)


def test_a_crop_shows_the_mask_and_nothing_else(rng):
    rgb = np.full((40, 60, 3), (0.2, 0.9, 0.1), np.float32)
    mask = np.zeros((40, 60), bool)
    mask[5:15, 30:50] = True
    rgb[mask] = (0.9, 0.1, 0.5)
    crop = masked_crops(rgb, [mask], 48)[0]
    lit = crop.max(axis=2) > 40
    assert crop.shape == (48, 48, 3) and crop.dtype == np.uint8
    np.testing.assert_allclose(crop[24, 24], [230, 26, 128], atol=2)
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert width == pytest.approx(48 / 1.2, abs=3) and height == pytest.approx(24 / 1.2, abs=3)
    assert abs(rows.mean() - 23.5) < 1.5 and abs(columns.mean() - 23.5) < 1.5
    picture = thumbnail(rgb, mask)
    assert picture.shape == (THUMBNAIL, THUMBNAIL, 3) and picture[48, 3, 1] == pytest.approx(0.3 * 0.9 * 255, abs=3)


@pytest.mark.parametrize("corner", [(0, 0), (0, 59), (39, 0), (39, 59)])
def test_masks_at_the_edge_of_the_picture(corner):
    mask = np.zeros((40, 60), bool)
    mask[corner] = True
    assert masked_crops(np.ones((40, 60, 3), np.float32), [mask], 8).any()
    assert masked_crops(np.ones((40, 60, 3), np.float32), [np.ones((40, 60), bool)], 16)[0, 8, 8].min() == 255
    assert masked_crops(np.ones((40, 60, 3), np.float32), [], 16).shape == (0, 16, 16, 3)

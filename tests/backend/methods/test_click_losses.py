"""Click-Gaussian's loss against slow twins: loops in float64, written from the paper, with autograd for gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from saga_backend.methods.click_gaussian.contrast import contrast
from saga_backend.methods.click_gaussian.guidance import guide, nearest_cluster
from saga_backend.methods.click_gaussian.regularize import rendered_loss, spatial_loss, sphere_loss
from saga_backend.methods.click_gaussian.settings import BY_NAME, PAPER, ClickSettings, Weights
from saga_backend.methods.click_gaussian.step import Stepper, pixel_loss
from saga_backend.methods.click_gaussian.torch_step import TorchStepper
from saga_backend.rasterizer.contributions import Contributions
from tests.helpers.twins import dense, unit

_CLEAR = 1e-4
"""Cosines are at least so far from every limit: on it, rounding decides."""


def leaf(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum() / (a.norm() * b.norm())


def clear_vectors(rng, count: int, channels: int, limits: tuple[float, ...], others=None) -> np.ndarray:
    """Vectors of which no two (or none and one of the others) have a cosine at a limit; they are alike now and then."""
    while True:
        vectors = (
            rng.standard_normal((count, channels)) + 2 * rng.standard_normal((3, channels))[rng.integers(3, size=count)]
        )
        vectors = vectors.astype(np.float32)
        cosines = unit(vectors) @ (unit(vectors) if others is None else others).T
        if all(np.abs(cosines - limit).min() > _CLEAR for limit in limits):
            return vectors


def slow_contrast(pixels: torch.Tensor, labels: np.ndarray, margin: float, weight: float, frozen: int) -> torch.Tensor:
    """Eq. 3 to 5, pair by pair."""
    stopped = torch.cat([pixels[:, :frozen].detach(), pixels[:, frozen:]], dim=1)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(pixels)):
        for j in range(len(pixels)):
            if labels[i] == labels[j]:
                total = total - cosine(pixels[i], pixels[j])
            elif float(cosine(pixels[i], pixels[j]).detach()) > margin:
                total = total + weight * cosine(stopped[i], stopped[j])
    return total / len(pixels) ** 2


@pytest.mark.parametrize("frozen", [0, 4])
def test_contrast_is_eq_3_to_5(rng, frozen: int) -> None:
    pixels = clear_vectors(rng, 14, 8, (0.4,))
    labels = rng.integers(0, 4, 14).astype(np.int32)
    loss, gradient = contrast(pixels, labels, 0.4, 0.3, frozen)
    slow = leaf(pixels)
    wanted = slow_contrast(slow, labels, 0.4, 0.3, frozen)
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), abs=1e-6)
    np.testing.assert_allclose(gradient, slow.grad.numpy(), atol=1e-6)


def test_the_gradient_of_the_contrast_is_its_slope(rng) -> None:
    """Finite differences, without any other code."""
    pixels = clear_vectors(rng, 10, 6, (0.4,)).astype(np.float64)
    labels = rng.integers(0, 3, 10).astype(np.int32)
    _, gradient = contrast(pixels.astype(np.float32), labels, 0.4, 0.5)
    direction = rng.standard_normal(pixels.shape)
    direction *= 1e-5 / np.abs(direction).max()
    with torch.no_grad():
        ahead, behind = (
            float(slow_contrast(torch.tensor(pixels + sign * direction), labels, 0.4, 0.5, 0)) for sign in (1, -1)
        )
    assert (ahead - behind) / 2 == pytest.approx(float((gradient * direction).sum()), rel=1e-3, abs=1e-10)


def test_a_fine_negative_leaves_the_coarse_half_alone(rng) -> None:
    """Two pixels of different fine masks, as like as can be: only the fine half is pushed."""
    pixels = np.tile(rng.standard_normal(8).astype(np.float32), (2, 1))
    pixels[1, 5] += 0.3
    _, both = contrast(pixels, np.array([0, 1], np.int32), 0.5, 1.0, frozen=4)
    assert np.abs(both[:, :4]).max() < 1e-6 < 1e-3 < np.abs(both[:, 4:]).max()  # a pixel and itself are alike: rounding


def test_sphere_is_eq_10(rng) -> None:
    features, out = rng.standard_normal((9, 6)).astype(np.float32), np.zeros((9, 6), np.float32)
    loss = sphere_loss(features, 2, 0.7, out)
    slow = leaf(features)
    terms = [(f[:3].norm() - 1) ** 2 + (f[3:].norm() - 1) ** 2 for f in slow]
    wanted = 0.7 * sum(terms) / 9
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=1e-5)
    np.testing.assert_allclose(out, slow.grad.numpy(), atol=1e-6)


def test_rendered_is_eq_11(rng) -> None:
    pixels = rng.standard_normal((9, 6)).astype(np.float32)
    loss, gradient = rendered_loss(pixels, 2**0.5, 0.7)
    slow = leaf(pixels)
    wanted = 0.7 * sum((p.norm() - 2**0.5) ** 2 for p in slow) / 9
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, slow.grad.numpy(), atol=1e-6)


def test_spatial_is_eq_12(rng) -> None:
    features, out = rng.standard_normal((12, 6)).astype(np.float32), np.zeros((12, 6), np.float32)
    neighbors = np.array([rng.permutation([j for j in range(12) if j != i])[:3] for i in range(12)], np.int32)
    ids = rng.integers(0, 12, 8).astype(np.int32)  # one of them twice, as it comes
    loss = spatial_loss(features, ids, neighbors, 0.7, out)
    slow = leaf(features)
    wanted = -0.7 * sum(cosine(slow[i], slow[k]) for i in ids for k in neighbors[i]) / (8 * 3)
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(out, slow.grad.numpy(), atol=1e-6)


def slow_guide(features: torch.Tensor, clusters: np.ndarray, belongs: float, margin: float) -> torch.Tensor:
    """Eq. 7 to 9, Gaussian by Gaussian."""
    total = torch.zeros((), dtype=torch.float64)
    for feature in features:
        cosines = [cosine(feature, torch.tensor(c, dtype=torch.float64)) for c in clusters]
        best = int(np.argmax([float(c.detach()) for c in cosines]))
        for index, value in enumerate(cosines):
            if index == best and float(value.detach()) > belongs:
                total = total - value
            elif index != best and float(value.detach()) > margin:
                total = total + value / len(clusters)
    return total / len(features)


@pytest.mark.parametrize("count", [1, 5])
def test_guidance_is_eq_7_to_9(rng, count: int) -> None:
    clusters = unit(rng.standard_normal((count, 4)) + 1).astype(np.float32)
    features = rng.standard_normal((20, 8)).astype(np.float32)
    features[:, 2:6] = clear_vectors(rng, 20, 4, (0.6, 0.3), clusters)
    features[:count, 2:6] = 1.7 * clusters + 0.05  # some belong
    out = np.zeros_like(features)
    loss = guide(features, clusters, slice(2, 6), (0.7, 0.6, 0.3), out)
    slow = leaf(features)
    wanted = 0.7 * slow_guide(slow[:, 2:6], clusters, 0.6, 0.3)
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(out, slow.grad.numpy(), atol=1e-6)


def test_nearest_cluster_is_the_largest_cosine(rng) -> None:
    features, clusters = rng.standard_normal((50, 6)).astype(np.float32), unit(rng.standard_normal((7, 6)))
    labels, cosines = nearest_cluster(features, clusters.astype(np.float32))
    wanted = unit(features.astype(np.float64)) @ clusters.T
    np.testing.assert_array_equal(labels, wanted.argmax(axis=1))
    np.testing.assert_allclose(cosines, wanted.max(axis=1), atol=1e-5)


def random_case(rng, settings: ClickSettings, gaussians: int = 40, pixels: int = 25):
    """Features, rows, labels, Gaussians around, clusters."""
    lengths = rng.integers(1, 6, pixels)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = Contributions(
        offsets, rng.integers(0, gaussians, offsets[-1]).astype(np.int32), rng.random(offsets[-1]).astype(np.float32)
    )
    labels = rng.integers(0, 5, (settings.levels, pixels)).astype(np.int32)
    features = rng.standard_normal((gaussians, settings.channels)).astype(np.float32)
    neighbors = rng.integers(0, gaussians, (gaussians, 5)).astype(np.int32)
    spans = [settings.span(level) for level in range(settings.levels)]
    clusters = [unit(rng.standard_normal((4, s.stop - s.start))).astype(np.float32) for s in spans]
    around = rng.integers(0, gaussians, 15).astype(np.int32)
    return features, neighbors, (rows, labels, around, clusters)


VARIANTS = {
    "paper": PAPER,
    "three levels": BY_NAME["three-levels"],
    "no prior": replace(PAPER, prior=False),
    "bare": replace(PAPER, weights=Weights(guidance=0, sphere=0, rendered=0, spatial=0)),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_cpus_step_is_that_of_tensors(rng, name: str) -> None:
    settings = VARIANTS[name]
    features, neighbors, batch = random_case(rng, settings)
    fast = Stepper(features.copy(), neighbors, settings)
    slow = TorchStepper(features.copy(), neighbors, replace(settings, device="cpu"))
    gradient = np.zeros_like(features)
    loss = fast.loss(*batch, gradient)
    wanted = slow.loss(*batch)
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), abs=1e-4)
    np.testing.assert_allclose(gradient, slow._features.grad.numpy(), atol=2e-4)
    for _ in range(3):
        assert fast.step(*batch) == pytest.approx(slow.step(*batch), abs=1e-3)
    # Adam divides by the gradient's size: where that is only rounding, the two may part.
    assert np.quantile(np.abs(fast.features() - slow.features()), 0.95) < 1e-3


def test_pixels_pass_their_gradient_to_all_levels(rng) -> None:
    """The whole of the pixels' loss, level by level, in float64."""
    settings = replace(PAPER, margins=(0.4, 0.6))
    pixels = clear_vectors(rng, 10, 24, (0.4, 0.6))
    labels = rng.integers(0, 3, (2, 10)).astype(np.int32)
    loss, gradient = pixel_loss(pixels, labels, settings)
    slow = leaf(pixels)
    wanted = torch.zeros((), dtype=torch.float64)
    for level, (end, frozen, radius) in enumerate([(12, 0, 1), (24, 12, 2**0.5)]):
        wanted = wanted + slow_contrast(slow[:, :end], labels[level], settings.margins[level], 0.1, frozen)
        wanted = wanted + 0.2 * sum((p[:end].norm() - radius) ** 2 for p in slow) / 10
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=1e-4)
    np.testing.assert_allclose(gradient, slow.grad.numpy(), atol=1e-4)


def test_a_step_without_numbers_changes_nothing(rng) -> None:
    features, neighbors, batch = random_case(rng, PAPER)
    features[batch[0].ids[0]] = np.nan
    stepper = Stepper(features, neighbors, PAPER)
    before = features.copy()
    assert not np.isfinite(stepper.step(*batch))
    np.testing.assert_array_equal(stepper.features(), before)


def test_pixels_are_blended_by_their_rows(rng) -> None:
    """Eq. 2: the loss of pixels reaches the Gaussians by the rows' weights."""
    settings = replace(PAPER, weights=Weights(sphere=0, spatial=0))
    features, neighbors, (rows, labels, around, _) = random_case(rng, settings)
    out = np.zeros_like(features)
    loss = Stepper(features, neighbors, settings).loss(rows, labels, around, None, out)
    weights = dense(rows, len(features))
    wanted, upstream = pixel_loss((weights @ features).astype(np.float32), labels, settings)
    assert loss == pytest.approx(wanted, abs=1e-4)
    np.testing.assert_allclose(out, weights.T @ upstream, atol=1e-4)

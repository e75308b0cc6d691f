"""Instant select: nothing is trained; a picture's mask under the clicks is lifted to the Gaussians that make it."""

"""Draws the Gaussians in the viewport."""

"""Sets of Gaussians that belong together."""

"""Gaussian clouds: the class, file formats, transforms, views (pure: numpy only; the backend imports this too)."""

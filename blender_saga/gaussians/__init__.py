"""Gaussian clouds: the class, file formats, transforms and views. Numpy only; the backend imports this too."""

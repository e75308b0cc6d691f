"""Click-Gaussian (Choi et al. 2024): features of two levels, clusters of the whole scene, one click."""

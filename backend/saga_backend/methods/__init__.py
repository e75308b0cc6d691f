"""Training methods for affinity features: SAGA and Click-Gaussian."""

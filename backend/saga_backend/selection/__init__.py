"""From a click to a set of Gaussians."""

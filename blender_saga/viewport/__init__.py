"""Drawing of Gaussians in the viewport."""

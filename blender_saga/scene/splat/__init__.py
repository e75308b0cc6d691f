"""A splat as a point cloud object, and what of it is drawn."""

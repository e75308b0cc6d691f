"""Tools that are independent of splats."""

"""Tools that know nothing of splats."""

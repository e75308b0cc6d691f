"""Rasterization of a cloud in a view: picture, depth and contribution rows."""

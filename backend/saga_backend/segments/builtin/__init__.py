"""Segments from the splat's own shape and color."""

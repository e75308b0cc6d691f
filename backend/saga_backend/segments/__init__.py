"""Segments: sets of Gaussians that form an object or a part of one."""

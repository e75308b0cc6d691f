"""Segments on which the masks of many views agree."""

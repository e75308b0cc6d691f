"""Scenes and models made for demos and tests; not part of the extension."""

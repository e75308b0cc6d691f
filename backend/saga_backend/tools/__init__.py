"""Makers of scenes and models for demos and tests; not part of the extension."""

"""Edits that need no backend."""

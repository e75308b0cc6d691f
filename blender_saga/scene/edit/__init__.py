"""Edits that do not need the backend."""

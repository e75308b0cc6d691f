"""Selecting by votes of the masks themselves, before anything is trained."""

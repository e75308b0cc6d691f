"""Selecting with Segment Anything before anything is trained."""

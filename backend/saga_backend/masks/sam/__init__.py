"""Segment Anything: its weights, its model, its masks."""

"""Segment Anything: weights, model and automatic masks."""

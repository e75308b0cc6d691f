"""Consensus: segments on which the masks of many views agree."""

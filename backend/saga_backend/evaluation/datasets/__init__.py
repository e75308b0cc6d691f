"""Readers of published benchmarks, in the folder layouts of their authors."""

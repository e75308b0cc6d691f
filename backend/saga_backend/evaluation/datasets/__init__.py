"""Benchmarks of other people's, in the folders that their authors publish."""

"""The quality of selections: protocols, published benchmarks, pictures."""

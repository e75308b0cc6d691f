"""Quality of selections: protocols, published benchmarks, pictures."""

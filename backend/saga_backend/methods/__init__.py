"""What is trained: affinity features, by two methods."""

"""Selection with Segment Anything, without any training."""

"""Words: what a text means, names for segments, colors by text."""

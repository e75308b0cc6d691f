"""Text: search, names for segments, and colors by text."""

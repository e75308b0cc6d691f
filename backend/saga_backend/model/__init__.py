"""What a trained scene is, and its file."""

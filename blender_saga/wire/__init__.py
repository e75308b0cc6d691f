"""The protocol between Blender and the backend (pure: standard library and numpy)."""

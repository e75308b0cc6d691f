"""The one definition of what Blender and the backend say to each other (pure: standard library and numpy)."""

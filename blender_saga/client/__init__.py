"""The client of the backend (pure: no bpy)."""

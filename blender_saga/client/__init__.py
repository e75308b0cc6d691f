"""The backend seen from Blender (pure: no bpy)."""

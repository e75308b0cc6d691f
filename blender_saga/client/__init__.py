"""The backend seen from Blender: its environment, its process, the connection, the jobs (pure: no bpy)."""

"""Access to Blender's data-blocks, which no other package changes."""

"""The only code that touches Blender's data-blocks."""

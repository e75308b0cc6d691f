"""Built-in segments: from the shape and color of the splat."""

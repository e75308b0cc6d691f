"""Sources of views: the cameras of photos, or virtual cameras around the splat."""

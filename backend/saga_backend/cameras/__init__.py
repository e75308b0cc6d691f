"""Where views come from: cameras of photos, or virtual views of the splat itself."""

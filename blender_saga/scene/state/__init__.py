"""What this run of Blender knows and what the .blend keeps: session, properties, timer, log."""

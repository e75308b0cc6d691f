"""State of the add-on: one file a state, properties, timer and log."""

"""State of the add-on: session, properties, timer and log."""

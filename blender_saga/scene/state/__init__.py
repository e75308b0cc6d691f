"""State of the add-on (one file a state), properties, timer, log and report, and how the backend is started."""

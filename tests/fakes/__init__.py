"""Stand-ins: a backend that follows a script, and a session that needs no torch."""

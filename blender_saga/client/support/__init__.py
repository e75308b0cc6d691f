"""Log files and the report that a user can copy."""

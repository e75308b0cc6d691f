"""Log files and the support report."""

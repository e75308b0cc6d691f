"""Installation of the backend's environment (standard library only, valid Python 3.9)."""

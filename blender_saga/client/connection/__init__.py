"""The backend's process, the socket to it, and what was asked of it."""

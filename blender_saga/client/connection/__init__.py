"""The backend's process, the connection to it, and its jobs."""

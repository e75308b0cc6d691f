"""Sockets, jobs, sessions."""

"""Requests to the backend: build them from the user's input and write their answers to the scene."""

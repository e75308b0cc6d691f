"""Masks of pictures, from files and models."""

"""Masks of pictures, from files and from models."""

"""Operators, panels and preferences: a thin layer that checks, calls and reports."""

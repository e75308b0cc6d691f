"""Operators, panels, preferences: thin. They check, call and report."""

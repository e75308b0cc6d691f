"""Tests by tier; `tests.fakes` is shared by them."""

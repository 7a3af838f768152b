"""Measurements of what should be fast, each with its target. `README.md` has the figures."""

"""Moulin in Python: describe a job, submit it, follow it, read its rows."""

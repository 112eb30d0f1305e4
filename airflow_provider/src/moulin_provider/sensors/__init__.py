"""Waiting for files."""

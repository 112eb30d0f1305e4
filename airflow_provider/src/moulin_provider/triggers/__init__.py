"""Waiting for a job without holding a worker slot."""

"""Benchmarks of reading alone: a file to Arrow batches that are counted and dropped."""

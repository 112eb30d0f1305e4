"""Benchmarks: a real file to a committed Iceberg snapshot, with Moulin and with what one would use otherwise."""

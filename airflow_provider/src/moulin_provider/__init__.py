"""Moulin in Airflow: tasks that land files in Apache Iceberg through Moulin workers, each row exactly once."""

from moulin_provider.get_provider_info import get_provider_info

__version__ = "0.1.0"

__all__ = ["__version__", "get_provider_info"]

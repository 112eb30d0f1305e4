"""Connection type `moulin`."""

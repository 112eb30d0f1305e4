"""`@task.moulin`."""

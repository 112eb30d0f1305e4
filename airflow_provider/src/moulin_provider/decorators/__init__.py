"""`@task.moulin` and `@task.moulin_sql`; here under names that a type checker knows."""

from moulin_provider.decorators.moulin import moulin_tables_task, moulin_task
from moulin_provider.decorators.moulin_sql import moulin_sql_task

__all__ = ["moulin_sql_task", "moulin_tables_task", "moulin_task"]

"""A worker and a real Airflow on this machine, each part a process of its own; for the demo and the tests.

Only the standard library is used, so any Python can import it; the Airflow that is started has an interpreter of
its own. Processes stand in process groups and carry a mark in their environment: after `stop` nothing is left.
"""

from local_stack.airflow_home import LocalAirflow
from local_stack.processes import LocalProcess, StackError, free_port, marked_processes
from local_stack.worker import LocalWorker

__all__ = ["LocalAirflow", "LocalProcess", "LocalWorker", "StackError", "free_port", "marked_processes"]

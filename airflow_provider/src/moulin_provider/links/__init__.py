"""Buttons on the task instance."""

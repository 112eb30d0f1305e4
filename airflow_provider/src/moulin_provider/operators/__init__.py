"""Tasks that land rows."""

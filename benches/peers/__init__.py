"""What one would land files with without Moulin. One module a tool; each does it as well as the tool can.

A module imports its tool at the top (that is not timed) and has `land(file, file_format, table)` (that is).
"""

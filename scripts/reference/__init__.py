"""The reference of all options, from the comments of the protocol and the classes of the client.

The protocol says what an option means; the client's dataclasses, whose names are those of job files, say how it is
written and what its default is. A test of the client keeps the two complete.
"""

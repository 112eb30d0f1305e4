"""The reference of all options, from the comments of the protocol and the classes of the client.

The protocol says what an option means; the client's dataclasses, whose names are those of job files, say how it is
written and what its default is. A test of the client keeps the two complete.
"""

import sys
from types import ModuleType

# The builders that stand there are about to be written anew, and may not fit the classes any more.
_OLD = ModuleType("moulin.source.builders")
for _name in ("csv", "tsv", "ndjson", "json", "parquet"):
    setattr(_OLD, _name, None)
sys.modules[_OLD.__name__] = _OLD

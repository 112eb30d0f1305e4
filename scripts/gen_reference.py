"""Writes what is generated from the options of a source and a job: the client's builders, and the reference pages.

gen_reference.py           write them
gen_reference.py --check   write nothing; end with 1 when what is committed differs
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from reference import builders, markdown
from reference.comments import Protocol

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Writes or checks; the exit code."""
    protocol = Protocol.read()
    wanted = {
        ROOT / "client/src/moulin/source/builders.py": builders.module(protocol),
        ROOT / "docs/reference/source.md": markdown.source_page(protocol),
        ROOT / "docs/reference/job.md": markdown.job_page(protocol),
    }
    if "--check" not in sys.argv[1:]:
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        print(f"wrote {len(wanted)} files of the options' reference")
        return 0
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        there = path.read_text().splitlines() if path.exists() else []
        print("\n".join(difflib.unified_diff(there, wanted[path].splitlines(), str(path), "generated", lineterm="")))
    print("the reference is not what proto/ says; run `make gen`" if stale else "the options' reference is up to date")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

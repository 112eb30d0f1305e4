"""Which news are worth a line."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from moulin.fault import Fault, FaultKind
from moulin.job import Progress, Room

from moulin_provider.progress_log import ProgressLog, figures

BUSY = Progress(
    room=Room.LAND,
    files_total=3,
    files_done=1,
    bytes_total=200_000_000,
    bytes_done=50_000_000,
    rows_read=1_500_000,
    rows_rejected=7,
    rows_out=1_400_000,
    elapsed=timedelta(seconds=2),
)


def test_a_line_says_percent_rows_rejects_and_speed(make_job):
    line = figures(make_job(progress=BUSY))
    for part in (
        "land",
        "25% of 200.0 MB",
        "1,500,000 rows read",
        "7 rejected",
        "1/3 files",
        "25.0 MB/s",
        "about 6 s left",
    ):
        assert part in line


@pytest.mark.parametrize(
    ("seconds", "left"), [(0.1, "1 s"), (29, "87 s"), (100, "5 min"), (3600, "3 h 00 min"), (7300, "6 h 05 min")]
)
def test_how_long_it_will_go_on_is_said_as_people_say_it(make_job, seconds, left):
    line = figures(make_job(progress=replace(BUSY, elapsed=timedelta(seconds=seconds))))
    assert line.endswith(f"about {left} left")


def test_nothing_is_said_of_the_time_left_when_all_is_read(make_job):
    assert "left" not in figures(make_job(progress=replace(BUSY, bytes_done=BUSY.bytes_total)))


def test_every_change_of_state_is_said_once(make_job):
    news = ProgressLog(5, now=0)
    queued = make_job("queued", attempt=0)
    lines = [news.line(job, now=0.1) for job in (queued, queued, make_job("running"), make_job("succeeded"))]
    assert [line is not None for line in lines] == [True, False, True, True]


def test_another_attempt_is_news(make_job):
    news = ProgressLog(5, now=0)
    news.line(make_job("running"), now=0)
    assert "attempt 2" in (news.line(make_job("running", attempt=2), now=0) or "")


def test_a_job_that_is_queued_again_says_why_and_what_to_do(make_job):
    fault = Fault(FaultKind.COMMIT_UNKNOWN, "the rows are committed", "give the rights back", causes=("403",))
    line = ProgressLog(5, now=0).line(make_job("queued", attempt=2, fault=fault))
    assert line is not None
    assert line.endswith(
        "queued again after attempt 2: the rows are committed, because: 403; what to do: give the rights back"
    )


def test_a_long_job_says_less_and_less(make_job):
    news = ProgressLog(1, now=0)
    said = [at for at in range(600) if news.line(make_job("running", progress=BUSY), now=at)]
    assert said[:5] == [0, 1, 3, 7, 15]
    assert len(said) < 20
    assert max(b - a for a, b in itertools.pairwise(said)) <= 60

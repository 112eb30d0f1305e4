"""What a worker tells of configured addresses is without their secrets, above all where those made them wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

import catalogs
from local_stack.postgres import LocalPostgres
from worker_process import run_moulin


@pytest.mark.parametrize("user", ["u:hun/ter2", "u:hun#ter2", "u:hun?ter2", "u:hun@ter2"])
@pytest.mark.parametrize("key", ["MOULIN_STORE_URL", "MOULIN_CATALOG_URI"])
def test_a_wrong_address_is_told_without_its_password(key: str, user: str, state: Path) -> None:
    for url in (f"postgresql://{user}@db:x/jobs", f"postgresql:{user}@db", f"mysql://{user}@db/jobs"):
        doctor = run_moulin(state, "doctor", **{key: url})

        told = doctor.stdout + doctor.stderr
        assert doctor.returncode == 1
        assert "does not open" in told
        assert "hun" not in told
        assert "ter2" not in told


@pytest.mark.parametrize("more", [(), ("--rejects",)])
def test_a_job_that_is_not_in_the_store_is_told_without_the_store_s_password(
    more: tuple[str, ...], postgres: LocalPostgres, state: Path
) -> None:
    settings = catalogs.postgres(state, postgres.new_database()).settings
    url = settings["MOULIN_CATALOG_URI"]
    user, place = url.removeprefix("postgresql://").split("@")

    got = run_moulin(state, "get", "job-00000000000000000000", *more, **settings, MOULIN_STORE_URL=url)

    assert got.returncode != 0
    assert f"postgresql://***@{place}" in got.stdout + got.stderr
    assert user not in got.stdout + got.stderr

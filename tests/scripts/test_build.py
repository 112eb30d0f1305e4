"""The words that stand in a log while the worker builds."""

from __future__ import annotations

import os

import pytest

import build


def told(text: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that come of what cargo writes."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        build._tell(stream)
    return capsys.readouterr().err.splitlines()


def test_counters_that_cargo_draws_again_and_again_are_told_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = "".join(f"   Fetch [=>   ] {at} complete; 7 pending\r Downloading {at} crates\r" for at in range(500))
    built = "".join(f"    Building [=>   ] {at}/754: syn\r" for at in range(700))
    assert told(drawn + built, capsys) == []
    monkeypatch.setattr(build, "LOG_EVERY_SECONDS", 0.0)
    assert told(" Downloading 12 crates\r    Building [=>   ] 7/754: syn\r", capsys) == [
        "  fetching crates: Downloading 12 crates",
        "  7 of 754 crates after 0 min 00 s; now: syn",
    ]


def test_what_cargo_has_to_say_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert told("   Compiling syn v2.0\nerror[E0433]: cannot find module\n", capsys) == [
        "error[E0433]: cannot find module"
    ]

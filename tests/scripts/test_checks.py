from __future__ import annotations

from pathlib import Path

import pytest

import check_links
import check_proto
import run_tests

PROTO = """
syntax = "proto3";

// A package.
package moulin.v1;

// How it is.
enum Mood {
  MOOD_UNSPECIFIED = 0;
  // Fine.
  MOOD_GOOD = 1;
}

// A thing.
message Thing {
  // Its name.
  string name = 1;
}
"""


@pytest.mark.parametrize(
    ("written", "instead", "finding"),
    [
        ("  // Its name.\n", "", "Thing.name has no comment"),
        ("// A thing.\n", "", "message Thing has no comment"),
        ("  // Fine.\n", "", "Mood.MOOD_GOOD has no comment"),
        ("MOOD_UNSPECIFIED", "MOOD_NONE", "not MOOD_UNSPECIFIED = 0"),
        ("MOOD_GOOD", "GOOD", "GOOD does not start with MOOD_"),
        ("string name", "string Name", "not lower_snake_case"),
    ],
)
def test_a_broken_rule_of_the_protocol_is_found(
    written: str, instead: str, finding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_proto, "PROTO", tmp_path)
    file = tmp_path / "moulin" / "v1" / "thing.proto"
    file.parent.mkdir(parents=True)
    file.write_text(PROTO)
    assert [line for found in check_proto.descriptors().file for line in check_proto.findings(found)] == []
    file.write_text(PROTO.replace(written, instead, 1))
    (found,) = [line for one in check_proto.descriptors().file for line in check_proto.findings(one)]
    assert finding in found
    assert "thing.proto" in found


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_links, "ROOT", tmp_path)
    (tmp_path / "there.md").write_text("# A Heading, with `code`\n")
    page = tmp_path / "page.md"
    page.write_text("[a](there.md) [b](there.md#a-heading-with-code) [c](https://example.com)\n```\n[d](no)\n```\n")
    assert list(check_links.broken(page)) == []
    page.write_text("[a](missing.md) [b](there.md#no-heading)")
    assert list(check_links.broken(page)) == [
        "page.md: missing.md leads nowhere",
        "page.md: there.md#no-heading: there is no such heading",
    ]


def test_the_figures_of_all_test_binaries_are_found() -> None:
    output = (
        b"running 3 tests\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n"
        b"test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n"
    )
    assert [tuple(map(int, found)) for found in run_tests.CARGO_RESULT.findall(output)] == [(3, 0, 1), (1, 2, 0)]


def test_a_suite_that_ran_nothing_is_no_success() -> None:
    outcome = run_tests.run("none", lambda: run_tests.Outcome("none"))
    assert not outcome.ok
    assert outcome.broken == "it ran no test"

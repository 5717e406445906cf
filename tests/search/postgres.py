"""A PostgreSQL server of a test's own: unprivileged, on a free loopback port, gone afterwards."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian's package keeps the programs, which it leaves out of PATH."""
USERS = ("postgres", "nobody")
"""Who runs the server where the tests run as root, which PostgreSQL refuses."""
READY_S = 30.0


@contextmanager
def postgres() -> Iterator[str]:
    """A server with an empty database; yields its URL, and skips the test where there is none."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server here; Debian has it as `apt-get install postgresql`")
    user = _user()
    place = Path(tempfile.mkdtemp(prefix="weighin-postgres-"))
    try:
        if user is not None:
            shutil.chown(place, user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data = place / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "weighin", "-A", "trust", "--no-sync"],
            check=True,
            capture_output=True,
            user=user,
            cwd=place,
        )
        options = ["-p", str(port), "-k", place, "-c", "listen_addresses=127.0.0.1"]
        with (place / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-c", "fsync=off", *options],
                stdout=log,
                stderr=log,
                user=user,
                cwd=place,
            )
        try:
            _wait(port, server)
            yield f"postgresql://weighin@127.0.0.1:{port}/postgres"
        finally:
            # SIGINT asks for a shutdown that does not wait for clients
            server.send_signal(signal.SIGINT)
            server.wait()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _programs() -> Path | None:
    """The folder of the server's programs; the newest where there are several."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    newest = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    return newest[-1].parent if newest else None


def _user() -> str | None:
    if os.geteuid() != 0:
        return None
    for name in USERS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is no other user here")


def _wait(port: int, server: "subprocess.Popen[bytes]") -> None:
    import psycopg

    until = time.monotonic() + READY_S
    while True:
        try:
            psycopg.connect(f"postgresql://weighin@127.0.0.1:{port}/postgres").close()
        except psycopg.OperationalError:
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.1)
        else:
            return

"""Dashboard: optuna-dashboard on a study, served to look at, with the runs as artifacts.

A study and its folder in, an HTTP server out. The pages are optuna-dashboard's own; what they may
ask for is narrowed to reading, since a click that deletes a trial or tells its outcome would break
a search that is under way.
Source: `optuna_dashboard.wsgi`, https://optuna-dashboard.readthedocs.io.
"""

import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from search.errors import StudyError
from search.study.artifacts import artifacts_at
from search.study.study import Study

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

EXTRA = "pip install 'weighin[dashboard]'"
READING = ("GET", "HEAD")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    """A download that hangs does not keep the command from ending."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    """A page asks for its trials every few seconds; that is no progress to tell of."""

    def log_message(self, *_said: object, **_more: object) -> None:
        return


def dashboard_server(study: Study, folder: Path, *, host: str, port: int) -> WSGIServer:
    """A server that is bound and not serving yet.

    Args:
        study: What is looked at; others in its storage are shown too.
        folder: The study's, wherever it was moved to.
        host: Address to listen on.
        port: 0 takes a free one.

    Raises:
        StudyError: optuna-dashboard is missing, or the address cannot be had.
        StorageError: The artifact store cannot be opened.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise StudyError(f"optuna-dashboard is missing; {EXTRA}") from None
    store = artifacts_at(study.record.artifacts, folder).store
    application = _reading(wsgi(study.storage, artifact_store=store))
    kind = _Server6 if ":" in host else _Server
    try:
        return make_server(host, port, application, server_class=kind, handler_class=_Quiet)
    except (OSError, OverflowError) as error:
        raise StudyError(
            f"cannot listen on {host} port {port} ({error}); name another --port or --host"
        ) from None


def address_of(server: WSGIServer, study: Study) -> str:
    """Where a browser finds the study."""
    host, port = server.server_address[:2]
    shown = f"[{host!s}]" if ":" in str(host) else str(host)
    return f"http://{shown}:{port}/dashboard/studies/{study.id}"


def _reading(application: "WSGIApplication") -> "WSGIApplication":
    """The application without what writes."""

    def narrowed(
        environment: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] in READING:
            return application(environment, start_response)
        start: Callable[..., object] = start_response
        start("403 Forbidden", [("Content-Type", "application/json")])
        return [b'{"reason": "weighin dashboard is to look at; nothing can be changed here"}']

    return narrowed

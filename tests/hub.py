"""A stand-in for the Hugging Face Hub: the endpoints that an upload takes, over real HTTP.

Speaks what `huggingface_hub` speaks: a repository's making, the check of a card's YAML, preupload,
the LFS batch with its upload and verification, the commit, and what a repository holds. Keeps what
it was sent, and refuses what the real one refuses: bytes of another hash, a wrong token, a card
without a licence.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import yaml
from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

TOKEN = "hf_standin"
LFS_SUFFIX = ".gguf"
OPEN = ("/store/", "/api/validate-yaml")
"""What asks for no token: addresses that are signed, and the check of a card."""


@dataclass
class Repo:
    """One repository."""

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    lfs: dict[str, str] = field(default_factory=dict)
    """SHA-256 by path, of what is in large storage."""
    commits: list[tuple[str, str]] = field(default_factory=list)
    """Summary and description."""

    @property
    def head(self) -> str:
        """The last commit's id."""
        return hashlib.sha1(repr(self.commits).encode()).hexdigest()


@dataclass
class Hub:
    """What the stand-in holds."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """Large files by SHA-256."""
    verified: set[str] = field(default_factory=set)
    damage: bool = False
    """Whether large files are kept under another hash, as a broken storage would."""


@contextmanager
def standing_in() -> Iterator[Hub]:
    """A hub on a free port of this machine."""
    hub = Hub()
    server = make_server("127.0.0.1", 0, _app(hub), threaded=True)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _app(hub: Hub) -> Flask:
    app = Flask("hub")

    @app.before_request
    def logged_in() -> tuple[Response, int] | None:
        if request.path.startswith(OPEN):
            return None
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return jsonify(error="Invalid username or password."), 401
        return None

    @app.post("/api/repos/create")
    def create() -> tuple[Response, int]:
        asked = request.get_json()
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] == "forbidden":
            return jsonify(error="You don't have the rights to create a model there"), 403
        if name in hub.repos:
            told = jsonify(error="You already created this model repo", url=f"{hub.url}/{name}")
            return told, 409
        hub.repos[name] = Repo(private=asked.get("visibility") == "private")
        return jsonify(url=f"{hub.url}/{name}"), 200

    @app.post("/api/validate-yaml")
    def validate() -> tuple[Response, int]:
        block = re.match(r"---\n(.*?)\n---\n", request.get_json()["content"], re.DOTALL)
        found = yaml.safe_load(block[1]) if block else {}
        if not found.get("license") or found["license"] == "made-up":
            told = [{"message": '"license" must be one of [apache-2.0, mit, other, ...]'}]
            return jsonify(errors=told, warnings=[]), 400
        warned = [] if "language" in found else [{"message": "no language is given"}]
        return jsonify(errors=[], warnings=warned), 200

    @app.get("/api/models/<user>/<name>")
    def info(user: str, name: str) -> tuple[Response, int]:
        repo = hub.repos.get(f"{user}/{name}")
        if repo is None:
            return _missing()
        return jsonify(id=f"{user}/{name}", sha=repo.head, private=repo.private), 200

    @app.get("/api/models/<user>/<name>/tree/<revision>")
    def tree(user: str, name: str, revision: str) -> tuple[Response, int]:
        repo = hub.repos.get(f"{user}/{name}")
        return _missing() if repo is None else (jsonify([_entry(repo, p) for p in repo.files]), 200)

    @app.post("/api/models/<user>/<name>/paths-info/<revision>")
    def paths(user: str, name: str, revision: str) -> tuple[Response, int]:
        repo = hub.repos[f"{user}/{name}"]
        asked = request.form.getlist("paths") or (request.get_json(silent=True) or {})["paths"]
        return jsonify([_entry(repo, p) for p in asked if p in repo.files]), 200

    @app.post("/api/models/<user>/<name>/preupload/<revision>")
    def preupload(user: str, name: str, revision: str) -> tuple[Response, int]:
        if f"{user}/{name}" not in hub.repos:
            return _missing()
        files = [
            {
                "path": own["path"],
                "uploadMode": "lfs" if own["path"].endswith(LFS_SUFFIX) else "regular",
                "shouldIgnore": False,
            }
            for own in request.get_json()["files"]
        ]
        return jsonify(files=files), 200

    @app.post("/<user>/<name>.git/info/lfs/objects/batch")
    def batch(user: str, name: str) -> tuple[Response, int]:
        told = []
        for own in request.get_json()["objects"]:
            answer = {"oid": own["oid"], "size": own["size"]}
            if own["oid"] not in hub.objects:
                answer["actions"] = {
                    "upload": {"href": f"{hub.url}/store/{own['oid']}"},
                    "verify": {"href": f"{hub.url}/verify"},
                }
            told.append(answer)
        return jsonify(transfer="basic", objects=told), 200

    @app.put("/store/<oid>")
    def store(oid: str) -> tuple[str, int]:
        data = request.get_data()
        if hashlib.sha256(data).hexdigest() != oid:
            return "the content is not of that hash", 400
        hub.objects[oid] = data
        return "", 200

    @app.post("/verify")
    def verify() -> tuple[Response, int]:
        asked = request.get_json()
        if len(hub.objects.get(asked["oid"], b"")) != asked["size"]:
            return jsonify(error="not there"), 404
        hub.verified.add(asked["oid"])
        return jsonify(ok=True), 200

    @app.post("/api/models/<user>/<name>/commit/<revision>")
    def commit(user: str, name: str, revision: str) -> tuple[Response, int]:
        repo = hub.repos[f"{user}/{name}"]
        for line in request.get_data().splitlines():
            row = json.loads(line)
            value = row["value"]
            if row["key"] == "header":
                repo.commits.append((value["summary"], value["description"]))
            elif row["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert row["key"] == "lfsFile"
                repo.files[value["path"]] = hub.objects[value["oid"]]
                repo.lfs[value["path"]] = "0" * 64 if hub.damage else value["oid"]
        place = f"{hub.url}/{user}/{name}/commit/{repo.head}"
        return jsonify(commitUrl=place, commitOid=repo.head, success=True), 200

    return app


def _missing() -> tuple[Response, int]:
    answer = jsonify(error="Repository not found")
    answer.headers["X-Error-Code"] = "RepoNotFound"
    return answer, 404


def _entry(repo: Repo, path: str) -> dict[str, object]:
    data = repo.files[path]
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    entry: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": oid}
    if path in repo.lfs:
        entry["lfs"] = {"oid": repo.lfs[path], "size": len(data), "pointerSize": 130}
    return entry

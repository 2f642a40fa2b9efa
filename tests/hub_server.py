"""A server in place of the Hugging Face Hub: repositories of named files, with the requests that the client sends."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class HubServer(ThreadingHTTPServer):
    """The hub's state.

    Attributes:
        repositories: for each name the files of each commit, in order, the latest last.
        private: names of the private ones.
        requests: method and path of each request.
        refused: status of the answer to each request for which there is one, by path.
        broken: whether the connection ends in the middle of a file.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.uploads: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.refused: dict[str, int] = {}
        self.broken = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """Add a commit and return its hash."""
        commits = self.repositories.setdefault(repository, {})
        latest = {**(commits[[*commits][-1]] if commits else {}), **files}
        name = hashlib.sha1(f"{len(commits)}{sorted(latest)}".encode()).hexdigest()
        commits[name] = latest
        return name

    def fetched(self) -> set[str]:
        """Return the names of the files that were downloaded."""
        return {path.rpartition("/")[2] for method, path in self.requests if method == "GET" and "/resolve/" in path}


class Handler(BaseHTTPRequestHandler):
    """The part of the hub's interface that huggingface_hub uses to download files and to commit."""

    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self.answer()

    do_GET = do_POST = do_PUT = do_HEAD

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path))
        if self.path in self.server.refused:
            return self.reply(self.server.refused[self.path], b"{}")
        if found := re.fullmatch(r"/(\w+/[\w-]+)/resolve/([^/]+)/(.+)", self.path):
            return self.resolve(*found.groups())
        if found := re.fullmatch(r"/api/models/(\w+/[\w-]+)(?:/(preupload|commit)/main)?", self.path):
            return self.model(found[1], found[2], body)
        if self.path == "/api/repos/create":
            return self.create(json.loads(body))
        if self.path == "/api/validate-yaml":
            return self.send({"errors": [], "warnings": []})
        if self.path.endswith(".git/info/lfs/objects/batch"):
            return self.send(
                {"transfer": "basic", "objects": [self.upload(one) for one in json.loads(body)["objects"]]}
            )
        self.server.uploads[self.path.rpartition("/")[2]] = body
        self.send({})

    def resolve(self, repository: str, revision: str, name: str) -> None:
        commits = self.server.repositories.get(repository, {})
        commit = [*commits][-1] if commits and revision == "main" else revision
        if commit not in commits or name not in commits[commit]:
            kind = "Entry" if commit in commits else "Revision" if commits else "Repo"
            return self.reply(404, b"", {"X-Error-Code": f"{kind}NotFound"})
        content = commits[commit][name]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        self.reply(200, content, {"X-Repo-Commit": commit, "ETag": etag}, self.server.broken)

    def model(self, repository: str, task: str | None, body: bytes) -> None:
        commits = self.server.repositories.get(repository)
        if commits is None:
            return self.reply(404, b"", {"X-Error-Code": "RepoNotFound"})
        if task == "preupload":
            modes = {True: "lfs", False: "regular"}
            names = [file["path"] for file in json.loads(body)["files"]]
            files = [{"path": n, "uploadMode": modes[n.endswith((".safetensors", ".png"))]} for n in names]
            return self.send({"files": [{**file, "shouldIgnore": False} for file in files]})
        if task == "commit":
            return self.add_commit(repository, [json.loads(line) for line in body.splitlines()])
        latest = [*commits][-1] if commits else None
        files = [{"rfilename": name} for name in commits[latest]] if latest else []
        self.send({"id": repository, "sha": latest, "siblings": files, "private": repository in self.server.private})

    def add_commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.uploads[value["oid"]]
        name = self.server.commit(repository, files)
        self.send({"commitUrl": f"{self.server.url}/{repository}/commit/{name}", "commitOid": name})

    def create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        self.server.repositories[name] = {}
        if wanted.get("visibility") == "private":
            self.server.private.add(name)
        self.send({"url": f"{self.server.url}/{name}"})

    def upload(self, wanted: dict[str, Any]) -> dict[str, Any]:
        return {**wanted, "actions": {"upload": {"href": f"{self.server.url}/lfs/{wanted['oid']}"}}}

    def send(self, content: Any) -> None:
        self.reply(200, json.dumps(content).encode())

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None, broken: bool = False) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if broken else body)
        self.close_connection = broken


@contextmanager
def running_hub() -> Iterator[HubServer]:
    """Run a server until the block ends."""
    server = HubServer()
    Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()

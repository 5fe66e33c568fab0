"""A small Hugging Face hub on this machine: real HTTP, repositories made by the tests.

It speaks what huggingface_hub 2.4 asks when it resolves a revision, lists a commit's files and downloads them:
`/api/<kind>s/<repo>/revision/<revision>`, `/api/<kind>s/<repo>/tree/<revision>`, and
`/datasets/<repo>/resolve/<revision>/<path>` (models without `/datasets`), whole or the last so many bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

Files = Mapping[str, bytes]


class HubServer:
    """Repositories by name; start it, push to it, stop it. `requests` are all paths that were asked for, `tails` those
    of which the last bytes were, with their number."""

    def __init__(self) -> None:
        self.heads: dict[tuple[str, str], dict[str, str]] = {}
        self.commits: dict[str, Files] = {}
        self.requests: list[str] = []
        self.tails: list[tuple[str, int]] = []
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def push(self, repo: str, files: Files, revision: str = "main", kind: str = "dataset") -> str:
        """A commit with these files alone, which `revision` then names; its hash."""
        lines = [f"{repo} {revision}", *(f"{path} {_sha256(data)}" for path, data in sorted(files.items()))]
        commit = hashlib.sha1("\n".join(lines).encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.heads.setdefault((kind, repo), {})[revision] = commit
        return commit

    def start(self) -> None:
        """On the port of the last time, if there was one."""
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """From now on connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer  # HTTP/1.0: a connection that is kept alive would outlive a stop

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, send_body: bool) -> None:
        self.hub.requests.append(self.path)
        status, headers, body = self._respond(urlsplit(self.path).path.strip("/").split("/"))
        if status == 200 and (wanted := self.headers.get("Range", "")).startswith("bytes=-"):
            status, body = 206, body[-int(wanted.removeprefix("bytes=-")) :]
            self.hub.tails.append((self.path, len(body)))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if send_body:
            self.wfile.write(body)

    def _respond(self, parts: list[str]) -> tuple[int, dict[str, str], bytes]:
        is_api = parts[0] == "api"
        parts = parts[1:] if is_api else parts
        if len(parts) < 4:
            return 404, {}, b""
        kind = "dataset" if parts[0] == "datasets" else "model"
        parts = parts[1:] if parts[0] in ("datasets", "models") else parts
        repo, action, revision, path = "/".join(parts[:2]), parts[2], unquote(parts[3]), unquote("/".join(parts[4:]))
        heads = self.hub.heads.get((kind, repo))
        if heads is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        commit = heads.get(revision, revision)
        files = self.hub.commits.get(commit)
        if files is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if is_api:
            return 200, {"Content-Type": "application/json"}, _describe(repo, commit, files, action)
        if path not in files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
        return 200, {"ETag": f'"{_sha256(files[path])}"', "X-Repo-Commit": commit}, files[path]


def _describe(repo: str, commit: str, files: Files, action: str) -> bytes:
    if action == "tree":
        return json.dumps(
            [{"type": "file", "path": path, "size": len(data), "oid": _sha256(data)} for path, data in files.items()]
        ).encode()
    return json.dumps({"id": repo, "sha": commit, "siblings": [{"rfilename": path} for path in files]}).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def use_hub(server: HubServer, cache: Path) -> Iterator[None]:
    """In this process what HF_ENDPOINT and HF_HOME do for one of its own: the libraries read them at import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", server.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "AGENT_HARNESSES_PATH", str(cache / "agents.json"))
        yield


def hub_environment(server: HubServer, home: Path) -> dict[str, str]:
    """The environment of a process that uses the hub."""
    return {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}

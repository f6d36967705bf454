"""A server of files that can be asked for the rest of one, and that misbehaves where the path says so."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 4000  # 1 MB


class Server(ThreadingHTTPServer):
    """Serves `files` by their paths, and CONTENT under every other path; the path says how."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []  # path and range of every request
        self.files: dict[str, bytes] = {}
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that went away is what some tests want."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        byte_range = self.headers.get("Range", "")
        self.server.asked.append(f"{self.path} {byte_range}".strip())
        if "missing" in self.path or ("busy" in self.path and len(self.server.asked) < 2):
            self.send_error(404 if "missing" in self.path else int(self.path.partition("busy")[2] or 503))
            return
        content = self.server.files.get(self.path, CONTENT)
        start = int(byte_range.removeprefix("bytes=").rstrip("-") or 0) if "norange" not in self.path else 0
        body = content[start:]
        self.send_response(206 if start else 200)
        if "nosize" not in self.path:
            self.send_header("Content-Length", self.path.partition("says=")[2] or str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if "breaks" in self.path and start < len(content) // 2:
            body = body[: len(content) // 3]
        for begin in range(0, len(body), 50_000):
            self.wfile.write(body[begin : begin + 50_000])
            if "slow" in self.path:
                time.sleep(0.1)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing."""

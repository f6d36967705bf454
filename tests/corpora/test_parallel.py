"""Files are fetched several at once."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from m2asr.corpora.download import PARALLEL, Remote, download
from tests.corpora.server import CONTENT, Handler, Server

PATIENCE = 10.0  # seconds


class Together(Handler):
    """Answers no request before AT_ONCE of them have come; 404 where they do not come."""

    everyone: threading.Barrier

    def do_GET(self) -> None:
        try:
            self.everyone.wait(PATIENCE)
        except threading.BrokenBarrierError:
            self.send_error(404)
        else:
            super().do_GET()


@pytest.fixture
def reluctant(server: Server) -> Server:
    server.RequestHandlerClass = type("Handler", (Together,), {"everyone": threading.Barrier(PARALLEL)})
    return server


def test_files_are_fetched_several_at_once(reluctant: Server, tmp_path: Path) -> None:
    checksum = hashlib.sha256(CONTENT).hexdigest()
    files = [Remote(f"{number}.tar", len(CONTENT), checksum, f"{reluctant.address}/{number}.tar") for number in range(PARALLEL)]
    download(files, tmp_path)
    assert PARALLEL > 1 and all((tmp_path / file.name).read_bytes() == CONTENT for file in files)

"""A server for the tests of downloads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.corpora.server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()

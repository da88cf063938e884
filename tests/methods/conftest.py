"""An endpoint on this machine, and time that does not pass."""

import pytest
from local_endpoint import Server

from cuetune.methods import endpoint


@pytest.fixture
def server(monkeypatch):
    """An endpoint that answers; `plan` and `says` decide how."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.close()


@pytest.fixture
def waits(monkeypatch):
    """Waits between attempts are remembered and not waited."""
    kept = []
    monkeypatch.setattr(endpoint.time, "sleep", kept.append)
    return kept

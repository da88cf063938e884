"""A library on every kind of storage."""

import pytest

from cuetune.library.collection import PromptLibrary
from cuetune.library.storage import RemoteStorage


@pytest.fixture(params=["folder", "memory", "address"])
def library(request, tmp_path, monkeypatch):
    """In a folder; in fsspec's memory; in a folder that is only reached as an address, as on a remote machine."""
    monkeypatch.setenv("CUETUNE_CACHE", str(tmp_path / "cache"))
    if request.param == "folder":
        return PromptLibrary(tmp_path / "lib")
    if request.param == "memory":
        return PromptLibrary(f"memory:/{tmp_path}/lib")
    made = PromptLibrary(tmp_path / "lib")
    made.storage = RemoteStorage(f"file://{tmp_path}/lib", "file")
    return made


@pytest.fixture
def shelf(tmp_path):
    """A library in a folder, for what only a folder can suffer."""
    return PromptLibrary(tmp_path / "lib")

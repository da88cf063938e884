"""Writers that meet, stop, or find the disk full: every prompt is there whole or not at all, and none is lost."""

import os
import signal
import subprocess
import sys
import time
import traceback

import pytest
from made import same, tuned

from cuetune.errors import CuetuneError
from cuetune.library import saving
from cuetune.library.collection import PromptLibrary
from cuetune.library.record import RECORD
from cuetune.library.storage import REFUSED, LocalStorage, RemoteStorage


def in_a_process(work):
    """The number of a process of its own that does `work` and ends; 0 is its code when all went well."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


@pytest.mark.parametrize("kind", ["folder", "address"])
def test_two_processes_that_write_at_once_lose_nothing(tmp_path, kind):
    root = tmp_path / "lib"

    def write(mine):
        library = PromptLibrary(root)
        if kind == "address":
            library.storage = RemoteStorage(f"file://{root}", "file")
        (tmp_path / f"ready-{mine}").touch()
        while not (tmp_path / f"ready-{1 - mine}").exists():
            time.sleep(0.001)
        for number in range(12):
            library.add(tuned(number, seed=mine), "shared")  # the other writer adds the same at the same time
            library.add(tuned(100 + 12 * mine + number), f"own-{mine}")
            if number % 4 == 3:
                library.entries()  # writes the index

    writers = [in_a_process(lambda mine=mine: write(mine)) for mine in range(2)]
    assert [os.waitpid(writer, 0)[1] for writer in writers] == [0, 0]
    library = PromptLibrary(root)
    entries, faults = library.survey()
    assert (len(entries), faults) == (36, [])
    wanted = {"shared": range(12), "own-0": range(100, 112), "own-1": range(112, 124)}
    for name, numbers in wanted.items():
        prompts = [library.get(name, each.version).prompt for each in library.versions(name)]
        assert sorted(prompt.embeddings[0, 0].item() for prompt in prompts) == list(map(float, numbers))
    assert [path.name for path in root.rglob("*") if path.name.startswith(".")] == [".cuetune"]


@pytest.mark.parametrize("after", range(5))
def test_a_kill_between_files_leaves_no_version_and_the_same_command_goes_on(shelf, after):
    """A process of its own, killed when it has written `after` of the four files."""
    before = shelf.add(tuned(1), "p")

    def stop(*words):
        os.kill(os.getpid(), signal.SIGKILL)

    def work():
        write, written = saving.write_safely, []

        def counted(path, content):
            if len(written) == after:
                stop()
            written.append(path)
            write(path, content)

        saving.write_safely = counted
        os.replace = stop  # after the fourth file, before the move
        shelf.add(tuned(2), "p")

    assert os.WTERMSIG(os.waitpid(in_a_process(work), 0)[1]) == signal.SIGKILL
    assert shelf.survey() == ([before], [])
    added = shelf.add(tuned(2), "p")
    assert shelf.survey() == ([added, before], [])
    assert same(shelf.get("p"), tuned(2))


@pytest.mark.parametrize("after", range(4))
def test_an_address_that_fails_between_files_shows_no_version(tmp_path, monkeypatch, after):
    monkeypatch.setenv("CUETUNE_CACHE", str(tmp_path / "cache"))
    library = PromptLibrary(f"memory:/{tmp_path}/lib")
    before = library.add(tuned(1), "p")
    system, written = type(library.storage.system), []
    write = system.pipe_file

    def failing(self, path, value, **options):
        if len(written) == after:
            raise ConnectionResetError("connection reset\nby peer")
        written.append(path)
        return write(self, path, value, **options)

    with monkeypatch.context() as patch:
        patch.setattr(system, "pipe_file", failing)
        with pytest.raises(CuetuneError, match=r"/p/[0-9a-f]{16}: cannot be written \(connection reset by peer\)"):
            library.add(tuned(2), "p")
    entries, faults = library.survey()
    assert entries == [before]
    assert all("no cuetune.json" in fault for fault in faults)
    assert len(faults) == (after > 0)
    added = library.add(tuned(2), "p")
    assert library.survey() == ([added, before], [])
    assert same(library.get("p"), tuned(2))


def test_the_marker_is_written_last_and_removed_first(tmp_path):
    storage = RemoteStorage(f"memory:/{tmp_path}", "memory")
    names = [RECORD, "a", "z"]
    calls = []

    class Watched:
        def __getattr__(self, name):
            return lambda path, *_, **__: calls.append((name, path.rpartition("/")[2]))

    storage.system = Watched()
    storage.put("p/1", dict.fromkeys(names, b""))
    storage.remove("p/1", dict.fromkeys(names))
    assert [path for name, path in calls if name == "pipe_file"] == ["a", "z", RECORD]
    assert [path for name, path in calls if name == "rm_file"] == [RECORD, "a", "z"]


@pytest.mark.parametrize("call", ["pathlib.Path.write_bytes", "os.fsync", "os.replace"])
def test_a_full_disk_leaves_everything_whole(shelf, monkeypatch, call):
    before = shelf.add(tuned(1), "p")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        for name in ("p", "q"):
            with pytest.raises(CuetuneError, match="No space left on device"):
                shelf.add(tuned(2), name)
        assert shelf.entries() == [before]
    assert shelf.survey() == ([before], [])
    assert same(shelf.get("p"), tuned(1))
    assert [path.name for path in shelf.storage.root.rglob(".*")] == [".cuetune"]


def test_another_process_that_was_first_is_no_error(shelf, monkeypatch):
    """The other one puts the same version between our look and our move."""
    put = LocalStorage.put

    def late(self, folder, files):
        put(self, folder, files)
        raise CuetuneError("cannot write: Directory not empty")

    monkeypatch.setattr(LocalStorage, "put", late)
    entry = shelf.add(tuned(), "p")
    assert shelf.entries() == [entry]


@pytest.mark.parametrize("protocol", sorted(REFUSED))
def test_addresses_that_could_run_something_are_refused(protocol):
    with pytest.raises(CuetuneError, match="give the address of a plain storage"):
        PromptLibrary(f"{protocol}://somewhere/prompts")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("simplecache::memory://a", "plain storage"),
        ("zip://prompts::memory://a.zip", "plain storage"),
        ("nonsense://a/b", "nonsense"),
        ("lakefs://repo/main", "pip"),
        ("ftp://ada:secret@host.invalid/prompts", "ftp://host.invalid/prompts: cannot be reached"),
    ],
)
def test_addresses_that_lead_nowhere_are_one_line(address, told):
    with pytest.raises(CuetuneError) as raised:
        PromptLibrary(address).entries()
    assert told in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_addresses_of_this_machine_are_folders(tmp_path):
    PromptLibrary(tmp_path / "lib").add(tuned(), "p")
    for address in (f"file://{tmp_path}/lib", f"local://{tmp_path}/lib", str(tmp_path / "lib") + "/"):
        library = PromptLibrary(address)
        assert isinstance(library.storage, LocalStorage)
        assert [entry.name for entry in library.entries()] == ["p"]


def test_lists_do_not_wait_for_torch(tmp_path):
    PromptLibrary(tmp_path / "lib").add(tuned(), "p")
    script = (
        "import sys; from cuetune.cli import library; library.list_prompts(sys.argv[1]); library.search(sys.argv[1]); "
        "library.remove(sys.argv[1], 'p', None, False); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "lib")], env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "removed p" in ran.stdout

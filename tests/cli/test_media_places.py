"""Where images and models lie: --media-root, --allow-download, and the folder of a model that a prompt remembers."""

import csv
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tiny import write_csv
from tiny_vision import dark_and_light, vision_model

FEW = ("--steps", "2", "--evaluate-every", "2", "--batch-size", "4", "--length", "2", "--no-baselines")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder to work in, with models/tiny-vit, media/ of dark and light images, and tables/."""
    monkeypatch.setenv("CUETUNE_CACHE", str(tmp_path / "cache"))
    here = tmp_path / "project"
    vision_model("vit").save_pretrained(here / "models" / "tiny-vit")
    prepared = {"image_processor_type": "ViTImageProcessor", "size": {"height": 24, "width": 24}}
    (here / "models" / "tiny-vit" / "preprocessor_config.json").write_text(json.dumps(prepared))
    dark_and_light(here / "media", 6)
    (here / "tables").mkdir()
    monkeypatch.chdir(here)
    return here


def table(project, begin=""):
    """tables/rows.csv, whose paths begin in media/."""
    images = sorted((project / "media").rglob("*.png"))
    rows = [{"image": f"{begin}{p.relative_to(project / 'media')}", "label": p.parent.name} for p in images]
    return write_csv(project / "tables" / "rows.csv", rows)


def verbs(data):
    """Every verb that reads images of a table, with what it writes."""
    model = ("--model", "models/tiny-vit")
    yield "tune", (data, *model, "--to", "p", *FEW)
    yield "predict", ("p", data, "--to", "a.csv")
    yield "evaluate", ("p", data)
    yield "check", (data, *model)
    yield "compare", (data, *model, "--to", "c", "--methods", "linear-probe", "--seeds", "1")


def test_media_root_is_where_paths_of_a_table_begin(cuetune, project):
    data = table(project)
    for verb, words in verbs(data):
        code, out, err = cuetune(verb, *words)
        assert code != 0 or verb == "check", (verb, out, err)
        assert "--media-root" in out + err, (verb, out, err)
        code, out, err = cuetune(verb, *words, "--media-root", "media")
        assert code == 0, (verb, out, err)
    assert len(list(csv.DictReader((project / "a.csv").open()))) == 12


class Files(SimpleHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(project, monkeypatch):
    """The address of media/."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(Files, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(project / "media"))) as running:
        thread = threading.Thread(target=partial(running.serve_forever, poll_interval=0.01), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


def test_addresses_are_fetched_once_by_all_verbs_and_only_with_allow_download(cuetune, project, server):
    data = table(project, begin=server)
    for verb, words in verbs(data):
        before = list(Files.asked)
        code, out, err = cuetune(verb, *words)
        assert code != 0 or verb == "check", (verb, out, err)
        assert "--allow-download" in out + err
        assert Files.asked == before
        code, out, err = cuetune(verb, *words, "--allow-download")
        assert code == 0, (verb, out, err)
    assert sorted(Files.asked) == sorted({*Files.asked})
    assert len(Files.asked) == 12
    assert not [path for path in (project.parent / "cache" / "fetched").iterdir() if path.name.startswith(".")]


def test_a_prompt_finds_the_model_folder_that_it_was_tuned_on(cuetune, project, monkeypatch):
    code, _, err = cuetune("tune", "media", "--model", project / "models" / "tiny-vit", "--to", "p", *FEW)
    assert code == 0, err
    assert json.loads((project / "p" / "cuetune.json").read_text())["record"]["model"] == "models/tiny-vit"
    assert cuetune("predict", "p", "media", "--to", "a.csv")[0] == 0
    assert cuetune("evaluate", "p", "media")[0] == 0
    assert not any(str(project).encode() in path.read_bytes() for path in (project / "p").iterdir())
    monkeypatch.chdir(project.parent)
    code, _, err = cuetune("predict", "project/p", "project/media", "--to", "a.csv")
    assert (code, len(err.splitlines())) == (2, 1)
    assert (
        cuetune("predict", "project/p", "project/media", "--to", "a.csv", "--model", "project/models/tiny-vit")[0] == 0
    )


@pytest.mark.parametrize("named", ["/etc", "../models/tiny-vit", "\x1b[31m", "~", "a" * 5000, "nul\0"])
def test_a_record_names_no_model_folder_of_this_machine(cuetune, project, named):
    assert cuetune("tune", "media", "--model", "models/tiny-vit", "--to", "p", *FEW)[0] == 0
    path = project / "p" / "cuetune.json"
    values = json.loads(path.read_text())
    values["record"]["model"] = named
    path.write_text(json.dumps(values))
    code, _, err = cuetune("predict", "p", "media", "--to", "a.csv")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "\x1b" not in err
    assert cuetune("predict", "p", "media", "--to", "a.csv", "--model", "models/tiny-vit")[0] == 0

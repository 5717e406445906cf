"""The example notebook: executed in a copy, it says what is stored, and leaves its study alone."""

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook" / "frames.ipynb"
STUDY = NOTEBOOK.with_name("study")
MAX_NOTEBOOK_BYTES = 300_000
TIMEOUT_S = 300

# what git ignores, in whatever folder it lies
LEFT_OUT = shutil.ignore_patterns("artifacts", "builds", "*.log", ".ipynb_checkpoints")


def read(path: Path) -> Any:
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(path, as_version=4)


def told(notebook: Any) -> list[list[str]]:
    """What each code cell says in words: its output without pictures and without warnings."""
    return [
        [
            output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"]
            for output in cell["outputs"]
            if output.get("name") != "stderr"
        ]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def pictures(notebook: Any) -> list[str]:
    return [
        output["data"]["image/svg+xml"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "image/svg+xml" in output.get("data", {})
    ]


def hashes(folder: Path) -> dict[Path, str]:
    return {
        path.relative_to(folder): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_executed_anew_it_says_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    copy = tmp_path / "study"
    shutil.copytree(STUDY, copy, ignore=LEFT_OUT)
    before = hashes(copy)
    fresh = read(NOTEBOOK)
    for cell in fresh["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = []
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(fresh, timeout=TIMEOUT_S, resources=place).execute()
    stored = read(NOTEBOOK)
    assert told(fresh) == told(stored)
    assert len(pictures(fresh)) == len(pictures(stored)) == 4
    assert hashes(copy) == before


def test_it_is_stored_whole_and_small() -> None:
    cells = [cell for cell in read(NOTEBOOK)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    # all but the imports show something, and nothing failed or warned on the way
    assert all(cell["outputs"] for cell in cells[1:])
    kinds = {(o["output_type"], o.get("name")) for cell in cells for o in cell["outputs"]}
    assert kinds <= {("execute_result", None), ("display_data", None), ("stream", "stdout")}
    assert NOTEBOOK.stat().st_size < MAX_NOTEBOOK_BYTES


def test_it_uses_every_frame_once() -> None:
    source = "\n".join(
        cell["source"] for cell in read(NOTEBOOK)["cells"] if cell["cell_type"] == "code"
    )
    for call in ("trials", "frames.runs", "frames.scores", "frames.comparisons"):
        assert source.count(f"{call}(STUDY)") == 1

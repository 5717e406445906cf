"""A study of a small real model, from the search to what lies on a stand-in of the Hub."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from harness.runs import file_sha256
from tests.hub import TOKEN, standing_in
from tests.search.test_real_study import ended, recipe, weighin

__all__ = ["recipe"]

pytestmark = [pytest.mark.model, pytest.mark.slow]


def test_what_a_real_search_built_is_what_the_hub_holds(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lucha"
    code, _, told = ended(weighin("search", recipe, "--out", folder, "--trials", "2"))
    assert code == 0, told
    with standing_in() as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
        }
        arguments = ["publish", str(folder), "--repo", "me/Lucha", "--license", "mit"]
        arguments += ["--model", "it=google/gemma", "--yes"]
        done = subprocess.run(
            [sys.executable, "-m", "search.cli", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        files = hub.repos["me/Lucha"].files
    assert set(files) == {"Lucha-Q8_0.gguf", "README.md", "report.html"}
    card = files["README.md"].decode()
    assert ModelCard(card).data.base_model == ["google/gemma"]
    assert str(tmp_path) not in card
    assert str(tmp_path).encode() not in files["report.html"]
    # the card's own command makes the very file that was uploaded
    (command,) = re.findall(r"^weighin (build .*)$", card, re.MULTILINE)
    words = command.split()
    words[words.index("recipe.yaml")] = str(recipe)
    words[words.index("-o") + 1] = str(tmp_path / "again.gguf")
    code, _, told = ended(weighin(*words))
    assert code == 0, told
    assert (tmp_path / "again.gguf").read_bytes() == files["Lucha-Q8_0.gguf"]
    assert file_sha256(tmp_path / "again.gguf") in card

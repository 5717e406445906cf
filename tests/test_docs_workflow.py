"""The workflow file in `docs/`: YAML that calls the command as it is."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

WORKFLOW = Path(__file__).parents[1] / "docs" / "github-workflow.yml"


def test_the_workflow_s_commands_have_their_options() -> None:
    steps = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]["check"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    (check,) = [run for run in runs if "weighin check" in run]
    command = [sys.executable, "-m", "search.cli", "check", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    options = re.findall(r"--[a-z-]+", check)
    assert set(options) == {"--baseline", "--gates", "--out", "--junit", "--markdown"}
    assert all(option in told for option in options)


def test_no_step_puts_an_input_into_a_script() -> None:
    # an expression in a script is pasted before the shell reads it, whatever it holds
    steps = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]["check"]["steps"]
    assert not [step for step in steps if "${{" in step.get("run", "")]

"""Train adapters: the commands that made the demo's five adapters, in their order.

Each is one `weighin train`; this script keeps the commands together, runs them and adds to an
adapter's card where its data came from. The instruction adapter makes IT of PT; the others need
IT, its subspace and its Fisher. Knows nothing of how data are made or adapters merged.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.console import note, run_app
from metrics.errors import WeighinError

HERE = Path(__file__).parent
BASE_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
MAX_SIZE_BYTES = 3 * 1024 * 1024

SUBSPACE = str(HERE / "subspace.safetensors")
FISHER = str(HERE / "fisher.safetensors")
ALWAYS = (
    *("--base-name", BASE_NAME),
    *("--batch-size", "1", "--max-tokens", "704"),
    *("--precision", "bf16", "--save-dtype", "bf16", "--warmup", "0.05"),
    *("--threads", "1"),  # sums on a CPU depend on how they are split
)
PROSE = "Passages by {} from Standard Ebooks (US public domain), cut into chats by `make_prose.py`."


@dataclass(frozen=True)
class Plan:
    """How one adapter is made."""

    name: str
    onto: str
    """`pt` or `it`."""
    data: str
    """Chats, relative to this folder."""
    origin: str
    """Where the data came from, for the card."""
    options: tuple[str, ...]
    """Of `weighin train`, beside ALWAYS."""

    def command(self, output: Path) -> list[str]:
        """The whole command."""
        train = [sys.executable, "-m", "search.cli", "train"]
        places = ["--onto", str(HERE / self.onto), "--data", str(HERE / self.data)]
        return [*train, *places, *ALWAYS, *self.options, "--out", str(output / self.name)]


PLANS = (
    Plan(
        name="instructions",
        onto="pt",
        data="data/instructions.jsonl",
        origin=(
            "Requests, wordings and edits of this project over sentences that the released model "
            "wrote, kept where IFEval's checker passes them; made by `make_instructions.py`. "
            "No prompt shares eight words in a row with one of IFEval's."
        ),
        options=(
            *("--r", "4", "--alpha", "8", "--learning-rate", "3e-3", "--epochs", "2"),
            *("--gradient-accumulation", "4"),
        ),
    ),
    Plan(
        name="philip-k-dick",
        onto="it",
        data="prose/philip-k-dick.jsonl",
        origin=PROSE.format("Philip K. Dick"),
        options=(
            *("--r", "8", "--alpha", "16", "--targets", "q_proj,k_proj,v_proj,o_proj"),
            *("--learning-rate", "2e-3", "--epochs", "2", "--gradient-accumulation", "2"),
            *("--seed", "1"),
        ),
    ),
    Plan(
        name="robert-sheckley",
        onto="it",
        data="prose/robert-sheckley.jsonl",
        origin=PROSE.format("Robert Sheckley"),
        options=(
            *("--r", "16", "--alpha", "32", "--targets", "v_proj,o_proj"),
            *("--learning-rate", "2e-3", "--epochs", "2", "--gradient-accumulation", "2"),
            *("--seed", "2"),
        ),
    ),
    Plan(
        name="fritz-leiber",
        onto="it",
        data="prose/fritz-leiber.jsonl",
        origin=PROSE.format("Fritz Leiber"),
        options=(
            *("--r", "4", "--alpha", "8"),
            *("--learning-rate", "2e-3", "--epochs", "2", "--gradient-accumulation", "2"),
            *("--subspace", SUBSPACE, "--mode", "project", "--seed", "3"),
        ),
    ),
    Plan(
        name="heal",
        onto="pt",
        data="prose/f-scott-fitzgerald.jsonl",
        origin=PROSE.format("F. Scott Fitzgerald"),
        options=(
            *("--r", "4", "--alpha", "8"),
            *("--learning-rate", "1e-3", "--epochs", "3", "--gradient-accumulation", "2"),
            *("--subspace", SUBSPACE, "--mode", "scale_mask", "--importance", FISHER),
            *("--seed", "4"),
        ),
    ),
)


class TrainError(WeighinError):
    """An adapter cannot be made, or came out too large."""


def train(plan: Plan, output: Path) -> None:
    """Run a plan's command and complete the card.

    Raises:
        TrainError: its data are not there, the command failed, or the adapter is too large.
    """
    if not (HERE / plan.data).exists():
        raise TrainError(f"{plan.name}: {HERE / plan.data} is not there; see README.md for it")
    if subprocess.run(plan.command(output)).returncode != 0:
        raise TrainError(f"{plan.name}: weighin train failed; what it said stands above")
    folder = output / plan.name
    size_bytes = (folder / "adapter_model.safetensors").stat().st_size
    if size_bytes > MAX_SIZE_BYTES:
        raise TrainError(
            f"{plan.name} takes {size_bytes:,} bytes, expected at most {MAX_SIZE_BYTES:,}; lower "
            "its rank or name fewer targets"
        )
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8").split("\n## Data\n")[0]
    card.write_text(f"{text}\n## Data\n\n{plan.origin}\n", encoding="utf-8")


app = typer.Typer(add_completion=False)


@app.command()
def main(
    output: Annotated[Path, typer.Option(help="Folder of the adapters.")] = HERE / "adapters",
    only: Annotated[str | None, typer.Option(help="One adapter's name; all by default.")] = None,
) -> None:
    """Train the demo's adapters on a CPU; one that is there and unchanged is left alone."""
    names = [plan.name for plan in PLANS]
    if only is not None and only not in names:
        raise TrainError(f"no adapter is called {only!r}; expected one of {', '.join(names)}")
    for plan in PLANS:
        if only in (None, plan.name):
            train(plan, output)
            note(f"{output / plan.name}: done")


if __name__ == "__main__":
    sys.exit(run_app(app))

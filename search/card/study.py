"""A card's material, of a study or of one run: evidence, how the build came to be, its file.

A study and its folder, or a run's folder, in; what `harness.card` and `harness.publish` need out.
Knows where a study keeps its builds and runs; nothing of how a card looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.card.card import file_name, make_card
from harness.card.commands import eval_commands
from harness.card.evidence import CardError, Evidence, gather, require_scored
from harness.card.provenance import Provenance, Terms, with_hub_ids
from harness.runs import Run, RunHeader
from search.card.confirmed import current_confirmation, evidence_of, told_of
from search.card.recipe import (
    RECIPE_FILE,
    build_command,
    check_command,
    provenance_in,
    provenance_of,
)
from search.confirmation.winner import winner_of
from search.errors import StudyError
from search.numbers import numbers_for
from search.recipe import Recipe
from search.report.study import run_of
from search.report.trials import objectives_of
from search.study.study import Study, TrialRow

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

BASELINE = "baseline"
"""What a card calls the run beside its own, and a study that run's folder."""
SHA = "sha256 "
"""How a study's parts begin that are hashes."""


@dataclass(frozen=True)
class Material:
    """All that a card and its publication are made of, but the publisher's words."""

    evidence: Evidence
    provenance: Provenance
    file: str
    """What the GGUF is called where it is published."""
    gguf: Path | None
    """The build's file, proved to be the one that was scored; None where it is not at hand."""
    chosen_on: Evidence | None = None
    """The figures of the search, where the card's are of a confirmation."""
    row: TrialRow | None = None
    """The trial, of a study's build."""

    def card(self, terms: Terms) -> "ModelCard":
        """The card, under the publisher's words.

        Raises:
            CardError: As `make_card`.
        """
        return make_card(
            self.evidence, self.provenance, terms, file=self.file, chosen_on=self.chosen_on
        )


def from_study(
    study: Study,
    folder: Path,
    *,
    name: str,
    trial: int | None = None,
    gguf: Path | None = None,
    models: Sequence[str] = (),
) -> Material:
    """The build that a study chose, or a trial's.

    Args:
        study: The study.
        folder: Where its runs and builds are.
        name: The model's.
        trial: Number of another whole trial than the best.
        gguf: The build's file, where it is not in the study's folder.
        models: Hub ids, `KEY=USER/NAME` each.

    Raises:
        StudyError: No such trial, or none that can be published.
        CardError: A figure, a file or a Hub id that does not hold.
        RunError: A run is missing or was edited.
    """
    confirmation = current_confirmation(study)
    row = _chosen(study, trial)
    run = run_of(study, folder, row)
    if run is None:
        raise StudyError(
            f"study {study.name}: the run of trial {row.number} is not in {folder} nor in its "
            "store; bring the study's folder"
        )
    header = run.header()
    if row.sha256 != header.model.sha256:
        raise CardError(
            f"{run.folder}: a run of another file than trial {row.number} built (SHA-256 "
            f"{header.model.sha256[:12]}, built {(row.sha256 or '-')[:12]})"
        )
    found = _build(folder, row, gguf, header)
    chosen_on = gather(run, Run.open(folder / BASELINE), names=(BASELINE, name))
    file = file_name(name, header)
    provenance = with_hub_ids(_provenance(study, row, found, file, header), models)
    confirmed = None if confirmation is None else confirmation.of_trial(row.number)
    if confirmation is None or confirmed is None:
        return Material(chosen_on, provenance, file, found, row=row)
    evidence = evidence_of(confirmed, folder, header, (BASELINE, name))
    provenance = provenance.model_copy(
        update={
            "selection": f"{provenance.selection} {told_of(confirmation, confirmed)}",
            "chosen_by_figures": False,
            "confirmed": True,
        }
    )
    return Material(evidence, provenance, file, found, chosen_on, row)


def from_run(
    folder: Path,
    *,
    name: str,
    baseline: Path | None = None,
    gguf: Path | None = None,
    models: Sequence[str] = (),
) -> Material:
    """A run's build; what a GGUF by weighin says of its own making is told.

    Args:
        folder: The run's.
        name: The model's.
        baseline: A run of the same prompts to stand beside it.
        gguf: The file that was run.
        models: Hub ids, `KEY=USER/NAME` each.

    Raises:
        CardError: A figure, a file or a Hub id that does not hold.
        RunError: A run is missing or was edited.
        PairingError: The two were not asked the same.
    """
    run = Run.open(folder)
    header = run.header()
    other = None if baseline is None else Run.open(baseline)
    if gguf is not None:
        require_scored(gguf, header)
    evidence = gather(run, other, names=(BASELINE, name))
    provenance = Provenance()
    file = file_name(name, header)
    commands: list[str] = []
    made = None if gguf is None else provenance_in(gguf)
    if made is not None:
        provenance, chosen = made
        commands = [build_command(chosen, file), check_command(file, header.model.sha256)]
    commands += eval_commands(header, file)
    provenance = provenance.model_copy(update={"commands": tuple(commands)})
    return Material(evidence, with_hub_ids(provenance, models), file, gguf)


def _chosen(study: Study, trial: int | None) -> TrialRow:
    """The row of the build that is published."""
    if trial is None:
        row = winner_of(study)
        if row is None:
            raise StudyError(
                f"study {study.name}: no build is better than the baseline and keeps what was "
                "asked: ship the baseline, or name a build with --trial"
            )
    else:
        rows = {own.number: own for own in study.rows()}
        if trial not in rows:
            raise StudyError(f"study {study.name}: no trial {trial}; it has {len(rows)}")
        row = rows[trial]
        if not row.whole:
            raise StudyError(
                f"study {study.name}: trial {trial} has no whole run, so that it has no figures"
            )
    if row.run == BASELINE or row.build is None:
        raise StudyError(
            f"study {study.name}: trial {row.number} is the baseline itself; there is no build to "
            "write a card of"
        )
    return row


def _build(folder: Path, row: TrialRow, gguf: Path | None, header: RunHeader) -> Path | None:
    """The build's file, proved; None where the study keeps it no more."""
    place = gguf or folder / "builds" / f"{row.build}.gguf"
    if gguf is None and not place.is_file():
        return None
    require_scored(place, header)
    return place


def _provenance(
    study: Study, row: TrialRow, gguf: Path | None, file: str, header: RunHeader
) -> Provenance:
    recipe = study.recipe
    made = None if gguf is None else provenance_in(gguf)
    # only the file itself knows what a heal adapter that was trained for it has become
    told = made[0] if made is not None else None
    own = provenance_of(
        recipe,
        numbers_for(recipe, row.params),
        _hashes(recipe, study.record.parts),
        row.build if told is None else told.build_hash,
    )
    n_trials = sum(r.whole or r.stopped is not None for r in study.rows())
    return own.model_copy(
        update={
            "ingredients": own.ingredients if told is None else told.ingredients,
            "commands": (
                f"weighin search {RECIPE_FILE} --trials {study.n_trials}",
                build_command(row.params, file),
                check_command(file, header.model.sha256),
            ),
            "selection": _selection(study, row, n_trials),
            "chosen_by_figures": n_trials > 1,
        }
    )


def _selection(study: Study, row: TrialRow, n_trials: int) -> str:
    """How the build came out among the others."""
    limits = ", ".join(constraint.text for constraint in study.constraints)
    kept = f", subject to {limits}" if limits else ""
    winner = winner_of(study)
    said = f"A search of {n_trials} trials for {objectives_of(study)}{kept}; "
    if winner is not None and winner.number == row.number:
        return f"{said}this is trial {row.number}, which it comes to."
    verb = "keeps" if row.feasible else "breaks"
    return f"{said}this is trial {row.number}, named by its publisher, which {verb} what was asked."


def _hashes(recipe: Recipe, parts: dict[str, str]) -> dict[str, object]:
    """Hashes of the ingredients by a build's names for them, from a study's."""

    def of(name: str) -> str | None:
        found = parts.get(name)
        return found.removeprefix(SHA) if found is not None else None

    return {
        "it": of("it"),
        "pt": of("pt"),
        "adapters": [
            of(f"adapter {number} ({entry.name})")
            for number, entry in enumerate(recipe.adapters, start=1)
        ],
        "heal": of("heal adapter"),
        "fisher": of("fisher"),
        "layers": of("layer importance"),
        "subspace": of("subspace"),
        "template": of("baseline"),
    }

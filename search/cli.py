"""The command `weighin`: every room's commands under one name."""

import sys

import typer

from harness import (
    commands_check,
    commands_compare,
    commands_eval,
    commands_kld,
    commands_noise,
    commands_score,
)
from harness.commands_check import gates_app
from harness.commands_lexicon import lexicon_app
from harness.console import run_app
from search import (
    commands_best,
    commands_build,
    commands_card,
    commands_fisher,
    commands_report,
    commands_search,
    commands_study,
    commands_subspace,
    commands_train,
)

app = typer.Typer(
    name="weighin",
    help="Weigh a merged language model on the quantised file that will ship.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(commands_build.baseline)
app.command()(commands_build.build)
app.command()(commands_build.inspect)
app.command()(commands_fisher.fisher)
app.command()(commands_subspace.subspace)
app.command()(commands_train.train)
app.command()(commands_search.search)
app.command()(commands_search.worker)
app.command()(commands_study.study)
app.command()(commands_study.dashboard)
app.command()(commands_best.best)
app.command("eval")(commands_eval.eval_)
app.command()(commands_score.score)
app.command()(commands_noise.noise)
app.command()(commands_kld.kld)
app.command()(commands_compare.compare)
app.command()(commands_check.check)
app.command()(commands_report.report)
app.command()(commands_card.card)
app.command()(commands_card.publish)
app.add_typer(gates_app, name="gates")
app.add_typer(lexicon_app, name="lexicon")


def main() -> None:
    """Entry point of the command."""
    sys.exit(run_app(app))


if __name__ == "__main__":
    main()

"""The command `weighin`: every room's commands under one name."""

import sys

import typer

from harness.commands import check, compare, evaluate, kld, noise, score
from harness.commands.check import gates_app
from harness.commands.lexicon import lexicon_app
from harness.console import run_app
from search.commands import best, build, card, fisher, report, search, study, subspace, train

app = typer.Typer(
    name="weighin",
    help="Weigh a merged language model on the quantised file that will ship.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(build.baseline)
app.command()(build.build)
app.command()(build.inspect)
app.command()(fisher.fisher)
app.command()(subspace.subspace)
app.command()(train.train)
app.command()(search.search)
app.command()(search.worker)
app.command()(study.study)
app.command()(study.dashboard)
app.command()(best.best)
app.command("eval")(evaluate.eval_)
app.command()(score.score)
app.command()(noise.noise)
app.command()(kld.kld)
app.command()(compare.compare)
app.command()(check.check)
app.command()(report.report)
app.command()(card.card)
app.command()(card.publish)
app.add_typer(gates_app, name="gates")
app.add_typer(lexicon_app, name="lexicon")


def main() -> None:
    """Entry point of the command."""
    sys.exit(run_app(app))


if __name__ == "__main__":
    main()

"""Calibrate the prose-style score: mine the lexicon, score people and models, show how they differ.

    python benchmarks/calibrate_prose.py --data ../shared/data

Reads `DATA/prose` (model_texts.json, human_passages.json, published_slop_score.csv) and writes the
project's lexicon, the table docs/prose-calibration.md and the figure docs/prose-calibration.svg.
The outcome is a function of the data and of wordfreq's version alone. Takes about a minute on one
core. Needs the extra `lexicon`.
"""

import argparse
import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from scipy.stats import spearmanr

from harness.lexicon_files import mine_files, read_model_texts, write_lexicon
from metrics.lexicon import Lexicon
from metrics.mining import ModelText, mine
from metrics.prose import ProseScore, score_text, score_texts
from metrics.stats import Estimate, bootstrap_mean, default_rng
from metrics.style import LIMITS

HELD_OUT = (
    "claude-sonnet-4-5",
    "deepseek/deepseek-v3.2-exp",
    "google/gemini-2.5-flash",
    "mistralai/Mistral-Small-3.2-24B-Instruct-2506",
    "openai/o3",
    "z-ai/glm-4.5",
)
"""Models that the lexicon is not mined from: six makers, spread over the published ranking."""
COLUMNS = ("H", "slop", "rep3g", "xrep3", "contrast", "rhythm", "diversity", "openers")
PERCENTILES = (0.10, 0.50, 0.90)
HUMAN = "human passages"
UNSEEN = "human passages, author unseen"


class Row(NamedTuple):
    """Figures of one writer."""

    name: str
    figures: Mapping[str, Estimate]
    published: float | None


def main() -> None:
    """Mine, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="Folder that holds prose/.")
    parser.add_argument("--lexicon", type=Path, default=Path("metrics/data/lexicon.json"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    prose = arguments.data / "prose"
    texts, passages = prose / "model_texts.json", prose / "human_passages.json"

    lexicon = mine_files([texts], [passages], name="weighin-1", held_out=HELD_OUT)
    write_lexicon(arguments.lexicon, lexicon)
    answers = read_model_texts(texts)
    people = read_passages(passages)
    published = read_published(prose / "published_slop_score.csv")

    human_scores, human_figures = score_texts([text for _, text in people], lexicon)
    unseen = score_unseen_authors(answers, people)
    rows = [
        Row(HUMAN, human_figures, published["human-baseline"]),
        Row(UNSEEN, {"H": mean_of(unseen, "H"), "slop": mean_of(unseen, "slop")}, None),
    ]
    by_model: dict[str, list[str]] = {}
    for answer in answers:
        by_model.setdefault(answer.model, []).append(answer.text)
    for model, own in by_model.items():
        rows.append(Row(model, score_texts(own, lexicon)[1], published[model]))
    rows.sort(key=lambda row: -value(row, "H"))

    report = write_report(rows, human_scores, lexicon)
    (arguments.docs / "prose-calibration.md").write_text(report, encoding="utf-8", newline="\n")
    draw(rows, arguments.docs / "prose-calibration.svg")
    print(report)


def read_passages(path: Path) -> list[tuple[str, str]]:
    """(author, text) of each human passage."""
    return [(row["author"], row["text"]) for row in json.loads(path.read_text(encoding="utf-8"))]


def read_published(path: Path) -> dict[str, float]:
    """The published composite by model; higher is worse."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["model"]: float(row["slop_score_composite"]) for row in csv.DictReader(file)}


def score_unseen_authors(
    answers: Sequence[ModelText], people: Sequence[tuple[str, str]]
) -> list[ProseScore]:
    """Score each author with a lexicon mined against the others, so that none is known to it."""
    scores = []
    for author in sorted({author for author, _ in people}):
        others = [text for other, text in people if other != author]
        lexicon = mine(answers, others, name=f"without {author}", held_out=HELD_OUT)
        scores += [score_text(text, lexicon) for other, text in people if other == author]
    return scores


def mean_of(scores: Sequence[ProseScore], name: str) -> Estimate:
    """Mean of one figure over texts."""
    return bootstrap_mean([getattr(score, name) for score in scores], rng=default_rng())


def value(row: Row, name: str) -> float:
    """A figure that is known to be defined."""
    found = row.figures[name].value
    assert found is not None
    return found


def write_report(rows: Sequence[Row], human_scores: Sequence[ProseScore], lexicon: Lexicon) -> str:
    """The table of people and models, and what the limits of H were set from."""
    lines = [
        "# Prose calibration",
        "",
        "Written by `python benchmarks/calibrate_prose.py --data DIR`; do not edit. `H` is a "
        "prose-style score: it measures style and form, not plot or sense. Models marked * were "
        "kept apart from the mining. H with its 95 % interval; n is 60 passages or 30 answers.",
        "",
        "| writer | H | " + " | ".join(COLUMNS[1:]) + " | published composite |",
        "| --- |" + " ---: |" * (len(COLUMNS) + 1),
    ]
    for row in rows:
        mark = " *" if row.name in HELD_OUT else ""
        h = row.figures["H"]
        cells = [f"{h.value:.1f} [{h.low:.1f}, {h.high:.1f}]"]
        cells += [cell(row.figures.get(name)) for name in COLUMNS[1:]]
        cells.append("" if row.published is None else f"{row.published:.1f}")
        lines.append(f"| {row.name}{mark} | " + " | ".join(cells) + " |")
    models = [row for row in rows if row.name not in (HUMAN, UNSEEN)]
    held_out = [row for row in models if row.name in HELD_OUT]
    lines += [
        "",
        f"Rank correlation of models' mean H with the published composite: "
        f"{correlation(models):.3f} over {len(models)} models, {correlation(held_out):.3f} over "
        f"the {len(held_out)} kept apart.",
        "",
        f"Lexicon `{lexicon.name}`: {len(lexicon.words)} words, {len(lexicon.bigrams)} bigrams, "
        f"{len(lexicon.trigrams)} trigrams and {len(lexicon.names)} names apart, mined from "
        f"{len(lexicon.origin.models)} models ({lexicon.origin.n_model_words} words) against "
        f"{lexicon.origin.n_human_words} words of human prose and wordfreq.",
        "",
        "| rate | human 10 % | 50 % | 90 % | limit low | limit high | tau | weight |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, limit in LIMITS.items():
        ordered = sorted(v for s in human_scores if (v := getattr(s, name)) is not None)
        points = [f"{ordered[round(p * (len(ordered) - 1))]:.3g}" for p in PERCENTILES]
        low = "" if math.isinf(limit.low) else f"{limit.low:g}"
        lines.append(
            f"| {name} | {' | '.join(points)} | {low} | {limit.high:g} | {limit.tau:g} | "
            f"{limit.weight:.2f} |"
        )
    return "\n".join(lines) + "\n"


def cell(estimate: Estimate | None) -> str:
    """A figure to three digits; empty where there is none."""
    return "" if estimate is None or estimate.value is None else f"{estimate.value:.3g}"


def correlation(rows: Sequence[Row]) -> float:
    """Spearman's rank correlation of mean H with the published composite."""
    return float(spearmanr([value(r, "H") for r in rows], [r.published for r in rows]).statistic)


def draw(rows: Sequence[Row], path: Path) -> None:
    """People against models: H with its interval, and H against the published composite."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "weighin", "font.size": 8, "svg.fonttype": "none"})
    from matplotlib import pyplot as plt

    colours = {"people": "#1b7837", "mined": "#8c96a8", "kept apart": "#2166ac"}

    def kind(row: Row) -> str:
        if row.name in (HUMAN, UNSEEN):
            return "people"
        return "kept apart" if row.name in HELD_OUT else "mined"

    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.5, 4.6), width_ratios=(1.15, 1), layout="constrained"
    )
    for place, row in enumerate(reversed(rows)):
        h = row.figures["H"]
        left.plot([h.low, h.high], [place, place], color=colours[kind(row)], linewidth=2)
        left.plot(h.value, place, "o", color=colours[kind(row)], markersize=4)
    left.set_yticks(range(len(rows)), [row.name.split("/")[-1] for row in reversed(rows)])
    left.set_xlim(0, 100)
    left.set_xlabel("H, prose-style score (mean, 95 % interval)")
    left.grid(axis="x", color="#e5e5e5")
    for name, colour in colours.items():
        chosen = [row for row in rows if kind(row) == name and row.published is not None]
        right.plot(
            [row.published for row in chosen],
            [value(row, "H") for row in chosen],
            "o",
            color=colour,
            label=name,
            markersize=5,
        )
    right.set_ylim(0, 100)
    right.set_xlabel("published composite (higher is more slop)")
    right.set_ylabel("mean H")
    right.grid(color="#e5e5e5")
    right.legend(frameon=False, loc="lower left")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()

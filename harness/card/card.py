"""Card: evidence, provenance and the publisher's words become a model card.

Rendered from `card.md.jinja` by `huggingface_hub`'s own `ModelCard`, read back and compared before
it is handed out. Every text from a file is escaped.
"""

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.card.evidence import CardError, Evidence
from harness.card.glance import (
    figures_grid,
    files_grid,
    glance_grid,
    ingredients_grid,
    never,
    numbers_grid,
    tasks_grid,
)
from harness.card.limits import limitations, not_measured
from harness.card.metadata import metadata_of, quantization_of
from harness.card.provenance import MODELS, Provenance, Terms
from harness.comparison.grids import escape_markdown, markdown_table
from harness.console import note
from harness.report.verdict import verdict_on
from harness.runs import RunHeader, write_whole

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

TEMPLATE = "card.md.jinja"
GGUF_SUFFIX = re.compile(r"[-_.]?gguf$", re.IGNORECASE)
"""What repositories of GGUFs have behind their name, and a file needs not twice."""
BLANKS = re.compile(r"\n{3,}")
UNFIT = re.compile(r"[^\w.-]+", re.ASCII)
"""What a file's name should not hold."""


def make_card(
    evidence: Evidence,
    provenance: Provenance,
    terms: Terms,
    *,
    file: str,
    chosen_on: Evidence | None = None,
) -> "ModelCard":
    """A card, checked as far as that goes without the Hub.

    Args:
        evidence: The build's figures.
        provenance: How it was made.
        terms: The publisher's words.
        file: What the GGUF is called where it is published.
        chosen_on: The figures by which the build was chosen, where the card's are others.

    Raises:
        CardError: `huggingface_hub` does not read back what was written.
    """
    from huggingface_hub import ModelCard

    data = metadata_of(evidence, provenance, terms)
    template = resources.files("harness.card").joinpath(TEMPLATE).read_text("utf-8")
    filled = ModelCard.from_template(
        data,
        template_str=template,
        **_texts(evidence, provenance, terms, file, chosen_on),
    )
    card = ModelCard(BLANKS.sub("\n\n", str(filled)).rstrip() + "\n")
    _require_same(card, evidence, provenance, terms)
    return card


def write_card(card: "ModelCard", path: Path) -> None:
    """Write a card: all of it or nothing.

    Raises:
        CardError: The folder cannot be made.
        RunError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CardError(f"{path}: its folder cannot be made ({error.strerror})") from None
    write_whole(path, str(card))


def file_name(name: str, header: RunHeader) -> str:
    """What to call a build's GGUF: the model's name and its quantisation."""
    stem = UNFIT.sub("-", GGUF_SUFFIX.sub("", name)).strip("-.") or "model"
    quantization = quantization_of(header)
    if stem.upper().endswith(quantization.upper()):
        return f"{stem}.gguf"
    return f"{stem}-{quantization}.gguf"


def tell_local_names(provenance: Provenance) -> None:
    """Say which models the metadata leaves out, since they have no Hub id."""
    local = [f.key for f in provenance.ingredients if f.role in MODELS and f.hub_id is None]
    if local:
        note(
            f"not among the base models, since only a local name is known: {', '.join(local)}; "
            "give Hub ids with --model NAME=USER/REPO"
        )


def _require_same(
    card: "ModelCard", evidence: Evidence, provenance: Provenance, terms: Terms
) -> None:
    """Refuse a card whose metadata the Hub's own reader would take for something else."""
    wanted, read = metadata_of(evidence, provenance, terms), card.data
    if str(read) != str(wanted) or read.get("eval_results") != wanted.get("eval_results"):
        raise CardError(
            f"the card of {terms.name} cannot be read back by huggingface_hub as it was meant; "
            "name it with plain letters in --name"
        )


def _texts(
    evidence: Evidence,
    provenance: Provenance,
    terms: Terms,
    file: str,
    chosen_on: Evidence | None,
) -> dict[str, Any]:
    """What the template is filled with, all of it Markdown."""
    verdict = None if evidence.comparison is None else verdict_on(evidence.comparison)
    return {
        "name": escape_markdown(terms.name),
        "claim": escape_markdown(
            f"{terms.name} was compared with nothing." if verdict is None else verdict.sentence
        ),
        "evidence": "" if verdict is None else escape_markdown(verdict.evidence),
        "about": _about(evidence, provenance, file),
        "glance": markdown_table(glance_grid(evidence)),
        "figures": markdown_table(figures_grid(evidence)),
        "never": [escape_markdown(line) for line in never(evidence)],
        "legend": _legend(evidence, provenance),
        "search_glance": "" if chosen_on is None else markdown_table(glance_grid(chosen_on)),
        "files": markdown_table(files_grid(evidence, file)),
        "ingredients": (
            markdown_table(ingredients_grid(provenance)) if provenance.ingredients else ""
        ),
        "formula": [escape_markdown(step) for step in provenance.formula],
        "numbers": markdown_table(numbers_grid(provenance)) if provenance.numbers else "",
        "selection": escape_markdown(provenance.selection),
        "recipe": (provenance.recipe or "").rstrip(),
        "commands": provenance.commands,
        "build_hash": provenance.build_hash,
        "versions": evidence.header.versions,
        "tasks": markdown_table(tasks_grid(evidence.header)),
        "settings": [
            (label, escape_markdown(value)) for label, value in _settings(evidence) if value
        ],
        "limitations": [escape_markdown(line) for line in limitations(evidence, provenance)],
        "not_measured": [escape_markdown(line) for line in not_measured(evidence, provenance)],
    }


def _about(evidence: Evidence, provenance: Provenance, file: str) -> str:
    model = evidence.header.model
    onto = next((f.name for f in provenance.ingredients if f.role == "instruct model"), None)
    what = "A merge" if provenance.is_merge else "A build"
    of = f" onto {escape_markdown(onto)}" if provenance.is_merge and onto else ""
    return (
        f"{what}{of} of {model.n_parameters:,} parameters, as one GGUF "
        f"({escape_markdown(model.quantization)}). Every figure in this card follows from answers "
        f"that this very file gave through llama.cpp: {escape_markdown(file)}, "
        f"SHA-256 `{model.sha256}`."
    )


def _legend(evidence: Evidence, provenance: Provenance) -> str:
    said = "Brackets are 95 % intervals over prompts; n counts what a figure was computed from"
    if evidence.comparison is None:
        return said + "."
    own = (
        "The figures are of prompts that were held back while the build was chosen. "
        if provenance.confirmed
        else ""
    )
    return (
        f"{own}{said}, where three are given, of this build, of the baseline and of the pairs. "
        "Differences are paired, prompt by prompt: this build minus the baseline, in points where "
        "the figure is in percent."
    )


def _settings(evidence: Evidence) -> list[tuple[str, str]]:
    """Everything besides the prompts that could change a figure."""
    header = evidence.header
    chat, engine, machine, versions = header.chat, header.engine, header.machine, header.versions
    gpu = "all layers where there is a GPU" if engine.gpu_layers < 0 else str(engine.gpu_layers)
    order = "as listed" if engine.order is None else f"shuffled with seed {engine.order}"
    commit = "" if versions.commit is None else f" at commit {versions.commit}"
    dirty = ", with uncommitted changes" if versions.dirty else ""
    return [
        ("Quantisation", header.model.quantization),
        ("Thinking", "on" if chat.thinking else "off"),
        ("Thoughts are cut by", chat.thinking_rule or "no rule: the model has none"),
        ("Answers begin with", chat.prefill or ""),
        ("Chat template", f"the file's own, SHA-256 {chat.template_sha256}"),
        ("Date told to the template", chat.template_date.isoformat()),
        ("Engine", f"llama-cpp-python {machine.llama_cpp_python}"),
        (
            "Batches",
            f"{engine.parallel} answers at once, {engine.context} tokens each, waves of "
            f"{engine.wave} prompts {order}; batch {engine.batch}, micro-batch "
            f"{engine.micro_batch}",
        ),
        ("KV cache", f"{engine.cache_type}, flash attention {engine.flash_attention}"),
        ("Processor", f"{engine.threads} threads; on a GPU: {gpu}"),
        (
            "Machine",
            f"{machine.processor or machine.platform}, {machine.n_cpus} CPUs, "
            f"{machine.memory_gib} GiB, {machine.platform}",
        ),
        ("llama.cpp on it", machine.system_info.strip()),
        ("Scored by", f"weighin {versions.weighin}{commit}{dirty}; lm-eval {versions.lm_eval}"),
        ("Prose scored as", evidence.summary.prose_signature or ""),
        ("Python", versions.python),
    ]

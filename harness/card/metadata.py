"""Card metadata: what the Hub reads of a card, in `huggingface_hub`'s own classes.

Evidence and provenance in, `ModelCardData` out. Values keep the metrics' names and units: fractions
are fractions. Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.card.evidence import Evidence
from harness.card.provenance import ADAPTERS, MODELS, Provenance, Terms
from harness.comparison.records import H_DELTA, Difference
from harness.comparison.sanity import COUNTERS
from harness.ifeval_set import HUB_NAME
from harness.report.glance import LEFT_OUT
from harness.report.numerals import name_of
from harness.runs import RunHeader, TaskSettings
from metrics.stats import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TASK = "text-generation"
"""The Hub's task, and its pipeline."""
LIBRARY = "gguf"
"""The Hub's name for what llama.cpp reads."""
DIGITS = 6
"""Decimals of a value; more are noise."""
IFEVAL = "ifeval"
IFEVAL_KEYS = range(1000, 4000)
"""IFEval's prompts are numbered within this; a set of one's own under its name is none of it."""


def metadata_of(evidence: Evidence, provenance: Provenance, terms: Terms) -> "ModelCardData":
    """The card's YAML block.

    Only what has an id on the Hub is named as a base model: a local name would lead a reader to
    somebody else's model of that name, or to none.
    """
    from huggingface_hub import ModelCardData

    models = [found for found in provenance.ingredients if found.role in MODELS]
    base = list(dict.fromkeys(found.hub_id for found in models if found.hub_id is not None))
    tags = ["gguf", *(("merge", "lora") if provenance.is_merge else ()), "weighin"]
    extra: dict[str, Any] = {}
    if provenance.is_merge:
        extra["base_model_relation"] = "merge"
        extra["adapters"] = [found.name for found in models if found.role in ADAPTERS]
    return ModelCardData(
        license=terms.license,
        license_name=terms.license_name,
        license_link=terms.license_link,
        base_model=base or None,
        library_name=LIBRARY,
        pipeline_tag=TASK,
        tags=tags,
        model_name=terms.name,
        eval_results=list(eval_results(evidence)),
        **extra,
    )


def eval_results(evidence: Evidence) -> Iterator["EvalResult"]:
    """One a figure that is defined, task by task, with n, interval and difference as arguments.

    Counts of answers that went wrong stand in the card's text alone.
    """
    rows = {} if evidence.comparison is None else evidence.comparison.by_metric()
    tasks = {task.name: task for task in evidence.header.tasks}
    for metric, estimate in evidence.summary.metrics.items():
        if metric.partition(".")[2] in (*COUNTERS, *LEFT_OUT):
            continue
        task = tasks[metric.partition(".")[0]]
        row = rows.get(metric)
        found = _result(evidence, task, metric, estimate, row)
        if found is not None:
            yield found
        if metric.endswith(".H") and row is not None:
            gained = _result(evidence, task, f"{task.name}.{H_DELTA}", row.difference, None)
            if gained is not None:
                yield gained


def is_ifeval(evidence: Evidence, task: TaskSettings) -> bool:
    """Whether a task is made of IFEval's own prompts."""
    if task.name != IFEVAL or task.kind != "ifeval":
        return False
    ids = {s.prompt_id for s in evidence.run.scores() if s.task == task.name}
    return all(name.isdigit() and int(name) in IFEVAL_KEYS for name in ids)


def quantization_of(header: RunHeader) -> str:
    """llama.cpp's type: the last word of its description, `Q6_K` of `llama 256M Q6_K`."""
    return header.model.quantization.split()[-1] if header.model.quantization else "GGUF"


def _result(
    evidence: Evidence,
    task: TaskSettings,
    metric: str,
    estimate: Estimate,
    row: Difference | None,
) -> "EvalResult | None":
    from huggingface_hub import EvalResult

    if estimate.value is None:
        return None
    real = is_ifeval(evidence, task)
    short = metric.partition(".")[2]
    return EvalResult(
        task_type=TASK,
        task_name="Text generation",
        dataset_type=HUB_NAME if real else task.name,
        dataset_name="IFEval" if real else f"{task.name} (weighin)",
        dataset_split="train" if real else None,
        dataset_args={"n_prompts": task.n_prompts, "prompts_sha256": task.prompts_sha256},
        metric_type=short,
        metric_name=name_of(metric),
        metric_value=round(estimate.value, DIGITS),
        metric_args=_arguments(estimate, row),
    )


def _arguments(estimate: Estimate, row: Difference | None) -> dict[str, Any]:
    """What the value is worth: n, interval, and the paired difference to the baseline."""
    found: dict[str, Any] = {"n": estimate.n}
    if estimate.low is not None and estimate.high is not None:
        found |= {"confidence": CONFIDENCE, **_interval(estimate)}
    if row is not None and row.baseline.value is not None:
        found["baseline"] = round(row.baseline.value, DIGITS)
    if row is not None and row.difference.value is not None:
        found["difference"] = {
            "value": round(row.difference.value, DIGITS),
            **_interval(row.difference),
            "n": row.difference.n,
        }
    return found


def _interval(estimate: Estimate) -> dict[str, float]:
    if estimate.low is None or estimate.high is None:
        return {}
    return {"low": round(estimate.low, DIGITS), "high": round(estimate.high, DIGITS)}

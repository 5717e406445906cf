"""Scoring: a run's completions become numbers, without the model.

Completions and prompts in, scores and a summary out. Knows which metric belongs to which kind of
task and how thoughts are cut first; the formulas are in `metrics`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.prompts import Prompt, PromptSet
from harness.runs import Completion, Run, RunHeader, Score, Summary
from harness.thinking import Answer, cut_thinking, rule_named
from metrics import ifeval, prose
from metrics.cross_repetition import xrep3
from metrics.lexicon import Lexicon, default_lexicon
from metrics.stats import Estimate, wilson


@dataclass(frozen=True)
class Scoring:
    """What a user may choose about scoring."""

    lexicon: Lexicon | None = None
    """What counts as slop; None is the project's own lexicon."""
    length_gate: bool = True
    """Whether short prose lowers H."""


def score_run(run: Run, scoring: Scoring | None = None) -> Summary:
    """Score a run's completions and write `scores.jsonl` and `summary.json`.

    Args:
        run: A run with completions; an unfinished one is scored as far as it goes.
        scoring: Choices; the defaults where None.

    Raises:
        RunError: What was said or asked was edited after it was scored before.
    """
    run.require_unedited(to_score=True)
    scores = score_completions(run.header(), run.prompt_sets(), run.completions(), scoring)
    summary = summarise(scores, run.header(), run.completions())
    if any(score.prose is not None for score in scores):
        chosen = scoring or Scoring()
        signature = prose.signature(
            chosen.lexicon or default_lexicon(), length_gate=chosen.length_gate
        )
        summary = summary.model_copy(update={"prose_signature": signature})
    run.write_scores(scores, summary)
    return summary


def score_completions(
    header: RunHeader,
    prompt_sets: Sequence[PromptSet],
    completions: Iterable[Completion],
    scoring: Scoring | None = None,
) -> list[Score]:
    """Score completions one by one, in their order.

    Args:
        header: The run's; says how thoughts are cut and what the answer began with.
        prompt_sets: The run's, by task.
        completions: Any part of the run.
        scoring: Choices; the defaults where None.
    """
    scoring = scoring or Scoring()
    prompts = {(s.name, p.id): p for s in prompt_sets for p in s.prompts}
    kinds = {s.name: s.kind for s in prompt_sets}
    lexicon = scoring.lexicon or default_lexicon()
    scores = []
    for completion in completions:
        text, unclosed = answer(header, completion)
        score = Score(
            task=completion.task,
            prompt_id=completion.prompt_id,
            sample=completion.sample,
            empty=not text.strip(),
            unclosed_thought=unclosed,
        )
        if kinds[completion.task] == "ifeval":
            prompt = prompts[completion.task, completion.prompt_id]
            followed = score_ifeval(completion.task, prompt, text)
            scores.append(score.model_copy(update={"ifeval": followed}))
        else:
            figures = prose.score_text(text, lexicon, length_gate=scoring.length_gate)
            scores.append(score.model_copy(update={"prose": figures}))
    return scores


def answer(header: RunHeader, completion: Completion) -> Answer:
    """What counts as the answer: the prefill and the text, thoughts cut."""
    text = (header.chat.prefill or "") + completion.text
    rule = header.chat.thinking_rule
    return Answer(text, unclosed=False) if rule is None else cut_thinking(text, rule_named(rule))


def summarise(
    scores: Sequence[Score], header: RunHeader, completions: Sequence[Completion]
) -> Summary:
    """All figures of a run, by `task.metric`.

    Args:
        scores: The run's.
        header: The run's.
        completions: The run's, in the order of the scores.
    """
    figures: dict[str, Estimate] = {}
    for task in header.tasks:
        own = [(s, c) for s, c in zip(scores, completions, strict=True) if s.task == task.name]
        if task.kind == "ifeval":
            named = ifeval.summarise([s.ifeval for s, _ in own if s.ifeval is not None])
        else:
            ids = [s.prompt_id for s, _ in own]
            named = prose.summarise([s.prose for s, _ in own if s.prose is not None], prompts=ids)
            named["xrep3"] = xrep3([answer(header, c).text for _, c in own], ids)
        figures |= {f"{task.name}.{name}": estimate for name, estimate in named.items()}
        figures |= {
            f"{task.name}.{name}": wilson(count, len(own))
            for name, count in (
                ("empty", sum(s.empty for s, _ in own)),
                ("unclosed_thought", sum(s.unclosed_thought for s, _ in own)),
                ("cut_off", sum(c.stop_reason in ("length", "context") for _, c in own)),
            )
        }
    return Summary(metrics=figures)


def score_ifeval(prompt_set: str, prompt: Prompt, text: str) -> ifeval.IfevalScore:
    """Check one answer against its prompt's instructions."""
    # only IFEval's own prompts are known to lm-eval's seeded draws, by their key
    key = int(prompt.id) if prompt_set == "ifeval" and prompt.id.isdigit() else None
    instructions = [(i.id, i.kwargs) for i in prompt.instructions]
    return ifeval.score(prompt.text, instructions, text, key=key)

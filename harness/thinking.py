"""Thinking: which part of a completion is the answer, and which is thought.

Text in, text out; a run keeps the raw completion and the name of the rule, so that the answer can
be cut again from the records alone. There is one rule for models that think in `<think>` tags
(Qwen 3, DeepSeek R1, SmolLM3 and others) and one for Gemma 4's channel; each has a twin for prompts
that already open the thought. Other ways of thinking count as answer.
Sources: the models' own chat templates, which drop old thoughts in the way that is followed here;
llama.cpp `common/parsers/gemma4.cpp` for Gemma 4's tokens.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from metrics.errors import WeighinError


class ThinkingRule(BaseModel):
    """How to find the thoughts in a completion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """What a run records."""

    opener: str
    """Begins a thought; as written out by the tokenizer, special tokens included."""

    closer: str
    """Ends a thought."""

    lone_closer: Literal["ends-thought", "dropped"]
    """A closer that nothing opened: all before it is thought, or it alone is left out."""

    prompt_endings: tuple[str, ...]
    """A prompt that ends so has opened the thought for the model."""

    begins_inside: bool = False
    """Whether the completion begins within a thought."""


class Answer(NamedTuple):
    """What is left of a completion."""

    text: str
    """The answer; empty where a thought was not closed."""

    unclosed: bool
    """Whether the completion ended within a thought."""


_THINK = ThinkingRule(
    name="think",
    opener="<think>",
    closer="</think>",
    lone_closer="ends-thought",
    prompt_endings=("<think>",),
)
_GEMMA_4 = ThinkingRule(
    name="gemma4",
    opener="<|channel>",
    closer="<channel|>",
    lone_closer="dropped",
    prompt_endings=("<|channel>", "<|channel>thought"),
)
_FAMILIES = (_GEMMA_4, _THINK)

RULES: Mapping[str, ThinkingRule] = {
    rule.name: rule
    for family in _FAMILIES
    for rule in (
        family,
        family.model_copy(update={"name": f"{family.name}-open", "begins_inside": True}),
    )
}
"""Every rule by the name that a run records."""


def thinking_rule(template: str, prompt: str) -> ThinkingRule | None:
    """The rule for a model, from its chat template.

    Args:
        template: The template's source: a family is known by the tokens that it writes.
        prompt: Any rendered prompt of the run; its end tells whether the template itself opens
            the thought.

    Returns:
        None where the template knows no thoughts, and all of a completion is answer.
    """
    for family in _FAMILIES:
        if family.opener in template or family.closer in template:
            opened = prompt.rstrip().endswith(family.prompt_endings)
            return RULES[f"{family.name}-open" if opened else family.name]
    return None


def rule_named(name: str) -> ThinkingRule:
    """The rule that a run recorded.

    Raises:
        WeighinError: no rule has that name.
    """
    if name not in RULES:
        raise WeighinError(f"no thinking rule {name!r}; a run records one of {', '.join(RULES)}")
    return RULES[name]


def cut_thinking(text: str, rule: ThinkingRule) -> Answer:
    """Take the thoughts out of a completion.

    Args:
        text: The raw completion, after the prefill if there was one.
        rule: Of the run.

    Returns:
        The rest in its order, without the space that stood between thought and answer; a
        completion without any thought is returned as it is. A thought that is not closed leaves
        an empty answer, whatever stands before it.
    """
    if not (rule.begins_inside or rule.opener in text or rule.closer in text):
        return Answer(text, unclosed=False)
    kept = ""
    rest, inside = text, rule.begins_inside
    while True:
        if inside:
            _, closer, rest = rest.partition(rule.closer)
            if not closer:
                return Answer("", unclosed=True)
        before, opener, rest = rest.partition(rule.opener)
        kept = _without_lone_closers(kept + before, rule)
        if not opener:
            return Answer(kept.lstrip(), unclosed=False)
        inside = True


def _without_lone_closers(text: str, rule: ThinkingRule) -> str:
    if rule.lone_closer == "dropped":
        return text.replace(rule.closer, "")
    return text.rpartition(rule.closer)[2]

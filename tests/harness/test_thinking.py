"""Cutting thoughts: what each family's rule keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.chat import ChatTemplate
from harness.prompts import Message
from harness.thinking import RULES, cut_thinking, rule_named, thinking_rule
from metrics.errors import WeighinError

TAGS = {"think": ("<think>", "</think>"), "gemma4": ("<|channel>thought\n", "<channel|>")}
plain = st.text(st.sampled_from("ab \n.é"), max_size=12)


@pytest.mark.parametrize(
    ("rule", "text", "answer", "unclosed"),
    [
        ("think", "", "", False),
        ("think", "  Just an answer. ", "  Just an answer. ", False),
        ("think", "<think>\nHm.\n</think>\n\nYes. ", "Yes. ", False),
        ("think", "<think></think>Yes", "Yes", False),
        ("think", "\n<think>Hm", "", True),
        ("think", "Yes. <think>Or no", "", True),
        ("think", "<think>a</think>Yes<think>b</think>, no", "Yes, no", False),
        ("think", "<think>a<think>b</think>c</think>Yes", "Yes", False),
        # As Qwen 3's own template reads an old answer: all before the last closer is thought.
        ("think", "Hm.</think>Yes", "Yes", False),
        ("think-open", "Hm.\n</think>\n\nYes", "Yes", False),
        ("think-open", "Hm, so the answer is yes.", "", True),
        ("think-open", "", "", True),
        ("think-open", "a</think>Yes<think>b", "", True),
        ("gemma4", "<|channel>thought\nHm.\n<channel|>Yes", "Yes", False),
        ("gemma4", "<|channel>thought\nHm.", "", True),
        ("gemma4", "<think>is a tag</think>", "<think>is a tag</think>", False),
        # As Gemma 4's own template reads it: a lone closer is left out, the text before it stays.
        ("gemma4", "Yes<channel|>", "Yes", False),
        ("gemma4-open", "Hm.<channel|>Yes", "Yes", False),
        ("gemma4-open", "Hm.", "", True),
    ],
)
def test_cut(rule: str, text: str, answer: str, unclosed: bool) -> None:
    assert cut_thinking(text, rule_named(rule)) == (answer, unclosed)


@given(st.sampled_from(sorted(TAGS)), st.lists(st.tuples(plain, plain), max_size=4), plain)
def test_what_stands_outside_closed_thoughts_is_kept(
    rule: str, pairs: list[tuple[str, str]], last: str
) -> None:
    opener, closer = TAGS[rule]
    text = "".join(f"{said}{opener}{thought}{closer}" for said, thought in pairs) + last
    outside = "".join(said for said, _ in pairs) + last
    expected = outside.lstrip() if pairs else outside
    assert cut_thinking(text, rule_named(rule)) == (expected, False)
    # The same thoughts, the first of them opened by the prompt.
    if pairs and not pairs[0][0]:
        assert cut_thinking(text.removeprefix(opener), rule_named(f"{rule}-open")) == (
            expected,
            False,
        )
    assert cut_thinking(text + opener + last, rule_named(rule)) == ("", True)


@given(st.sampled_from(sorted(RULES)), plain)
def test_without_tags_only_an_opened_thought_matters(rule: str, text: str) -> None:
    expected = ("", True) if rule.endswith("-open") else (text, False)
    assert cut_thinking(text, rule_named(rule)) == expected


def test_an_unknown_rule_is_an_error() -> None:
    with pytest.raises(WeighinError, match="no thinking rule 'thonk'"):
        rule_named("thonk")


def test_every_rule_is_recorded_under_its_own_name() -> None:
    assert {name: rule.name for name, rule in RULES.items()} == {
        name: name for name in ("think", "think-open", "gemma4", "gemma4-open")
    }


CHATML = "{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}<|im_start|>assistant\n"
QWEN_3 = CHATML + "{% if not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
R1 = CHATML + "{{ '<think>\n' }}{% if not enable_thinking %}{{ '</think>' }}{% endif %}"
GEMMA_4 = (
    "{% for m in messages %}<|turn>{{ m.content }}{% endfor %}<|turn>model\n"
    "{% if not enable_thinking %}{{ '<|channel>thought\n<channel|>' }}{% endif %}"
)


@pytest.mark.parametrize(
    ("source", "thinking", "rule"),
    [
        (CHATML, True, None),
        (QWEN_3, False, "think"),
        (QWEN_3, True, "think"),
        (R1, False, "think"),
        (R1, True, "think-open"),
        (GEMMA_4, False, "gemma4"),
        (GEMMA_4, True, "gemma4"),
    ],
)
def test_the_rule_follows_from_the_template_and_the_prompts_end(
    source: str, thinking: bool, rule: str | None
) -> None:
    messages = [Message(role="user", content="What does <think> mean?")]
    prompt = ChatTemplate(source).render(messages, thinking=thinking)
    chosen = thinking_rule(source, prompt)
    assert (chosen and chosen.name) == rule


def test_a_prompt_that_opens_the_thought_itself() -> None:
    think = thinking_rule(QWEN_3, "<|im_start|>assistant\n<think>\n")
    channel = thinking_rule(GEMMA_4, "<|turn>model\n<|channel>thought\n")
    assert (think, channel) == (RULES["think-open"], RULES["gemma4-open"])

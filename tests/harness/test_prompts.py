"""Prompt sets: reading, refusing, choosing."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import ifeval_set
from harness.prompts import (
    Message,
    Prompt,
    PromptSet,
    half,
    load_prompt_set,
    parse_prompts,
    prompt_from_row,
    take,
)
from metrics.errors import WeighinError

IFEVAL = Path(__file__).parents[3] / "shared" / "data" / "ifeval" / "input_data.jsonl"
needs_ifeval = pytest.mark.skipif(
    not IFEVAL.exists(), reason="IFEval absent: shared/data/ifeval/input_data.jsonl"
)
NO_COMMA = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}


def user_set(*rows: dict[str, Any]) -> PromptSet:
    return parse_prompts("\n".join(json.dumps(row) for row in rows), name="mine", source="mine")


def plain(ids: list[str], groups: list[str | None] | None = None) -> PromptSet:
    kept = groups or [None] * len(ids)
    message = Message(role="user", content="Say something.")
    prompts = (
        Prompt(id=name, messages=(message,), group=group)
        for name, group in zip(ids, kept, strict=True)
    )
    return PromptSet(name="plain", kind="prose", prompts=tuple(prompts))


def test_a_plain_prompt_and_a_conversation_are_read() -> None:
    turns = [
        {"role": "system", "content": "You are a ferryman."},
        {"role": "user", "content": "Row me over."},
        {"role": "assistant", "content": "It will cost you."},
        {"role": "user", "content": "How much?"},
    ]
    mine = user_set({"id": "a", "prompt": "Hello"}, {"key": 7, "messages": turns})
    assert mine.kind == "prose"
    assert [prompt.id for prompt in mine.prompts] == ["a", "7"]
    assert mine.prompts[0].messages == (Message(role="user", content="Hello"),)
    assert mine.prompts[1].text == "How much?"


def test_null_arguments_of_the_hub_are_dropped() -> None:
    row = {"key": 1, "prompt": "Hi", "instruction_id_list": ["detectable_format:title"]}
    prompt = prompt_from_row(row | {"kwargs": [{"num_words": None, "keywords": None}]})
    assert prompt.instructions[0].kwargs == {}


def test_a_row_without_id_is_named_by_its_text() -> None:
    alone = user_set({"prompt": "Second"}).prompts[0].id
    both = user_set({"prompt": "First"}, {"prompt": "Second"})
    assert both.prompts[1].id == alone


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("", "holds no prompt"),
        ('{"prompt": "a"}\n{"prompt": "b"', "line 2: not JSON"),
        ('\n\n["a"]', "line 3: expected an object, found list"),
        ('{"prompt": "a", "instruction_ids": []}', "line 1: unknown key 'instruction_ids'"),
        ('{"prompt": "a", "messages": []}', "either `prompt` or `messages`"),
        ('{"id": "a"}', "either `prompt` or `messages`"),
        ('{"prompt": "a", "id": "x", "key": 1}', "either `id` or `key`"),
        ('{"prompt": "a", "id": 1.5}', "text or a whole number"),
        ('{"prompt": 3}', "messages.0.content"),
        ('{"prompt": "  "}', "the last message is empty"),
        ('{"messages": []}', "messages"),
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "last message must be the user"),
        ('{"messages": [{"role": "system", "content": "a"}]}', "last message must be the user"),
        (
            '{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}',
            "must alternate",
        ),
        ('{"messages": [{"role": "bot", "content": "a"}]}', "messages.0.role"),
        ('{"id": "a", "prompt": "x"}\n{"id": "a", "prompt": "y"}', "line 2: prompt id 'a' is also"),
        ('{"prompt": "same"}\n{"prompt": "same"}', "also on line 1"),
        (
            json.dumps({"prompt": "a"} | NO_COMMA) + '\n{"prompt": "b"}',
            "line 2: no instruction_id_list",
        ),
        ('{"prompt": "a", "instruction_id_list": "x"}', "must be a list"),
        (
            '{"prompt": "a", "instruction_id_list": ["punctuation:no_comma"], "kwargs": []}',
            "same length",
        ),
        (
            '{"prompt": "a", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [1]}',
            "must be an object",
        ),
    ],
)
def test_a_bad_row_is_named_by_its_line(lines: str, complaint: str) -> None:
    with pytest.raises(WeighinError) as caught:
        parse_prompts(lines, name="mine", source="mine.jsonl")
    assert complaint in str(caught.value)
    assert "mine.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kwargs", "complaint"),
    [
        ("punctuation:no_commas", {}, "unknown instruction"),
        ("punctuation:no_comma", {"n": 1}, "needs the arguments"),
        ("length_constraints:number_words", {"num_words": 5}, "needs the arguments"),
        (
            "length_constraints:number_words",
            {"num_words": 5, "relation": "at most"},
            "less than, at least",
        ),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 0}, "found 0"),
        ("length_constraints:number_paragraphs", {"num_paragraphs": True}, "found True"),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 2.5}, "found 2.5"),
        ("keywords:existence", {"keywords": []}, "found []"),
        (
            "keywords:letter_frequency",
            {"letter": "ab", "let_frequency": 2, "let_relation": "at least"},
            "one character",
        ),
    ],
)
def test_an_instruction_that_would_be_drawn_by_chance_is_refused(
    name: str, kwargs: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(WeighinError, match="line 1") as caught:
        user_set({"prompt": "a", "instruction_id_list": [name], "kwargs": [kwargs]})
    assert complaint in str(caught.value)


def test_a_missing_file_and_an_unreadable_one_are_errors(tmp_path: Path) -> None:
    with pytest.raises(WeighinError, match="no prompt set 'ifevil'"):
        load_prompt_set("ifevil")
    with pytest.raises(WeighinError, match="cannot read prompts"):
        load_prompt_set(tmp_path)
    (tmp_path / "latin.jsonl").write_bytes('{"prompt": "café"}'.encode("latin-1"))
    with pytest.raises(WeighinError, match="cannot read prompts"):
        load_prompt_set(tmp_path / "latin.jsonl")


def test_a_users_file_is_named_after_itself(tmp_path: Path) -> None:
    path = tmp_path / "tavern.jsonl"
    path.write_text('\ufeff{"prompt": "Zwölf Bier, bitte."}\r\n\r\n', encoding="utf-8")
    loaded = load_prompt_set(str(path))
    assert (loaded.name, loaded.prompts[0].text) == ("tavern", "Zwölf Bier, bitte.")


def test_the_hash_covers_what_is_asked_and_nothing_else() -> None:
    one = user_set({"id": "a", "prompt": "Hello"} | NO_COMMA)
    same = user_set(NO_COMMA | {"group": "x", "prompt": "Hello", "id": "a"})
    assert one.sha256 == same.sha256
    others = [
        user_set({"id": "b", "prompt": "Hello"} | NO_COMMA),
        user_set({"id": "a", "prompt": "Hello!"} | NO_COMMA),
        user_set({"id": "a", "prompt": "Hello"}),
    ]
    assert len({one.sha256, *(other.sha256 for other in others)}) == 4


def test_a_subset_remembers_the_whole() -> None:
    whole = plain([str(i) for i in range(20)])
    part = half(take(whole, 12, seed=3), "search", seed=3)
    assert part.source_sha256 == whole.sha256 != part.sha256


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=5), st.sampled_from(["a/x", "a/y", "b/x", None])),
        min_size=1,
        max_size=30,
        unique_by=lambda row: row[0],
    ),
    st.integers(1, 40),
    st.integers(0, 3),
)
def test_a_smaller_limit_is_the_beginning_of_a_larger_one(
    rows: list[tuple[str, str | None]], limit: int, seed: int
) -> None:
    whole = plain([name for name, _ in rows], [group for _, group in rows])
    chosen = take(whole, limit, seed=seed).prompts
    assert len({prompt.id for prompt in chosen}) == min(limit, len(rows))
    if limit >= len(rows):
        assert chosen == whole.prompts
    else:
        assert take(whole, limit - 1 or 1, seed=seed).prompts == chosen[: limit - 1 or 1]


def test_a_limit_keeps_the_shares_of_the_groups() -> None:
    # 8 of a/x, 4 of a/y and 4 of b: a quarter of the set is 2, 1 and 1 of them.
    groups = ["a/x"] * 8 + ["a/y"] * 4 + ["b"] * 4
    whole = plain([str(i) for i in range(16)], list(groups))
    for seed in range(5):
        chosen = take(whole, 4, seed=seed)
        assert Counter(p.group for p in chosen.prompts) == {"a/x": 2, "a/y": 1, "b": 1}


def test_every_process_takes_the_same_prompts() -> None:
    code = (
        "from harness.prompts import half, load_prompt_set, take\n"
        "for which in ('search', 'confirm'):\n"
        "    print(take(half(load_prompt_set('prose'), which, seed=0), 24, seed=0).sha256)"
    )
    taken = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in range(8)
    }
    assert len(taken) == 1
    assert len(taken.pop().split()) == 2


def test_the_seed_decides_which_prompts_are_taken() -> None:
    whole = plain([str(i) for i in range(50)])
    subsets = {tuple(p.id for p in take(whole, 10, seed=seed).prompts) for seed in range(5)}
    assert len(subsets) == 5


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(WeighinError, match="limit of 0"):
        take(plain(["a"]), 0, seed=0)


@given(
    st.lists(st.text(min_size=1, max_size=6), min_size=2, max_size=40, unique=True),
    st.integers(0, 5),
)
def test_halves_are_disjoint_complete_and_stable(ids: list[str], seed: int) -> None:
    def side(names: list[str], which: Any) -> list[str]:
        try:
            return [prompt.id for prompt in half(plain(names), which, seed=seed).prompts]
        except WeighinError:
            return []

    search, confirm = side(ids, "search"), side(ids, "confirm")
    assert sorted(search + confirm) == sorted(ids)
    # Without its last prompt, the set splits in the same way.
    assert side(ids[:-1], "search") == [name for name in search if name != ids[-1]]


def test_halves_are_about_equal_and_hang_on_the_seed() -> None:
    whole = plain([str(i) for i in range(1000)])
    first = {p.id for p in half(whole, "search", seed=0).prompts}
    second = {p.id for p in half(whole, "search", seed=1).prompts}
    # Binomial with n = 1000, p = 1/2: 4 standard deviations are 63; independent seeds share 1/4.
    assert abs(len(first) - 500) < 63
    assert abs(len(first & second) - 250) < 55


@needs_ifeval
def test_ifeval_is_read_whole_and_its_hash_recorded() -> None:
    whole = load_prompt_set("ifeval", ifeval_data=IFEVAL)
    assert (whole.name, whole.kind, len(whole.prompts)) == ("ifeval", "ifeval", 541)
    assert sum(len(prompt.instructions) for prompt in whole.prompts) == 834
    assert whole.sha256 == "59949cfbf3f64746ac6f3a9e6fed016126c37fb0618526b35e8299e0e3f7ee10"


@needs_ifeval
@pytest.mark.parametrize("limit", [32, 64, 128, 256])
def test_a_limited_ifeval_keeps_every_type_near_its_share(limit: int) -> None:
    whole = load_prompt_set("ifeval", ifeval_data=IFEVAL)
    part = load_prompt_set("ifeval", ifeval_data=IFEVAL, limit=limit, seed=7)
    counts = Counter(i.id for prompt in part.prompts for i in prompt.instructions)
    total = Counter(i.id for prompt in whole.prompts for i in prompt.instructions)
    for name, n in total.items():
        assert counts[name] >= 1
        assert abs(counts[name] - n * limit / 541) < 2, name
    assert part.prompts != whole.prompts[:limit]
    assert part.source_sha256 == whole.sha256


@needs_ifeval
def test_the_older_wording_of_ifeval_is_refused(tmp_path: Path) -> None:
    text = IFEVAL.read_text(encoding="utf-8")
    question = "What is inside Shinto shrines?"
    assert question in text
    path = tmp_path / "input_data.jsonl"
    path.write_text(text.replace(question, "What is in a shrine?"), encoding="utf-8")
    with pytest.raises(WeighinError, match="key 2785"):
        load_prompt_set("ifeval", ifeval_data=path)


def test_a_missing_instruction_is_noticed() -> None:
    texts = {str(i): "" for i in range(541)}
    with pytest.raises(WeighinError, match="833 instructions, expected 541 with 834"):
        ifeval_set.check_counts(texts, 833, source="rows")


@needs_ifeval
def test_a_part_of_ifeval_is_not_ifeval(tmp_path: Path) -> None:
    path = tmp_path / "input_data.jsonl"
    path.write_text("".join(IFEVAL.read_text(encoding="utf-8").splitlines(True)[:-1]))
    with pytest.raises(WeighinError, match="540 prompts"):
        load_prompt_set("ifeval", ifeval_data=path)


@needs_ifeval
@pytest.mark.slow
def test_the_hubs_rows_equal_the_local_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `datasets` prefers a folder of that name in the working directory to the hub.
    folder = tmp_path / ifeval_set.HUB_NAME
    folder.mkdir(parents=True)
    (folder / "ifeval_input_data.jsonl").write_bytes(IFEVAL.read_bytes())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    whole = load_prompt_set("ifeval")
    assert whole.sha256 == load_prompt_set("ifeval", ifeval_data=IFEVAL).sha256


@pytest.mark.slow
def test_without_a_network_the_message_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeighinError, match="--ifeval-data") as caught:
        load_prompt_set("ifeval")
    assert "\n" not in str(caught.value)


def test_prose_is_half_stories_and_half_conversations() -> None:
    prose = load_prompt_set("prose")
    assert prose.kind == "prose"
    forms = Counter(str(prompt.group).split("/")[0] for prompt in prose.prompts)
    assert forms == {"creative": 32, "roleplay": 32}
    for prompt in prose.prompts:
        roles = [message.role for message in prompt.messages]
        if str(prompt.group).startswith("roleplay"):
            assert roles[:4] == ["system", "user", "assistant", "user"]
        else:
            assert roles == ["user"]


@pytest.mark.parametrize("seed", range(4))
def test_eight_prose_prompts_hold_both_forms_and_every_genre(seed: int) -> None:
    groups = [str(p.group).split("/") for p in load_prompt_set("prose", limit=8, seed=seed).prompts]
    assert Counter(form for form, _ in groups) == {"creative": 4, "roleplay": 4}
    assert len({genre for _, genre in groups}) == 8

"""What a Fisher is made of: which prompts, as which tokens; and whether they are asked again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.prompts import Message, Prompt, PromptSet, load_prompt_set, take
from harness.seen_prompts import text_sha256
from metrics.errors import WeighinError
from search.errors import FisherError, RecipeError
from search.fisher.file import FisherHeader
from search.fisher.overlap import check_overlap, overlap_note, shared_prompts
from search.fisher.prompts import Asked, make_examples, read_asked, template_of
from search.recipe_file import load_recipe
from search.tensors.checkpoint import Checkpoint
from search.tensors.text_model import load_tokenizer
from tests.search.masks import make_fisher as make_fisher_file

PathMaker = Callable[..., Path]


@pytest.fixture(scope="module")
def tokenizer(checkpoint_of: PathMaker) -> Any:
    return load_tokenizer(Checkpoint(checkpoint_of("gemma4")))


def written(path: Path, *rows: Any) -> Path:
    path.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )
    return path


def prompt_set(*texts: str, name: str = "own") -> PromptSet:
    prompts = [
        Prompt(id=f"p{i}", messages=(Message(role="user", content=text),))
        for i, text in enumerate(texts)
    ]
    return PromptSet(name=name, kind="prose", prompts=tuple(prompts))


def ids(prompts: PromptSet) -> set[str]:
    return {prompt.id for prompt in prompts.prompts}


@pytest.mark.parametrize("name", ["mini", "prose"])
def test_a_built_in_set_is_taken_from_the_end_that_evaluations_leave(name: str) -> None:
    whole = load_prompt_set(name)
    ours = read_asked(name, "prompt", limit=10).prompts
    asked = load_prompt_set(name, limit=len(whole.prompts) - 10)
    assert len(ours.prompts) == 10
    assert not ids(ours) & ids(asked)
    assert ids(ours) | ids(asked) == ids(whole)
    assert ours.source_sha256 == whole.sha256
    # an evaluation with a smaller limit asks fewer of the same
    assert ids(load_prompt_set(name, limit=20)) < ids(asked)


def test_ifeval_leaves_room_for_an_evaluation(shared_data: Path) -> None:
    data = shared_data / "ifeval" / "input_data.jsonl"
    ours = read_asked("ifeval", "prompt", ifeval_data=data, limit=200).prompts
    assert len(ours.prompts) == 200
    # DESIGN's recipe asks 256 of the same set
    asked = load_prompt_set("ifeval", ifeval_data=data, limit=256)
    assert not ids(ours) & ids(asked)
    types = {i.id for prompt in ours.prompts for i in prompt.instructions}
    assert len(types) == 25


def test_a_file_is_taken_whole_or_as_an_evaluation_would(tmp_path: Path) -> None:
    path = written(tmp_path / "own.jsonl", *({"prompt": f"question {i}"} for i in range(9)))
    assert len(read_asked(str(path), "prompt").prompts.prompts) == 9
    ours = read_asked(str(path), "prompt", limit=4, seed=2).prompts
    assert ours == take(load_prompt_set(path), 4, seed=2)


def test_tokens_are_those_of_the_chat_template(tokenizer: Any) -> None:
    asked = Asked(prompt_set("the quick brown fox", "pack my box"), {})
    template = template_of(tokenizer, None)
    found = make_examples(
        asked, "prompt", tokenizer=tokenizer, template=template, max_tokens=256, too_long="cut"
    )
    for prompt, example in zip(found.prompts.prompts, found.examples, strict=True):
        chat = [{"role": "user", "content": prompt.text}]
        expected = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
        assert list(example.tokens) == expected
        assert example.first == 1
    assert (found.n_cut, found.n_dropped) == (0, 0)


@pytest.mark.parametrize(("too_long", "n_cut", "n_dropped"), [("cut", 1, 0), ("drop", 0, 1)])
def test_longer_prompts(too_long: Any, n_cut: int, n_dropped: int, tokenizer: Any) -> None:
    asked = Asked(prompt_set("fox", "pack my box with five dozen liquor jugs " * 9), {})
    found = make_examples(
        asked,
        "prompt",
        tokenizer=tokenizer,
        template=template_of(tokenizer, None),
        max_tokens=20,
        too_long=too_long,
    )
    assert (found.n_cut, found.n_dropped) == (n_cut, n_dropped)
    assert len(found.examples) == 2 - n_dropped
    assert max(len(example.tokens) for example in found.examples) <= 20
    assert [e.id for e in found.examples] == [p.id for p in found.prompts.prompts]


def test_responses(tokenizer: Any, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "fox"}, {"role": "assistant", "content": "brown dog"}]
    path = written(
        tmp_path / "answers.jsonl",
        {"id": "a", "messages": turns},
        {"id": "b", "prompt": "fox", "response": "brown dog"},
        {"id": "long", "prompt": "pack my box " * 30, "response": "jugs"},
    )
    asked = read_asked(str(path), "response")
    template = template_of(tokenizer, None)
    found = make_examples(
        asked, "response", tokenizer=tokenizer, template=template, max_tokens=40, too_long="cut"
    )
    # nothing of the last one's response is within the length
    assert [example.id for example in found.examples] == ["a", "b"]
    assert found.n_dropped == 1
    first, second = found.examples
    assert (first.tokens, first.first) == (second.tokens, second.first)
    rendered = template.render([Message(role="user", content="fox")])
    before = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    assert list(first.tokens[: first.first]) == before
    assert tokenizer.decode(first.tokens[first.first :]) == "brown dog"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("", "line 2: the line is empty"),
        ("{", "line 2: not JSON"),
        ("[]", "line 2: expected an object, found list"),
        ({"prompt": "fox"}, "line 2: no response"),
        ({"prompt": "fox", "response": " "}, "line 2: no response"),
        ({"response": "dog"}, "line 2: give either `prompt` or `messages`"),
        ({"messages": [{"role": "user", "content": "x"}]}, "line 2: the last message must be the"),
        ({"prompt": "x", "response": "y", "mood": 1}, "line 2: unknown key 'mood'"),
        ({"id": "first", "prompt": "x", "response": "y"}, "line 2: prompt id 'first' was there"),
    ],
)
def test_bad_response_lines(row: Any, said: str, tmp_path: Path) -> None:
    path = written(
        tmp_path / "rows.jsonl", {"id": "first", "prompt": "fox", "response": "dog"}, row
    )
    with pytest.raises(FisherError, match=said):
        read_asked(str(path), "response")


def test_bad_prompt_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", {"prompt": "fox"}, {"prompt": ""})
    with pytest.raises(WeighinError, match="line 2: the last message is empty"):
        read_asked(str(path), "prompt")


def header_of(prompts: PromptSet, **changes: Any) -> FisherHeader:
    said = {
        "weights_sha256": "0" * 64,
        "loss": "prompt",
        "prompt_ids": [prompt.id for prompt in prompts.prompts],
        "prompts_sha256": prompts.sha256,
        "prompt_texts_sha256": [text_sha256(prompt) for prompt in prompts.prompts],
        "max_tokens": 256,
        "n_tokens": 1,
        "extremes": {},
        "sums": {},
    }
    return FisherHeader.model_validate({**said, **changes})


def test_shared_prompts_are_known_by_their_text() -> None:
    fisher = header_of(prompt_set("one", "two", "three"))
    # p0 is another question here, and "two" goes by another id and under a system message
    system = Message(role="system", content="be brief")
    two = Prompt(id="other", messages=(system, Message(role="user", content="two ")))
    asked = prompt_set("four")
    asked = asked.model_copy(update={"prompts": (*asked.prompts, two)})
    apart = prompt_set("five", name="apart")
    assert shared_prompts(fisher, [asked, apart]) == {"own": ("other",)}
    assert overlap_note(fisher, [asked, apart]) == (
        "the Fisher was made of 1 of 2 prompts of own that are asked here"
    )
    assert overlap_note(fisher, [apart]) is None


def test_a_header_without_texts_is_compared_by_ids() -> None:
    fisher = header_of(prompt_set("one", "two"), prompt_texts_sha256=())
    assert shared_prompts(fisher, [prompt_set("else")]) == {"own": ("p0",)}
    note = overlap_note(None, [prompt_set("else")])
    assert note is not None
    assert "does not name its prompts" in note


def test_a_search_on_the_fishers_prompts_must_be_allowed(
    checkpoint_of: PathMaker, tmp_path: Path
) -> None:
    mini = load_prompt_set("mini", limit=4)
    make_fisher_file(
        tmp_path / "fisher.safetensors",
        Checkpoint(checkpoint_of("llama")),
        prompt_ids=[prompt.id for prompt in mini.prompts],
        prompt_texts_sha256=[text_sha256(prompt) for prompt in mini.prompts],
    )
    path = tmp_path / "recipe.yaml"
    text = "it: it\nbaseline: b.gguf\nadapters: [a]\nfisher: "
    path.write_text(f"{text}fisher.safetensors\n")
    asked = [load_prompt_set("mini", limit=9), load_prompt_set("prose")]
    with pytest.raises(RecipeError, match=r"made of 4 of 9 prompts of mini.*allow_overlap: true"):
        check_overlap(load_recipe(path), asked)
    check_overlap(load_recipe(path), asked[1:])
    path.write_text(f"{text}{{path: fisher.safetensors, allow_overlap: true}}\n")
    check_overlap(load_recipe(path), asked)

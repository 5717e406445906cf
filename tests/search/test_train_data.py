"""Training data: which tokens are learnt, what is too long, and the line of what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.errors import TrainingError
from search.training.data import IGNORED, DataReport, Reading, Row, collate, read_rows

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REWRITING = (
    # like templates of thinking models: the last answer is preceded by a thought, older ones not
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if loop.last and m['role'] == 'assistant' %}<think></think>\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think></think>\n{% endif %}"
)
SWALLOWING = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Bytes as tokens, with chat markers as special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {token: i for i, token in enumerate(sorted(alphabet))}
    bytes_ = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bytes_,
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    fast.chat_template = CHATML
    return fast


Read = Callable[..., tuple[list[Row], DataReport]]


@pytest.fixture
def read(tokenizer: Any, tmp_path: Path) -> Read:
    """Read lines as one file; keywords as for Reading, `name` and `template` besides."""

    def go(*lines: Any, name: str = "chat.jsonl", template: str = CHATML, **how: Any) -> Any:
        path = tmp_path / name
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(text + "\n" for text in texts))
        tokenizer.chat_template = template
        settings = {"max_tokens": 200, "too_long": "cut", "learn_end": True, **how}
        return read_rows([path], Reading(tokenizer, **settings))

    return go


def chat(*contents: str, system: str | None = None) -> dict[str, Any]:
    """A conversation of alternating turns."""
    turns = [
        {"role": ("user", "assistant")[i % 2], "content": content}
        for i, content in enumerate(contents)
    ]
    return {"messages": ([{"role": "system", "content": system}] if system else []) + turns}


def learnt(tokenizer: Any, row: Row) -> list[str]:
    """Runs of tokens that carry loss, as text."""
    runs: list[list[int]] = [[]]
    for label in row.labels.tolist():
        if label == IGNORED:
            runs.append([])
        else:
            runs[-1].append(label)
    return [tokenizer.decode(run) for run in runs if run]


def test_the_loss_is_on_the_answers_with_their_ends(tokenizer: Any, read: Read) -> None:
    rows, report = read(chat("hi", "hello", "and?", "bye now", system="be kind"))
    (row,) = rows
    assert learnt(tokenizer, row) == ["hello<|im_end|>", "bye now<|im_end|>"]
    assert tokenizer.decode(row.input_ids.tolist()).startswith("<|im_start|>system\nbe kind")
    # letters of two answers, and an end each
    assert report.n_loss_tokens == len("hello") + len("bye now") + 2
    assert report.n_tokens == len(row.input_ids)
    assert (report.n_read, report.n_rows, report.n_cut, report.n_dropped) == (1, 1, 0, 0)


def test_an_end_that_is_not_to_be_learnt(tokenizer: Any, read: Read) -> None:
    rows, _ = read(chat("hi", "once upon"), learn_end=False)
    assert learnt(tokenizer, rows[0]) == ["once upon"]


def test_a_template_that_rewrites_older_answers_makes_a_row_of_each(
    tokenizer: Any, read: Read
) -> None:
    rows, report = read(chat("hi", "hello", "and?", "bye"), template=REWRITING)
    assert [learnt(tokenizer, row) for row in rows] == [["hello<|im_end|>"], ["bye<|im_end|>"]]
    context = tokenizer.decode(rows[1].input_ids.tolist())
    assert context.count("<think>") == 1
    assert (report.n_read, report.n_rows) == (2, 2)


def test_a_template_that_leaves_answers_out_is_refused(read: Read) -> None:
    with pytest.raises(TrainingError, match=r"chat\.jsonl:1: .*answer"):
        read(chat("hi", "hello"), template=SWALLOWING)


def test_texts_and_windows(tokenizer: Any, read: Read) -> None:
    rows, _ = read({"text": "abc", "source": "ignored"})
    assert tokenizer.decode(rows[0].input_ids.tolist()) == "abc<|im_end|>"
    assert learnt(tokenizer, rows[0]) == ["abc<|im_end|>"]
    rows, _ = read({"text": "abc"}, learn_end=False)
    assert tokenizer.decode(rows[0].input_ids.tolist()) == "abc"
    rows, report = read("abcdefgh", name="book.txt", max_tokens=4)
    assert [tokenizer.decode(row.input_ids.tolist()) for row in rows] == ["abcd", "efgh"]
    # the line's end is a window of one token, in which nothing is predicted
    assert (report.n_read, report.n_without_loss) == (3, 1)


def test_rows_that_are_too_long(tokenizer: Any, read: Read) -> None:
    short, long = chat("q", "a"), chat("q", "a" * 50)
    length = len(read(short)[0][0].input_ids)
    rows, report = read(short, long, max_tokens=length + 2)
    assert (report.n_rows, report.n_cut, report.n_dropped) == (2, 1, 0)
    assert [len(row.input_ids) for row in rows] == [length, length + 2]
    assert learnt(tokenizer, rows[1]) == ["aaaaa"]  # "a", its end and a line's end, and two more
    rows, report = read(short, long, max_tokens=length, too_long="drop")
    assert (report.n_rows, report.n_cut, report.n_dropped) == (1, 0, 1)


def test_a_row_whose_answer_is_cut_away_is_left_out(read: Read) -> None:
    rows, report = read(chat("q", "a"), chat("q" * 50, "a"), max_tokens=60)
    assert (len(rows), report.n_cut, report.n_without_loss) == (1, 1, 1)
    with pytest.raises(TrainingError, match=r"no row is left .* raise max_tokens"):
        read(chat("q" * 50, "a"), max_tokens=60)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "the line is empty"),
        ("   ", "the line is empty"),
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ("{}", "expected an object"),
        ('{"messages": [], "text": ""}', "expected an object"),
        ('{"messages": []}', "must be a list"),
        ('{"messages": "hi"}', "must be a list"),
        ('{"messages": [{"role": "user"}]}', "content: Field required"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "role"),
        (json.dumps(chat("only a question")), "must be the assistant's"),
        (json.dumps({"messages": chat("a", "b")["messages"][1:]}), "must alternate"),
        (json.dumps(chat("a", " ")), "is empty"),
        ('{"text": " "}', "not empty"),
        ('{"text": 3}', "not empty"),
    ],
)
def test_the_line_of_what_is_wrong(read: Read, line: str, says: str) -> None:
    with pytest.raises(TrainingError) as caught:
        read(chat("hi", "hello"), line, chat("hi", "hello"))
    message = str(caught.value)
    assert "chat.jsonl:2: " in message
    assert says in message
    assert "\n" not in message


def test_files_that_cannot_be_read(tokenizer: Any, read: Read, tmp_path: Path) -> None:
    reading = Reading(tokenizer, 10, "cut", True)
    with pytest.raises(TrainingError, match="No such file"):
        read_rows([tmp_path / "none.jsonl"], reading)
    with pytest.raises(TrainingError, match="is empty"):
        read("", name="empty.jsonl")
    with pytest.raises(TrainingError, match="expected JSON Lines"):
        read("a,b", name="table.csv")
    tokenizer.chat_template = None
    (tmp_path / "chat.jsonl").write_text(json.dumps(chat("hi", "hello")))
    with pytest.raises(TrainingError, match="no chat template"):
        read_rows([tmp_path / "chat.jsonl"], reading)


def test_a_batch(read: Read) -> None:
    rows, _ = read({"text": "ab"}, {"text": "abcd"}, learn_end=False)
    batch = collate(rows)
    assert batch["input_ids"].shape == (2, 4)
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["labels"][0].tolist() == [*rows[0].labels.tolist(), IGNORED, IGNORED]

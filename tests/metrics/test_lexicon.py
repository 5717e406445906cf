"""Lexicons: our own, and the list format of others."""

import json

import pytest

from metrics.errors import WeighinError
from metrics.lexicon import Lexicon, default_lexicon, dump_lexicon, parse_lexicon


def texts(lexicon: Lexicon) -> tuple[list[str], list[str], list[str]]:
    return (
        [entry.text for entry in lexicon.words],
        [entry.text for entry in lexicon.bigrams],
        [entry.text for entry in lexicon.trigrams],
    )


def test_public_list_of_strings_and_of_lists() -> None:
    # slop lists are [["phrase"], ...] or [["phrase", weight], ...]; stop words are stripped
    phrases = [["Tapestry", 0.01], "barely above a whisper", ["sent a shiver down her spine"]]
    assert texts(parse_lexicon(json.dumps(phrases), name="list")) == (
        ["tapestry"],
        ["barely whisper"],
        ["sent shiver spine"],
    )


def test_public_entries_that_would_mean_something_else_are_skipped_and_counted() -> None:
    phrases = ["a mix of", "of the", "one two three four five six seven", "testament", "testament"]
    lexicon = parse_lexicon(json.dumps(phrases), name="list")
    assert texts(lexicon) == (["testament"], [], [])
    assert lexicon.origin.skipped == 3


def test_a_listed_function_word_is_a_word() -> None:
    assert texts(parse_lexicon('["perhaps"]', name="list"))[0] == ["perhaps"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "list is not JSON"),
        ("[1]", "entry 0 is '1'"),
        ("[]", "no phrase"),
        ('["of the"]', "no phrase"),
        ('{"words": []}', "list is not a lexicon: .* at name"),
        ("3", "list is not a lexicon"),
    ],
)
def test_broken_lists_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(WeighinError, match=message) as caught:
        parse_lexicon(text, name="list")
    assert "\n" not in str(caught.value)


def test_an_entry_of_the_wrong_length_is_refused() -> None:
    fields = json.loads(dump_lexicon(default_lexicon()))
    fields["words"] = [{"text": "two words"}]
    with pytest.raises(WeighinError, match="'two words' is not 1"):
        parse_lexicon(json.dumps(fields), name="list")


def test_written_and_read_again_it_is_the_same() -> None:
    lexicon = default_lexicon()
    assert parse_lexicon(dump_lexicon(lexicon), name="again") == lexicon


def test_the_hash_is_of_what_is_scored() -> None:
    forth, back, other = (
        parse_lexicon(text, name=text) for text in ('["fog", "rain"]', '["rain", "fog"]', '["fog"]')
    )
    assert forth.sha256 == back.sha256 != other.sha256


def test_our_own_says_where_it_comes_from() -> None:
    lexicon = default_lexicon()
    assert len(lexicon.origin.models) == 16
    assert len(lexicon.origin.held_out) == 6
    assert not set(lexicon.origin.models) & set(lexicon.origin.held_out)
    assert all("sha256:" in source for source in lexicon.origin.sources)
    for entries in (lexicon.words, lexicon.bigrams, lexicon.trigrams):
        assert all(entry.n_models >= 3 and entry.n_prompts >= 3 for entry in entries)
        assert all(entry.ratio is not None and entry.ratio >= 4 for entry in entries)


def test_names_are_apart() -> None:
    lexicon = default_lexicon()
    names = {entry.text for entry in lexicon.names}
    assert {"elara", "elias"} <= names
    phrases = lexicon.words + lexicon.bigrams + lexicon.trigrams
    assert not any(names & set(entry.key) for entry in phrases)

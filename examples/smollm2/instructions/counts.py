"""Counts: instructions that are read off a finished answer.

As in `shapes`, but the draft stays as it is: its own words and lengths are what is asked for. The
requests learn from the answers, so that what is asked for is what is there.
"""

import random
import re
from collections import Counter

from instructions.draft import Draft, content_words
from instructions.shapes import Applied
from instructions.wordings import quoted, wording

LIMITS = (15, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90, 100, 110, 120, 150, 180, 200, 250, 300, 350)
RARE_LETTERS = "qzjxvkwbpg"
COMMON_LETTERS = "etaoinsrhlducm"


def focus(draft: Draft) -> None:
    """Put the sentences with the word that comes most often in front, for `frequency`."""
    counts = Counter(
        word for sentence in draft.sentences + draft.spare for word in content_words(sentence)
    )
    if counts:
        word, _ = max(counts.items(), key=lambda item: (item[1], item[0]))
        together = draft.sentences + draft.spare
        with_word = [sentence for sentence in together if word in sentence.lower()]
        rest = [sentence for sentence in together if word not in sentence.lower()]
        draft.sentences, draft.spare = with_word, rest


def existence(draft: Draft, *, rng: random.Random) -> Applied | None:
    """Keywords: words of the answer that the request does not have."""
    asked = draft.request.text.lower()
    words = [word for word in content_words(draft.body, shortest=5) if word not in asked]
    n = rng.choice((1, 2, 2, 3))
    if len(words) < n:
        return None
    chosen = rng.sample(words, k=n)
    kind = "keywords:existence"
    return kind, {"keywords": chosen}, wording(kind, rng=rng, words=quoted(chosen))


def forbidden(draft: Draft, *, rng: random.Random) -> Applied | None:
    """Forbidden words: words of the model's other sentences that this answer does without."""
    text, asked = draft.text.lower(), draft.request.text.lower()
    others = content_words(" ".join(draft.sentences + draft.spare))
    words = [word for word in others if word not in text and word not in asked]
    n = rng.choice((1, 2, 2, 3))
    if len(words) < n:
        return None
    chosen = rng.sample(words, k=n)
    kind = "keywords:forbidden_words"
    return kind, {"forbidden_words": chosen}, wording(kind, rng=rng, words=quoted(chosen))


def frequency(draft: Draft, *, rng: random.Random) -> Applied | None:
    """How often a word of the answer occurs in it: at least that often, or less than once more."""
    text = draft.text.lower()
    counts = {word: len(re.findall(word, text)) for word in content_words(draft.body)}
    often = [word for word, n in counts.items() if n >= 2]
    kind = "keywords:frequency"
    if often and rng.random() < 0.75:
        word = max(often, key=lambda w: (counts[w], w))
        relation, n = "at least", counts[word]
    elif counts:
        word = rng.choice(sorted(counts))
        relation, n = "less than", counts[word] + rng.choice((1, 2))
    else:
        return None
    arguments = {"relation": relation, "keyword": word, "frequency": n}
    return kind, arguments, wording(kind, rng=rng, word=word, n=n, relation=relation)


def letters(draft: Draft, *, rng: random.Random) -> Applied | None:
    """How often a letter occurs: a common one at least so often, a rare one less than so often."""
    counts = Counter(draft.text.lower())
    kind = "keywords:letter_frequency"
    if rng.random() < 0.5:
        letter = rng.choice(COMMON_LETTERS)
        relation, n = "at least", int(counts[letter] * rng.uniform(0.3, 1))
    else:
        letter = rng.choice(RARE_LETTERS)
        relation, n = "less than", counts[letter] + rng.choice((2, 3, 4))
    if n < 1:
        return None
    arguments = {"let_relation": relation, "letter": letter, "let_frequency": n}
    return kind, arguments, wording(kind, rng=rng, letter=letter, n=n, relation=relation)


def n_words(draft: Draft, *, rng: random.Random) -> Applied | None:
    """A round limit that the answer's length keeps to."""
    n = len(re.findall(r"\w+", draft.text))
    below = [limit for limit in LIMITS if 0.6 * n <= limit <= n]
    above = [limit for limit in LIMITS if n < limit <= 2.5 * n]
    # a long answer is worth more as an example of one that had to be long
    relation = "at least" if n > 100 or rng.random() < 0.5 else "less than"
    choices = below if relation == "at least" else above
    if not choices:
        return None
    limit = rng.choice(choices)
    kind = "length_constraints:number_words"
    arguments = {"relation": relation, "num_words": limit}
    return kind, arguments, wording(kind, rng=rng, n=limit, relation=relation)


def n_sentences(draft: Draft, *, rng: random.Random) -> Applied | None:
    """A limit on the sentences that the answer keeps to."""
    n = len(re.findall(r"[.!?](?=\s|$)", draft.text))
    relation = "at least" if n > 6 or rng.random() < 0.5 else "less than"
    limit = n - rng.choice((0, 0, 1)) if relation == "at least" else n + rng.choice((1, 1, 2))
    if limit < 2:
        return None
    kind = "length_constraints:number_sentences"
    arguments = {"relation": relation, "num_sentences": limit}
    return kind, arguments, wording(kind, rng=rng, n=limit, relation=relation)

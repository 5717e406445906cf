"""Language: is an answer written in another language than its prompt?

Texts in, a verdict out; knows nothing of models. English is known by its function words; only what
does not look like it is given to langdetect, whose draws get a fixed seed of their own, so that a
text has one verdict whatever was looked at before.
Source: langdetect, https://github.com/Mimino666/langdetect.
"""

import functools
from typing import Any

from metrics.gates import ENGLISH_LIMITS, MIN_WORDS, english_share, foreign_letters
from metrics.text import normalise, words

ENGLISH = "en"
_SEED = 0


def other_language(answer: str, prompt: str) -> bool:
    """Is the answer in another language than the prompt?

    Args:
        answer: A completion; one too short to tell (under 20 different words, or letters of
            another script) is in none.
        prompt: What was asked. Whoever asks for another language must not be counted.
    """
    told = language(answer)
    if told is None:
        return False
    asked = language(prompt, at_least=1)
    return asked is not None and told != asked


def language(text: str, *, at_least: int = MIN_WORDS) -> str | None:
    """The language of a text, as an ISO 639-1 code.

    Args:
        text: Markdown and thoughts are taken out.
        at_least: Different words, or letters of a script other than Latin, below which nothing is
            told; data and loops have few.
    """
    normal = normalise(text)
    plain = words(normal)
    if len(set(plain)) + foreign_letters(normal) < at_least:
        return None
    if english_share(normal, plain) >= ENGLISH_LIMITS[0]:
        return ENGLISH
    return _detected(normal)


def _detected(text: str) -> str | None:
    from langdetect.lang_detect_exception import LangDetectException

    detector = _detectors().create()
    detector.append(text)
    try:
        code: str = detector.detect()
    except LangDetectException:
        return None
    return None if code == "unknown" else code


@functools.cache
def _detectors() -> Any:
    """A factory of our own: langdetect's shared one, and its seed, are left alone."""
    from langdetect import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.seed = _SEED
    factory.load_profile(PROFILES_DIRECTORY)
    return factory

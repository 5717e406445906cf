"""Wordings: how each type of instruction is put into words, in several ways.

Texts alone, written for this project; the types and their arguments are IFEval's, its sentences
are not. A list argument is shown in double quotes, joined by "and".
Source of the types: Zhou et al. 2023, https://arxiv.org/abs/2311.07911
"""

import random
from collections.abc import Mapping
from typing import Any

WORDINGS: Mapping[str, tuple[str, ...]] = {
    "punctuation:no_comma": (
        "Do not use a single comma.",
        "Leave out all commas.",
        "There must be no comma in your text.",
        "Write it without commas.",
        "Commas are forbidden.",
        "Please avoid commas completely.",
    ),
    "change_case:english_lowercase": (
        "Write everything in small letters.",
        "Use lowercase only, even at the start of a sentence.",
        "All of it must be in lowercase English.",
        "Do not use any capital letter.",
        "Keep the whole text in lower case, please.",
        "No uppercase letters at all; English only.",
    ),
    "change_case:english_capital": (
        "Write everything in capital letters.",
        "USE ONLY CAPITALS.",
        "All of your text must be in uppercase English.",
        "Do not use any small letters.",
        "Keep the whole text in upper case, please.",
        "Every letter must be a capital; English only.",
    ),
    "change_case:capital_word_frequency": (
        "Write {relation} {n} words entirely in capitals.",
        "Use {relation} {n} words in all caps.",
        "{Relation} {n} words should be in ALL CAPS.",
        "Stress words by capitals, but the number of all-capital words must be {relation} {n}.",
    ),
    "detectable_format:number_bullet_lists": (
        "Give exactly {n} bullet points, each on a line that begins with an asterisk (*).",
        "Use a markdown list with exactly {n} points:\n* one point\n* another point",
        'There must be exactly {n} bullet points in markdown ("* ").',
        'Put it into exactly {n} bullets. Begin each bullet with "* ".',
        "List exactly {n} points in markdown form, such as:\n* A point.",
    ),
    "detectable_format:title": (
        "Give it a title in double angle brackets, like <<My Title>>.",
        "Put a title at the top, written as <<title>>.",
        "It needs a title between << and >>.",
        "Add a title and wrap it in double angular brackets: <<title>>.",
    ),
    "detectable_format:number_highlighted_sections": (
        "Highlight {n} or more phrases with asterisks, *like this*.",
        "Emphasise at least {n} parts of the text in markdown, as in *a part*.",
        "At least {n} passages must be highlighted in markdown: *passage*.",
        "Mark no fewer than {n} important phrases with *asterisks*.",
    ),
    "detectable_format:multiple_sections": (
        "Divide the text into {n} sections, headed {mark} 1, {mark} 2 and so on.",
        "Write {n} parts and begin each with {mark} and its number, such as {mark} 1.",
        'Use {n} sections. Each starts with "{mark} X", where X is its number:\n{mark} 1\n...',
        "Structure it as {mark} 1 to {mark} {n}, with a few words under each.",
    ),
    "detectable_format:json_format": (
        "Answer in JSON and print nothing else.",
        "The whole answer must be valid JSON.",
        "Give your reply as one JSON object, with or without ``` around it.",
        "Return only JSON.",
        "Wrap all of the output in JSON format.",
    ),
    "detectable_format:constrained_response": (
        'Reply with one of these: "My answer is yes.", "My answer is no.", "My answer is maybe."',
        "Choose one: (My answer is yes. / My answer is no. / My answer is maybe.)",
        "You may only say 'My answer is yes.', 'My answer is no.' or 'My answer is maybe.'",
        "Pick the right one of three: My answer is yes. My answer is no. My answer is maybe.",
    ),
    "detectable_content:number_placeholders": (
        "Include {n} or more placeholders in square brackets, such as [date].",
        "Leave at least {n} blanks to fill in, written in square brackets like [name].",
        "Use no fewer than {n} placeholders, for example [city] or [price].",
        "There should be at least {n} placeholders, each in square brackets, e.g. [phone].",
    ),
    "detectable_content:postscript": (
        "Add a postscript that begins with {mark}",
        "Close with a postscript; start it with {mark}",
        "After the text, put a postscript beginning with {mark}",
        "Do not forget a postscript at the end. It has to start with {mark}",
    ),
    "startend:end_checker": (
        'The last words must be "{phrase}" and nothing may come after them.',
        "End with exactly this phrase: {phrase}",
        'Close the text with the words "{phrase}" and stop there.',
        'Your text should finish with "{phrase}"',
    ),
    "startend:quotation": (
        "Put the whole answer in double quotation marks.",
        'Begin and end your reply with a double quotation mark (").',
        "Everything you write must stand inside one pair of double quotes.",
        "Enclose the full text in double quotes.",
    ),
    "keywords:existence": (
        "Use the words {words}.",
        "The text has to contain {words}.",
        "Mention {words} in it.",
        "Make sure that {words} can be found in your answer.",
        "Include these keywords: {words}.",
    ),
    "keywords:forbidden_words": (
        "Do not use the words {words}.",
        "Never mention {words}.",
        "The following must not occur in the text: {words}.",
        "Avoid {words}.",
        "You are not allowed to write {words}.",
    ),
    "keywords:frequency": (
        'Use the word "{word}" {relation} {n} times.',
        "The word {word} has to occur {relation} {n} times.",
        "Say {word} {relation} {n} times in your text.",
        "{word} should be found {relation} {n} times.",
    ),
    "keywords:letter_frequency": (
        "Use the letter {letter} {relation} {n} times.",
        "The letter '{letter}' must occur {relation} {n} times.",
        'Your text should have the letter "{letter}" {relation} {n} times.',
    ),
    "length_constraints:number_words": (
        "Write {relation} {n} words.",
        "Use {relation} {n} words.",
        "The length should be {relation} {n} words.",
        "Your answer must have {relation} {n} words.",
        "({Relation} {n} words, please.)",
    ),
    "length_constraints:number_sentences": (
        "Write {relation} {n} sentences.",
        "Use {relation} {n} sentences.",
        "Your text must consist of {relation} {n} sentences.",
        "({Relation} {n} sentences, please.)",
    ),
    "length_constraints:number_paragraphs": (
        "Write exactly {n} paragraphs and put *** between them.",
        "Use {n} paragraphs, with the divider *** on a line of its own between two paragraphs.",
        "Split the text into {n} paragraphs by the markdown line ***",
        "Make it {n} paragraphs long. Separate paragraphs by three asterisks: ***",
    ),
    "length_constraints:nth_paragraph_first_word": (
        "Write {n} paragraphs with an empty line between them. "
        "Paragraph {nth} begins with the word {word}.",
        "The text should have {n} paragraphs, separated by blank lines only, "
        'and the first word of paragraph {nth} is "{word}".',
        "Use exactly {n} paragraphs, parted by two line breaks. "
        'Start paragraph {nth} with "{word}".',
    ),
    "combination:two_responses": (
        "Give two different versions and put ****** (six asterisks) between them.",
        "I would like two answers that differ. Separate them with six asterisks: ******",
        "Write it twice, in two different ways, divided by ******",
        "Offer exactly two alternatives with a line of six asterisks (******) in between.",
    ),
    "combination:repeat_prompt": (
        "Before you answer, say my request again, word for word. "
        "Begin with the request and leave out this line.",
        "First copy the text above exactly as it is, then reply to it. Write nothing before it.",
        "Start by repeating everything above this line without a change; your answer comes after.",
    ),
    "language:response_language": (
        "Answer in {language} only.",
        "Please reply in {language} and use no other language.",
        "Write all of it in {language}.",
        "Your answer has to be entirely in {language}.",
    ),
}

AT_LEAST = ("at least", "no fewer than", "a minimum of")
LESS_THAN = ("fewer than", "less than", "under")


def relation_words(relation: str, *, rng: random.Random) -> str:
    """One way to say `at least` or `less than`."""
    return rng.choice(AT_LEAST if relation == "at least" else LESS_THAN)


def quoted(words: list[str]) -> str:
    """Words in double quotes, joined as in a sentence."""
    shown = [f'"{word}"' for word in words]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def wording(instruction_id: str, *, rng: random.Random, **values: Any) -> str:
    """One wording of an instruction, filled in.

    Args:
        instruction_id: IFEval's name of the type.
        rng: Chooses among the wordings.
        values: What the wording's fields hold; `relation` is given as IFEval's word.
    """
    if "relation" in values:
        said = relation_words(values["relation"], rng=rng)
        values |= {"relation": said, "Relation": said[0].upper() + said[1:]}
    return rng.choice(WORDINGS[instruction_id]).format(**values)

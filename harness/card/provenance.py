"""Provenance: what a build was made of and how, as neutral records.

Whoever knows recipes (the search) makes them, a card prints them. Knows which names the Hub takes.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Literal

from harness.card.evidence import CardError
from harness.runs import Record

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""USER/REPO."""
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
"""The Hub's ids of licences are lower case: `apache-2.0`, `gemma`, `cc-by-nc-4.0`."""
OTHER = "other"
"""The Hub's id of a licence that it has no id for."""
LOCAL_KEYS = ("it", "pt")
"""Keys of the models that every merge has, whether or not its recipe is at hand."""

Role = Literal[
    "instruct model", "pre-trained model", "adapter", "heal adapter", "Fisher", "layer importance",
    "instruct subspace", "template and baseline",
]  # fmt: skip
MODELS: tuple[Role, ...] = ("instruct model", "pre-trained model", "adapter", "heal adapter")
"""What may lie on the Hub as a model: the card's base models."""
ADAPTERS: tuple[Role, ...] = ("adapter", "heal adapter")


class Ingredient(Record):
    """Something that a build was made of."""

    role: Role
    key: str
    """By which `--model KEY=USER/NAME` gives it a Hub id; empty where it can have none."""
    name: str
    """A Hub id, or the name of a folder or file."""
    sha256: str | None
    """As weighin reckons it: of a checkpoint or an adapter, over its tensors; else of the file."""
    detail: str = ""
    """How it was used."""

    @property
    def hub_id(self) -> str | None:
        """Its id on the Hub; None where it is only known by a local name."""
        return self.name if HUB_ID.fullmatch(self.name) else None


class Provenance(Record):
    """How a build came to be."""

    ingredients: tuple[Ingredient, ...] = ()
    numbers: tuple[tuple[str, str], ...] = ()
    """Names and values of the merge."""
    formula: tuple[str, ...] = ()
    """The merge in words, a sentence a step."""
    recipe: str | None = None
    """The recipe as YAML, without this machine's paths; None where it is not known."""
    build_hash: str | None = None
    """Shared by equal builds."""
    commands: tuple[str, ...] = ()
    """What repeats the build and its weighing, line by line."""
    selection: str = ""
    """How this build was chosen among others, a sentence; empty where it was not."""
    chosen_by_figures: bool = False
    """Whether the card's own figures are those by which the build was chosen."""
    confirmed: bool = False
    """Whether the card's figures are of prompts that were held back from the choice."""

    @property
    def is_merge(self) -> bool:
        """Whether it is known to be a merge."""
        return any(found.role == "adapter" for found in self.ingredients)


class Terms(Record):
    """What only the publisher knows."""

    name: str
    """The model's name."""
    license: str
    license_name: str | None = None
    license_link: str | None = None


def terms_of(
    name: str, license: str | None, license_name: str | None, license_link: str | None
) -> Terms:
    """The publisher's words, checked as far as that goes without the Hub.

    Raises:
        CardError: No licence, one that cannot be a Hub id, or another one without name and link.
    """
    expected = (
        "expected a Hub id such as apache-2.0 or gemma, or other with --license-name and "
        "--license-link"
    )
    if not license:
        raise CardError(f"a card needs --license; {expected}")
    if not LICENSE.fullmatch(license):
        raise CardError(f"--license {license}: {expected}")
    if license == OTHER and (not license_name or not license_link):
        raise CardError("--license other needs --license-name and --license-link")
    return Terms(name=name, license=license, license_name=license_name, license_link=license_link)


def with_hub_ids(provenance: Provenance, given: Sequence[str]) -> Provenance:
    """Ingredients under their Hub ids.

    Args:
        provenance: With local names.
        given: `KEY=USER/NAME` each.

    Raises:
        CardError: Not of that form, a key that no ingredient has, or that several have.
    """
    ids = _parsed(given)
    known = [found.key for found in provenance.ingredients if found.key]
    ingredients = list(provenance.ingredients)
    for key, hub_id in ids.items():
        places = [i for i, found in enumerate(ingredients) if found.key == key]
        if len(places) > 1:
            raise CardError(f"--model {key}: several ingredients are called so; rename a folder")
        if places:
            ingredients[places[0]] = ingredients[places[0]].model_copy(update={"name": hub_id})
        elif key in LOCAL_KEYS:
            role: Role = "instruct model" if key == "it" else "pre-trained model"
            ingredients.append(Ingredient(role=role, key=key, name=hub_id, sha256=None))
        else:
            near = get_close_matches(key, [*known, *LOCAL_KEYS], n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known) or 'it'}"
            raise CardError(f"--model {key}: the build has no such ingredient; {hint}")
    return provenance.model_copy(update={"ingredients": tuple(ingredients)})


def _parsed(given: Sequence[str]) -> Mapping[str, str]:
    ids: dict[str, str] = {}
    for text in given:
        key, _, hub_id = text.partition("=")
        if not key or not HUB_ID.fullmatch(hub_id):
            raise CardError(
                f"--model {text}: expected NAME=USER/REPO, such as it=google/gemma-3-270m-it"
            )
        if key in ids:
            raise CardError(f"--model {key} is given twice")
        ids[key] = hub_id
    return ids

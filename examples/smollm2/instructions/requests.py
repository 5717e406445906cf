"""Requests: what is asked for, before any constraint is put on the answer.

Texts alone; knows nothing of constraints, models or files. All of it was written for this project.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["plain", "letter", "plan"]
"""What an answer is: plain sentences, a letter to somebody, or something with steps or points."""

SHORT = "Answer in a few plain sentences, without a list."
"""Added when the released model is asked for the sentences that answers are made of."""


@dataclass(frozen=True)
class Request:
    """One thing to ask."""

    id: str
    text: str
    subject: str
    """A few words, for a title."""
    kind: Kind


@dataclass(frozen=True)
class Form:
    """A way of asking, and what is asked about in that way."""

    name: str
    kind: Kind
    text: str
    """The request, with {} for the subject."""
    subjects: tuple[str, ...]


FORMS = (
    Form(
        "explain",
        "plain",
        "Explain how {} works.",
        (
            "a bicycle brake",
            "a thermos flask",
            "a suspension bridge",
            "a beehive",
            "a sailing boat",
            "a post office",
            "an oil lamp",
            "a vaccine",
            "a water mill",
            "an echo",
            "a savings account",
            "a hearing aid",
        ),
    ),
    Form(
        "why",
        "plain",
        "Why do {}? Explain it to a curious child.",
        (
            "cats purr",
            "leaves turn red",
            "rivers bend",
            "ships float",
            "owls hunt in the dark",
            "onions make us cry",
            "volcanoes erupt",
            "birds fly south",
            "apples go brown",
            "mirrors fog up",
        ),
    ),
    Form(
        "describe",
        "plain",
        "Describe {}.",
        (
            "a crowded fish market",
            "an empty theatre after the show",
            "a mountain hut in a snowstorm",
            "the kitchen of a busy restaurant",
            "an orchard in spring",
            "a harbour before sunrise",
            "a flea market on a hot day",
            "an attic full of old toys",
            "a night train",
            "a small island with one tree",
            "a carpenter's workshop",
            "a desert after rain",
        ),
    ),
    Form(
        "story",
        "plain",
        "Tell a short story about {}.",
        (
            "a baker who cannot taste",
            "two brothers who share one coat",
            "a clockmaker and a fox",
            "a girl who finds a map in a piano",
            "a retired astronaut who keeps bees",
            "a ghost who is afraid of people",
            "a postman on the last day before winter",
            "a village without a bridge",
            "a robot that learns to whistle",
            "an old woman who sells wind",
            "a dog that rides the tram alone",
            "a painter who loses the colour blue",
        ),
    ),
    Form(
        "email",
        "letter",
        "Write an email to {}.",
        (
            "a landlord about a broken heater",
            "a colleague who forgot a deadline",
            "a hotel about a lost scarf",
            "the team about moving the weekly meeting",
            "a teacher about a missed lesson",
            "a customer whose parcel came late",
            "a neighbour about noisy drums",
            "the library about a wrong fine",
            "a photographer about wedding pictures",
            "a gym about ending a membership",
            "a friend who moved abroad",
            "a baker about a birthday cake",
        ),
    ),
    Form(
        "letter",
        "letter",
        "Write a letter to {}.",
        (
            "your future self in twenty years",
            "the mayor about a dangerous crossing",
            "a grandmother who taught you to knit",
            "the first person who will live on Mars",
            "a bus company about its drivers",
            "an author whose book you loved",
            "a museum that needs volunteers",
            "the winner of a chess tournament",
        ),
    ),
    Form(
        "compare",
        "plain",
        "What is the difference between {}?",
        (
            "butter and margarine",
            "a violin and a viola",
            "frogs and toads",
            "weather and climate",
            "renting and buying a flat",
            "a novel and a memoir",
            "jogging and swimming",
            "fog and mist",
            "a debit card and a credit card",
            "crocodiles and alligators",
        ),
    ),
    Form(
        "advice",
        "plan",
        "Give me some advice on how to {}.",
        (
            "keep a house plant alive",
            "prepare for a job interview",
            "save money on groceries",
            "start running after forty",
            "get along with a difficult roommate",
            "learn the guitar without a teacher",
            "pack for a trip to the mountains",
            "take better photographs",
            "calm down before an exam",
            "make friends in a new city",
            "train a puppy",
            "cook for a vegetarian guest",
            "write a speech for a wedding",
            "look after an old bicycle",
        ),
    ),
    Form(
        "plan",
        "plan",
        "Make a plan for {}.",
        (
            "a picnic with ten children",
            "a weekend in Lisbon",
            "a school garden",
            "cleaning out a garage",
            "a surprise party for a grandfather",
            "a month without television",
            "a book club in a small town",
            "a charity run",
            "the first week with a newborn kitten",
            "moving to another country",
        ),
    ),
    Form(
        "advert",
        "plain",
        "Write an advertisement for {}.",
        (
            "a pair of waterproof boots",
            "a bakery that opens at four in the morning",
            "an umbrella that cannot be lost",
            "a language school by the sea",
            "a quiet vacuum cleaner",
            "a second-hand bookshop",
            "a pencil for left-handed people",
            "a bicycle with a basket for a cat",
            "a soup delivery service",
            "a tent for tall campers",
        ),
    ),
    Form(
        "blog",
        "plain",
        "Write a blog post about {}.",
        (
            "growing tomatoes on a balcony",
            "living without a car",
            "the joy of handwritten letters",
            "working from home with toddlers",
            "learning to bake sourdough",
            "sleeping in a hammock",
            "repairing clothes",
            "a first visit to the opera",
            "keeping chickens in town",
            "walking to the office",
            "collecting old maps",
        ),
    ),
    Form(
        "poem",
        "plain",
        "Write a poem about {}.",
        (
            "a broken kite",
            "the first snow",
            "a sleepy train driver",
            "an old pair of gloves",
            "the smell of coffee",
            "a river at night",
            "a lost button",
            "my grandfather's garden",
            "a lonely satellite",
            "rain on a tin roof",
        ),
    ),
    Form(
        "song",
        "plain",
        "Write a song about {}.",
        (
            "a sailor who hates water",
            "leaving a small town",
            "a dancing bear",
            "Friday evening",
            "a broken washing machine",
            "two moons",
        ),
    ),
    Form(
        "review",
        "plain",
        "Write a review of {}.",
        (
            "a noodle shop with slow waiters",
            "a documentary about moss",
            "a very heavy suitcase",
            "a hotel with a haunted lift",
            "an app that counts your steps",
            "a play without any words",
            "a guided tour of a salt mine",
            "a coffee grinder",
        ),
    ),
    Form(
        "speech",
        "plain",
        "Write a short speech for {}.",
        (
            "the opening of a swimming pool",
            "a retiring nurse",
            "a football coach whose team has lost",
            "the birthday of a town",
            "a graduating class of cooks",
            "a farewell to an old tram",
        ),
    ),
    Form(
        "argue",
        "plain",
        "Should {}? Give your reasons.",
        (
            "children have homework",
            "museums be free for everybody",
            "shops close on Sundays",
            "people keep parrots as pets",
            "cities plant more trees",
            "everyone learn to cook at school",
            "cars be banned from town centres",
            "phones be allowed at dinner",
            "we work four days a week",
            "zoos exist",
        ),
    ),
    Form(
        "summary",
        "plain",
        "Write a short summary of {}.",
        (
            "the life of a butterfly",
            "how paper was invented",
            "the water cycle",
            "the story of Cinderella",
            "the rules of table tennis",
            "what a notary does",
            "the history of chocolate",
            "how glass is made",
            "the voyage of Magellan",
            "what happens in an orchestra rehearsal",
        ),
    ),
    Form(
        "dialogue",
        "plain",
        "Write a dialogue between {}.",
        (
            "a gardener and a snail",
            "a taxi driver and a magician",
            "two clouds",
            "a chess player and her coach",
            "a librarian and a thief",
            "a cook and an oven",
        ),
    ),
    Form(
        "product",
        "plain",
        "Write a product description for {}.",
        (
            "a lamp made of driftwood",
            "a notebook that smells of lemons",
            "a chair for reading",
            "a teapot with two spouts",
            "a watch without hands",
            "a rucksack for musicians",
            "a pillow for train journeys",
        ),
    ),
    Form(
        "recipe",
        "plan",
        "How do I make {}?",
        (
            "a lentil soup",
            "pancakes without eggs",
            "a paper lantern",
            "a simple bird box",
            "pickled cucumbers",
            "a compost heap",
            "rhubarb jam",
            "a scarecrow",
            "potato salad",
            "a rain gauge",
        ),
    ),
    Form(
        "invite",
        "letter",
        "Write an invitation to {}.",
        (
            "a housewarming party",
            "a chess evening",
            "the launch of a rowing club",
            "a concert in a barn",
            "a reunion of old classmates",
            "a lecture on beetles",
        ),
    ),
    Form(
        "apply",
        "letter",
        "Write a cover letter for a job as {}.",
        (
            "a gardener",
            "a night watchman",
            "a school librarian",
            "a pastry cook",
            "a tram driver",
            "a museum guide",
        ),
    ),
    Form(
        "post",
        "plain",
        "Write a social media post about {}.",
        (
            "a lost tortoise",
            "a new cycle path",
            "the best sandwich in town",
            "a power cut",
            "a charity bake sale",
            "finishing a first marathon",
            "a foggy morning",
            "a street musician",
        ),
    ),
    Form(
        "facts",
        "plain",
        "Tell me something interesting about {}.",
        (
            "octopuses",
            "the moon",
            "honey",
            "Iceland",
            "the colour purple",
            "camels",
            "salt",
            "the alphabet",
            "lightning",
            "umbrellas",
            "the river Danube",
            "penguins",
            "bamboo",
            "the piano",
        ),
    ),
    Form(
        "riddle",
        "plain",
        "Write a joke about {}.",
        (
            "a dentist",
            "two snowmen",
            "a lazy magician",
            "a goat in an office",
            "a pirate at school",
        ),
    ),
    Form(
        "think",
        "plain",
        "What would happen if {}?",
        (
            "nobody could lie",
            "the sun rose twice a day",
            "dogs could read",
            "money were made of ice",
            "every street had a piano",
            "people slept all winter",
        ),
    ),
)


LONG_FORMS = ("describe", "story", "letter", "advice", "plan", "blog")
N_LONG = 6
"""Requests of each such form that are also answered at length."""


def all_requests() -> tuple[Request, ...]:
    """Every request, in a fixed order."""
    return tuple(
        Request(
            id=f"{form.name}-{number:02d}",
            text=form.text.format(subject),
            subject=subject,
            kind=form.kind,
        )
        for form in FORMS
        for number, subject in enumerate(form.subjects)
    )


def long_requests() -> tuple[Request, ...]:
    """The requests that are also answered at length."""
    chosen = {f"{name}-{number:02d}" for name in LONG_FORMS for number in range(N_LONG)}
    return tuple(request for request in all_requests() if request.id in chosen)

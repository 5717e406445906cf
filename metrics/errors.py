"""The one family of expected failures.

Every message is a single line: what is wrong, where, what was expected, what to do. The command
line prints it and ends with exit code 2; anything else that escapes is a bug of ours.
"""


class WeighinError(Exception):
    """An expected failure whose message a user can act on."""

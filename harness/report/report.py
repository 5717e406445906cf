"""Report: from runs and what is said of them to the finished page.

Puts the other modules of this folder together; the search calls it with its own sections.
"""

from collections.abc import Sequence
from pathlib import Path

from harness.report.browser import exchanges
from harness.report.contents import document_on
from harness.report.document import Document
from harness.report.page import render, require_extra
from harness.report.subject import Matter, Subject, matter_of
from harness.runs import Run
from metrics.lexicon import Lexicon, default_lexicon


def report_on_runs(folders: Sequence[Path]) -> tuple[Document, str]:
    """A report on runs, or on one.

    Args:
        folders: The baseline's first.

    Returns:
        What the report says, and its page.

    Raises:
        RunError: A folder holds no scored run.
        PairingError: They were not asked the same.
        ReportError: A library of the extra `report` is missing.
    """
    require_extra()
    runs = [Run.open(folder) for folder in folders]
    names = names_of(folders)
    subjects = [Subject(run, name) for run, name in zip(runs, names, strict=True)]
    matter = matter_of(subjects[0], subjects[1:])
    document = document_on(matter)
    return document, page_of(matter, document)


def page_of(matter: Matter, document: Document) -> str:
    """The page of a document, with the completions of what it is about."""
    lexicon, unmarked = _lexicon_of(matter)
    return render(document, matter.names, exchanges(matter, lexicon), unmarked=unmarked)


def names_of(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many of their parents' as it takes to tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(len(own) for own in parts) + 1):
        names = ["/".join(own[-length:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{'/'.join(own)} ({index})" for index, own in enumerate(parts, start=1)]


def _lexicon_of(matter: Matter) -> tuple[Lexicon | None, str]:
    """What the runs' slop was counted by, and a sentence where that is not at hand."""
    lexicon = default_lexicon()
    signature = matter.baseline.run.summary().prose_signature
    if signature is None or f"|lexicon:{lexicon.name}@{lexicon.sha256[:8]}|" in signature:
        return lexicon, ""
    return None, f"Slop is not marked: it was counted by another lexicon ({signature})."

"""Publishing: files of a build go to the Hub in one commit, as they were shown.

Files and their hashes in, a commit on the Hub out, through `huggingface_hub`; asks nobody and
knows nothing of what the files are, but that some were scored and must be those. Where the Hub is,
and who is logged in, is `huggingface_hub`'s own business (`HF_ENDPOINT`, `hf auth login`).
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.card.evidence import CardError
from harness.card.provenance import HUB_ID
from harness.comparison.grids import Grid
from harness.console import note
from harness.runs import Record, file_sha256
from metrics.errors import WeighinError

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

MESSAGE = "Upload {name} as it was scored by weighin"


CARD = "README.md"
"""A repository's card."""


class PublishError(WeighinError):
    """Something cannot be published, or the Hub refused it."""


class Upload(Record):
    """One file to be uploaded."""

    path_in_repo: str
    path: Path
    size_bytes: int
    sha256: str
    scored: bool
    """Whether it is the file whose answers were scored."""
    replaces: bool
    """Whether the repository has a file of that name."""


class Plan(Record):
    """What is to be uploaded, and where to."""

    repo: str
    place: str
    """The repository's address."""
    exists: bool
    uploads: tuple[Upload, ...]


class Published(Record):
    """What was uploaded."""

    repo: str
    url: str
    """The commit's address."""
    commit: str
    uploads: tuple[Upload, ...]


def check_repo(repo: str) -> str:
    """The name in `USER/NAME`.

    Raises:
        PublishError: It is not of that form.
    """
    if not HUB_ID.fullmatch(repo):
        raise PublishError(f"--repo {repo}: expected USER/NAME, such as me/Luchador-GGUF")
    return repo.partition("/")[2]


def plan_upload(repo: str, files: Mapping[str, Path], scored: Mapping[str, str]) -> Plan:
    """Look at the files and at the repository; nothing is changed.

    Args:
        repo: `USER/NAME`.
        files: By their path in the repository.
        scored: SHA-256 that some of them must have, by the same paths.

    Raises:
        PublishError: The Hub cannot be asked, or a file is not the one that was scored.
        CardError: The Hub's check refuses the card.
    """
    from huggingface_hub import HfApi, ModelCard

    hub = HfApi()
    if CARD in files:
        validate_on_hub(ModelCard.load(files[CARD]))
    with _hub_errors(repo):
        exists = hub.repo_exists(repo)
        there = set(hub.list_repo_files(repo)) if exists else set()
    uploads = tuple(
        Upload(
            path_in_repo=name,
            path=path,
            size_bytes=path.stat().st_size,
            sha256=file_sha256(path),
            scored=name in scored,
            replaces=name in there,
        )
        for name, path in files.items()
    )
    plan = Plan(repo=repo, place=f"{hub.endpoint}/{repo}", exists=exists, uploads=uploads)
    for own in plan.uploads:
        _require(own, scored.get(own.path_in_repo, own.sha256))
    return plan


def plan_grid(plan: Plan) -> Grid:
    """What is to be uploaded, to be looked at."""
    return Grid(
        f"to {plan.place}" + ("" if plan.exists else ", which will be made"),
        ("file", "from", "bytes", "SHA-256", ""),
        tuple(
            (
                own.path_in_repo,
                str(own.path),
                f"{own.size_bytes:,}",
                own.sha256,
                ", ".join(
                    word
                    for word, holds in (("scored", own.scored), ("replaces one", own.replaces))
                    if holds
                ),
            )
            for own in plan.uploads
        ),
        n_text=2,
    )


def upload(plan: Plan, *, private: bool = False) -> Published:
    """Upload a plan's files in one commit; the repository is made where there is none.

    Args:
        plan: Whose hashes were shown; a file that has changed since is refused.
        private: Whether a repository that is made is private.

    Raises:
        PublishError: The Hub refused, or has received something else.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.hf_api import RepoFile

    for own in plan.uploads:
        _require_unchanged(own)
    hub = HfApi()
    operations = []
    for own in plan.uploads:
        added = CommitOperationAdd(path_in_repo=own.path_in_repo, path_or_fileobj=str(own.path))
        # known already: the Hub is told, and refuses other bytes
        added.upload_info.sha256 = bytes.fromhex(own.sha256)
        operations.append(added)
    with _hub_errors(plan.repo):
        hub.create_repo(plan.repo, private=private or None, exist_ok=True)
        commit = hub.create_commit(
            plan.repo,
            operations,
            commit_message=MESSAGE.format(name=plan.repo.partition("/")[2]),
            commit_description="".join(
                f"{own.path_in_repo}: SHA-256 {own.sha256}\n" for own in plan.uploads
            ),
        )
        arrived = {
            found.path: found.lfs.sha256
            for found in hub.get_paths_info(plan.repo, [own.path_in_repo for own in plan.uploads])
            if isinstance(found, RepoFile) and found.lfs is not None
        }
    for own in plan.uploads:
        if own.scored and arrived.get(own.path_in_repo) != own.sha256:
            raise PublishError(
                f"{plan.place}: {own.path_in_repo} did not arrive as it was scored; look at it "
                "there and publish again"
            )
    return Published(
        repo=plan.repo, url=str(commit.commit_url), commit=commit.oid, uploads=plan.uploads
    )


def validate_on_hub(card: "ModelCard") -> None:
    """Have the Hub's own check read a card's metadata.

    Raises:
        CardError: It found something wrong.
        PublishError: It cannot be asked.
    """
    with _hub_errors("the Hub's check"):
        try:
            card.validate()
        except ValueError as error:
            raise CardError(f"the Hub refuses the card: {_messages(str(error))}") from None


@contextmanager
def _hub_errors(place: str) -> Iterator[None]:
    """What the Hub and the way to it can refuse, in a line; its warnings as notes."""
    from huggingface_hub.errors import HfHubHTTPError

    # the HTTP library's own errors, whichever huggingface_hub stands on
    transport = [base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)]
    known: tuple[type[Exception], ...] = (*transport, OSError, ValueError, RuntimeError)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            yield
        except WeighinError:
            raise
        except known as error:
            reasons = dict.fromkeys(str(e) for e in (error, error.__cause__) if e is not None)
            told = " ".join(" ".join(reasons).split())
            raise PublishError(f"{place}: {told}{_hint(error)}") from None
    for warning in warned:
        if issubclass(warning.category, UserWarning):
            note(" ".join(str(warning.message).split()))


def _messages(answer: str) -> str:
    """What the Hub's check found, out of its JSON; as it is where it is none."""
    try:
        return "; ".join(str(found["message"]) for found in json.loads(answer)["errors"])
    except (ValueError, KeyError, TypeError):
        return answer


def _hint(error: BaseException) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return " - log in with `hf auth login`, as somebody who may write there"
    return ""


def _require(own: Upload, sha256: str) -> None:
    if own.sha256 != sha256:
        raise PublishError(
            f"{own.path} is not the file that was scored (SHA-256 {own.sha256[:12]}, scored "
            f"{sha256[:12]}); name that one with --gguf, or weigh this one first"
        )


def _require_unchanged(own: Upload) -> None:
    if file_sha256(own.path) != own.sha256:
        raise PublishError(f"{own.path} has changed since it was shown; publish again")

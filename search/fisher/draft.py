"""Fisher draft: an estimate on its way to disk, which a kill at any moment leaves resumable.

A folder beside the outcome: the file as it will be, filled in place, what is done, and the sums
of the group in work. Nothing is written twice over, and what counts as done is renamed into place.
Knows nothing of gradients.
Source: the layout of safetensors, https://huggingface.co/docs/safetensors; spaces may follow the
header, which is how room is kept for figures that are not known yet.
"""

import fcntl
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from search.disk import check_room, sibling
from search.errors import FisherError
from search.fisher.file import METADATA_KEY, FisherHeader
from search.fisher.squares import Target
from search.tensors.tensorfile import TensorFile
from search.tensors.tensorwriter import PlannedTensor, write_tensors
from search.tensors.text_model import Precision

if TYPE_CHECKING:
    import torch

SaveDtype = Literal["float32", "bf16"]
STORED: dict[SaveDtype, tuple[str, int]] = {"float32": ("F32", 4), "bf16": ("BF16", 2)}
"""Type's name in the file, and bytes per value."""

LONGEST_NUMBER = -1.2345678901234567e-308
"""No float64 is longer in JSON."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FisherSettings(_Record):
    """Whatever could change a byte of the outcome."""

    header: FisherHeader
    """What the file will say, without its figures."""
    tokens_sha256: str
    """Hash of the examples' tokens."""
    targets: tuple[str, ...]
    """Canonical names of the weights, in the file's order."""
    save_dtype: SaveDtype
    device: str
    threads: int


class Done(_Record):
    """A tensor that stands in the file."""

    low: float
    high: float
    sum: float


class DraftState(_Record):
    """What a draft holds so far."""

    schema_version: Literal[1] = 1
    settings: FisherSettings
    done: dict[str, Done]
    """By canonical name."""


class FisherDraft:
    """The draft of one outcome; a context manager that nobody else can enter meanwhile."""

    def __init__(self, out: Path) -> None:
        """Find the draft of an outcome, or make its folder.

        Raises:
            FisherError: another process is at work on it, or it cannot be read.
            BuildError: the outcome's folder is missing or not writable.
        """
        self.out = out
        self.folder = out.with_name(f"{out.name}.partial")
        check_room(out.parent, 0)
        self.folder.mkdir(exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise FisherError(f"another process is at work on {out}; wait for it") from None
        self.state = self._read_state()

    def __enter__(self) -> "FisherDraft":
        return self

    def __exit__(self, *_: object) -> None:
        if self.state is None:  # nothing was begun
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def begin(self, settings: FisherSettings, targets: Sequence[Target], room_bytes: int) -> None:
        """Start the file, or go on with it.

        Args:
            settings: Of this session.
            targets: The weights, in the file's order.
            room_bytes: Largest group's sums.

        Raises:
            FisherError: the draft is of another estimate.
            BuildError: the disk is too full.
        """
        kind, width = STORED[settings.save_dtype]
        entries: dict[str, dict[str, Any]] = {}
        offset = 0
        for target in targets:
            end = offset + target.n_elements * width
            entries[target.name] = {
                "dtype": kind,
                "shape": list(target.shape),
                "data_offsets": [offset, end],
            }
            offset = end
        self._entries = entries
        longest = Done(low=LONGEST_NUMBER, high=LONGEST_NUMBER, sum=LONGEST_NUMBER)
        longest_header = _with_figures(settings.header, dict.fromkeys(settings.targets, longest))
        self._header_size = len(self._header(longest_header)) + 7 & ~7
        if self.state is not None:
            differing = _difference(self.state.settings, settings)
            if differing is not None:
                raise FisherError(
                    f"{self.folder} is of another estimate: {differing}; delete the folder to "
                    "begin anew, or write elsewhere"
                )
            return
        check_room(self.folder, offset + 2 * room_bytes)
        with self._values.open("wb") as file:
            file.truncate(8 + self._header_size + offset)
        self._save_state(DraftState(settings=settings, done={}))

    def names_in_work(self) -> list[str]:
        """Weights of the group whose sums were left in work; empty if none."""
        if not self._sums.exists():
            return []
        names = list(json.loads(TensorFile(self._sums).metadata["names"]))
        return [] if set(names) & set(self.done) else names

    def load_sums(self, names: Sequence[str]) -> tuple[int, "dict[str, torch.Tensor]"] | None:
        """The sums of a group that was left in work, and over how many examples; None if none."""
        if not names or list(names) != self.names_in_work():
            return None  # another grouping now; that group begins anew
        file = TensorFile(self._sums)
        return int(file.metadata["n_examples"]), {name: file.rows(name) for name in names}

    def save_sums(self, n_examples: int, sums: "Mapping[str, torch.Tensor]") -> None:
        """Keep the sums of the group in work."""
        said = {"names": json.dumps(list(sums)), "n_examples": str(n_examples)}
        planned = [PlannedTensor(name, "F32", tuple(total.shape)) for name, total in sums.items()]
        beside = sibling(self._sums, "part")
        write_tensors(beside, planned, (_bytes(total.cpu()) for total in sums.values()), said)
        beside.replace(self._sums)

    def write_group(self, means: "Mapping[str, torch.Tensor]") -> None:
        """Put a finished group into the file.

        Args:
            means: Mean squared gradient by name, float32; used up.

        Raises:
            FisherError: a value that is not finite.
        """
        import torch

        assert self.state is not None
        kind = torch.float32 if self.state.settings.save_dtype == "float32" else torch.bfloat16
        done = dict(self.state.done)
        with self._values.open("r+b") as file:
            for name, mean in means.items():
                stored = mean.cpu().to(kind).contiguous()
                values = stored.float()
                low, high = float(values.min()), float(values.max())
                total = float(values.sum(dtype=torch.float64))
                if not low <= high < float("inf"):
                    raise FisherError(
                        f"{name}: the squared gradients are not finite; take --precision float32"
                    )
                begin = self._entries[name]["data_offsets"][0]
                file.seek(8 + self._header_size + begin)
                file.write(_bytes(stored))
                done[name] = Done(low=low, high=high, sum=total)
        self._save_state(self.state.model_copy(update={"done": done}))
        self._sums.unlink(missing_ok=True)

    def finish(self) -> None:
        """Write the header and move the file to its place; the draft is gone then."""
        assert self.state is not None
        text = self._header(_with_figures(self.state.settings.header, self.state.done))
        with self._values.open("r+b") as file:
            file.write(self._header_size.to_bytes(8, "little"))
            file.write(text + b" " * (self._header_size - len(text)))
        self._values.replace(self.out)
        shutil.rmtree(self.folder)

    @property
    def done(self) -> Mapping[str, Done]:
        """Tensors that stand in the file, by name."""
        return self.state.done if self.state is not None else {}

    @property
    def precision(self) -> Precision | None:
        """Arithmetic that the draft was begun with."""
        return self.state.settings.header.precision if self.state is not None else None

    @property
    def threads(self) -> int | None:
        """Threads that the draft was begun with."""
        return self.state.settings.threads if self.state is not None else None

    @property
    def _values(self) -> Path:
        return self.folder / "values.safetensors"

    @property
    def _sums(self) -> Path:
        return self.folder / "sums.safetensors"

    def _header(self, header: FisherHeader) -> bytes:
        said = {"__metadata__": {METADATA_KEY: header.model_dump_json()}, **self._entries}
        return json.dumps(said, separators=(",", ":")).encode()

    def _read_state(self) -> DraftState | None:
        for left in self.folder.glob(".*.part.*"):  # of a process that was killed
            left.unlink()
        if not self._values.exists():  # killed before it began, or after the file was moved
            (self.folder / "state.json").unlink(missing_ok=True)
            return None
        try:
            return DraftState.model_validate_json((self.folder / "state.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            raise FisherError(
                f"{self.folder} cannot be gone on with; delete it to begin anew"
            ) from None

    def _save_state(self, state: DraftState) -> None:
        path = self.folder / "state.json"
        beside = sibling(path, "part")
        beside.write_text(state.model_dump_json(), encoding="utf-8")
        beside.replace(path)
        self.state = state


def _bytes(tensor: "torch.Tensor") -> memoryview:
    import torch

    return tensor.contiguous().view(-1).view(torch.uint8).numpy().data


def _with_figures(header: FisherHeader, done: Mapping[str, Done]) -> FisherHeader:
    names = sorted(done)
    return header.model_copy(
        update={
            "extremes": {name: (done[name].low, done[name].high) for name in names},
            "sums": {name: done[name].sum for name in names},
        }
    )


def _difference(before: FisherSettings, now: FisherSettings) -> str | None:
    """The first setting in which two estimates differ, in words."""
    then, today = before.model_dump(), now.model_dump()
    then, today = then.pop("header") | then, today.pop("header") | today
    for name, value in then.items():
        if value != today[name]:
            if isinstance(value, str | int):
                return f"{name} was {value} and is {today[name]}"
            return f"it has other {name}"
    return None

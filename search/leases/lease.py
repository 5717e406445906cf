"""Lease: which process works on a trial, and whether it still lives.

The owner of a job writes its name and, now and then, a beat, as attributes of the job in the
study's storage; others take the job over when the beats stop. Works on every storage that Optuna
has: it needs no clock that machines agree on and nothing but reading and writing attributes.
Optuna's own heartbeat is not used, since its gRPC proxy has none and since it fails a trial and
makes another one, where a study that was killed must go on with the trial's own number.
Knows nothing of what a job is.
Source: Fischer's mutual exclusion, as in L. Lamport, A Fast Mutual Exclusion Algorithm, ACM TOCS
5(1), 1987.
"""

import socket
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

OWNER = "owner"
"""Attribute that names the owner; None where it was given back."""
BEAT = "beat"
"""Attribute that changes while the owner lives."""

SAME_PROCESS_S = 30.0
"""Start times of one process may be told this far apart, since clocks are set now and then."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PROCESS_NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class Pulse:
    """How fast owners beat, and how patient others are; in seconds."""

    beat_s: float = 15.0
    grace_s: float = 120.0
    """Without a new beat for so long, an owner on another machine is dead."""
    settle_s: float = 1.0
    """From writing one's name until it counts; more than any write takes."""


class Owner(BaseModel):
    """One process that works on jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Drawn anew for every process."""
    host: str
    machine: str
    """Processes can see each other where this is the same: the boot and the namespace."""
    pid: int
    started: float
    """When the process began, in seconds since 1970."""

    @property
    def gone(self) -> bool:
        """Whether it was a process here that has ended; False where that cannot be seen."""
        import psutil

        if (self.host, self.machine) != (socket.gethostname(), _machine()):
            return False
        try:
            process = psutil.Process(self.pid)
            began = process.create_time()
            ended = process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True
        return ended or abs(began - self.started) > SAME_PROCESS_S


def this_process() -> Owner:
    """This process as an owner."""
    import psutil

    process = psutil.Process()
    return Owner(
        id=uuid.uuid4().hex,
        host=socket.gethostname(),
        machine=_machine(),
        pid=process.pid,
        started=process.create_time(),
    )


class Job(Protocol):
    """A place for attributes that one process at a time may own."""

    def attributes(self) -> Mapping[str, Any]:
        """The job's attributes as they are in the storage now."""

    def set(self, name: str, value: Any) -> None:
        """Write one."""


@dataclass(frozen=True)
class TrialJob:
    """A trial of a study."""

    storage: "BaseStorage"
    trial_id: int

    def attributes(self) -> Mapping[str, Any]:
        """The trial's user attributes."""
        return self.storage.get_trial(self.trial_id).user_attrs

    def set(self, name: str, value: Any) -> None:
        """Write one.

        Raises:
            UpdateFinishedTrialError: Optuna's; the trial has ended.
        """
        self.storage.set_trial_user_attr(self.trial_id, name, value)


@dataclass(frozen=True)
class StudyJob:
    """Something that a study does once, such as its baseline's run."""

    storage: "BaseStorage"
    study_id: int
    name: str

    def attributes(self) -> Mapping[str, Any]:
        """The study's user attributes under this job's name."""
        prefix = f"{self.name}."
        found = self.storage.get_study_user_attrs(self.study_id)
        return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}

    def set(self, name: str, value: Any) -> None:
        """Write one."""
        self.storage.set_study_user_attr(self.study_id, f"{self.name}.{name}", value)


def owner_of(attributes: Mapping[str, Any]) -> Owner | None:
    """Who owns a job with these attributes."""
    found = attributes.get(OWNER)
    return None if found is None else Owner.model_validate(found)


def take(job: Job, me: Owner, pulse: Pulse, dead: Owner | None) -> bool:
    """Take a job over from an owner who is dead, or who never came to write its name.

    Of several that try, one gets it, as long as a write takes less than `pulse.settle_s`.

    Args:
        job: The job.
        me: Who wants it.
        pulse: For how long a name must stand.
        dead: The owner as it was seen.

    Returns:
        Whether the job is mine.
    """
    if _id(owner_of(job.attributes())) != _id(dead):
        return False
    own(job, me)
    time.sleep(pulse.settle_s)
    return _id(owner_of(job.attributes())) == me.id


def own(job: Job, me: Owner) -> None:
    """Write my name on a job that is mine already."""
    job.set(OWNER, me.model_dump())


def give_back(job: Job) -> None:
    """Leave a job to whoever comes; it need not wait for my beats to stop."""
    job.set(OWNER, None)


@dataclass
class DeathWatch:
    """Tells which owners are dead; must be asked again and again to see beats stop."""

    pulse: Pulse
    _seen: dict[int, tuple[Any, float]] = field(default_factory=dict)

    def is_dead(self, key: int, attributes: Mapping[str, Any]) -> bool:
        """Whether nobody works on a job any more.

        Args:
            key: Which job; the same at every question.
            attributes: The job's, as they are now.
        """
        owner = owner_of(attributes)
        if owner is not None and owner.gone:
            return True
        if owner is None and OWNER in attributes:
            return True  # given back
        sign = (_id(owner), attributes.get(BEAT))
        now = time.monotonic()
        seen, since = self._seen.setdefault(key, (sign, now))
        if seen != sign:
            self._seen[key] = (sign, now)
            return False
        # a job without a name was claimed by somebody who is about to write it, or died before
        patience = self.pulse.settle_s if owner is None else self.pulse.grace_s
        return now - since > patience


class Lease:
    """Beats for a job while it is worked on; a context manager."""

    def __init__(self, job: Job, me: Owner, pulse: Pulse) -> None:
        self._job = job
        self._me = me
        self._pulse = pulse
        self._done = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def lost(self) -> bool:
        """Whether another process has taken the job over."""
        return self._lost.is_set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        count = 0
        while not self._done.wait(self._pulse.beat_s):
            count += 1
            try:
                if _id(owner_of(self._job.attributes())) != self._me.id:
                    self._lost.set()
                    return
                self._job.set(BEAT, [self._me.id, count])
            except Exception:
                # A storage that cannot be reached for a while costs beats, not the trial; whether
                # it is gone for good is found by whoever tells the outcome.
                continue


def _id(owner: Owner | None) -> str | None:
    return None if owner is None else owner.id


def _machine() -> str:
    import psutil

    boot = BOOT_ID.read_text("ascii").strip() if BOOT_ID.exists() else str(psutil.boot_time())
    if PROCESS_NAMESPACE.exists():
        return f"{boot}/{PROCESS_NAMESPACE.stat().st_ino}"
    return boot

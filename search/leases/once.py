"""Once: something that a study does once, whichever of its processes does it.

Whoever comes first does it under a lease; the others wait for it, and take over where the first one
died. Knows nothing of what is done.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from harness.console import note
from search.leases.checks import POLL_S, Check, Lost, Stopping, checker
from search.leases.interrupt import Interrupt
from search.leases.lease import DeathWatch, Lease, Owner, Pulse, StudyJob, give_back, owner_of, take

Done = TypeVar("Done")


def once(
    job: StudyJob,
    *,
    me: Owner,
    interrupt: Interrupt,
    found: Callable[[], Done | None],
    make: Callable[[Check, Owner | None], Done],
    pulse: Pulse | None = None,
) -> Done | None:
    """What is done once.

    Args:
        job: Its place in the study.
        me: This process.
        interrupt: Asked between two steps.
        found: What has been done already; None where it has not.
        make: Does it, and writes down that it is done; told who began it and died.
        pulse: Of the lease.

    Returns:
        None where the user asked for an end before it was done.
    """
    pulse = pulse or Pulse()
    watch = DeathWatch(pulse)
    waited = False
    while not interrupt.asked:
        known = found()
        if known is not None:
            return known
        attributes = job.attributes()
        owner = owner_of(attributes)
        if owner is None or watch.is_dead(0, attributes):
            if take(job, me, pulse, owner):
                made = _make(job, me, interrupt, pulse, found, make, owner)
                if made is not None:
                    return made
            continue
        if not waited:
            note(f"waiting for the {job.name} on {owner.host}")
        waited = True
        time.sleep(min(POLL_S, pulse.settle_s))
    return None


def _make(
    job: StudyJob,
    me: Owner,
    interrupt: Interrupt,
    pulse: Pulse,
    found: Callable[[], Done | None],
    make: Callable[[Check, Owner | None], Done],
    dead: Owner | None,
) -> Done | None:
    with Lease(job, me, pulse) as lease:
        check = checker(lease, interrupt)
        try:
            # it may have been done between the look and the taking
            done = found() or make(check, dead)
        except Lost:
            return None
        except Stopping:
            done = None
    give_back(job)
    return done

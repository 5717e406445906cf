"""Checks: when work under a lease must end."""

from collections.abc import Callable

from search.leases.interrupt import Interrupt
from search.leases.lease import Lease

POLL_S = 1.0
"""Seconds between two looks at what other processes do."""

Check = Callable[[], None]
"""To be called between two steps; raises where the work must end."""


class Stopping(Exception):
    """The user wants an end; what is done stays."""


class Lost(Exception):
    """Another process has taken the work over, and will record it."""


def checker(lease: Lease, interrupt: Interrupt) -> Check:
    """What raises where work under a lease must end: `Lost` or `Stopping`."""

    def check() -> None:
        if lease.lost:
            raise Lost
        if interrupt.asked:
            raise Stopping

    return check

"""A program on a terminal: a pseudo-terminal for it, and what its screen shows as it goes on."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyte

WAIT_S = 120.0


@dataclass(frozen=True)
class Shown:
    """What a program left on its terminal."""

    code: int
    frames: list[list[str]]
    """The screen's lines after each piece that was written."""
    out: str
    """Standard output, which went to a pipe."""


def shown(command: Sequence[str], *, lines: int = 30, columns: int = 110) -> Shown:
    """Run a program whose standard error is a terminal, until it ends."""
    screen = pyte.Screen(columns, lines)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    process = subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True
    )
    os.close(theirs)
    frames = []
    began = time.monotonic()
    try:
        while time.monotonic() - began < WAIT_S:
            if not select.select([ours], [], [], 0.1)[0]:
                continue
            try:
                written = os.read(ours, 1 << 16)
            except OSError:  # the program has closed its end
                break
            stream.feed(written)
            frames.append([line.rstrip() for line in screen.display])
    finally:
        os.close(ours)
        out, _ = process.communicate(timeout=10)
    return Shown(process.returncode, frames, out)

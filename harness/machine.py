"""What a run remembers of the machine and the software that made it.

Knows the operating system and installed packages; nothing of models.
"""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.runs import Machine, Versions


def this_machine(system_info: str) -> Machine:
    """The machine as far as bytes may depend on it.

    Args:
        system_info: What llama.cpp prints of itself.
    """
    import psutil

    return Machine(
        platform=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        n_cpus=os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30),
        llama_cpp_python=package_version("llama-cpp-python"),
        system_info=system_info,
    )


@cache
def these_versions() -> Versions:
    """weighin's own version and commit, and what scores with it."""
    commit = _git("rev-parse", "HEAD")
    return Versions(
        weighin=package_version("weighin"),
        commit=commit,
        dirty=None if commit is None else bool(_git("status", "--porcelain", "-uno")),
        lm_eval=package_version("lm-eval"),
        python=sys.version.split()[0],
    )


def package_version(name: str) -> str:
    """The installed version of a package, or `unknown`."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _git(*arguments: str) -> str | None:
    """What git says of the folder that holds weighin's source; None where it is no checkout."""
    source = Path(__file__).resolve().parent.parent
    if not (source / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()

"""Converter: llama.cpp's own, of the revision that the installed library was built from.

Fetches llama-cpp-python's source distribution once, checks it, keeps the converter's few files in
the cache, and runs it in a process of its own; knows nothing of merging.
Source: `vendor/llama.cpp` in https://github.com/abetlen/llama-cpp-python.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from search.cache import cache_folder, file_sha256
from search.errors import BuildError

PACKAGE = "llama-cpp-python"
KNOWN_SHA256 = {
    "0.3.36": "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
}
"""Source distributions that were tested; of others, the index's own checksum is trusted (pip
verifies it on download)."""

KEPT = ("convert_hf_to_gguf.py", "conversion/", "gguf-py/gguf/", "LICENSE")
FETCH_TIMEOUT_S = 1800
LOG_LINES = 3


def converter_folder() -> Path:
    """The converter's folder, fetched on first use.

    Raises:
        BuildError: llama-cpp-python is not installed, its source distribution cannot be had, or
            its checksum is not the tested one.
    """
    try:
        release = version(PACKAGE)
    except PackageNotFoundError:
        raise BuildError(f"{PACKAGE} is not installed; install weighin's dependencies") from None
    folder = cache_folder() / "converter" / release
    if (folder / "convert_hf_to_gguf.py").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        archive = _download(release, Path(scratch))
        digest = file_sha256(archive)
        if KNOWN_SHA256.get(release, digest) != digest:
            raise BuildError(
                f"{archive.name} has SHA-256 {digest}, expected {KNOWN_SHA256[release]}; "
                "the package index serves another file"
            )
        unpacked = Path(scratch, "unpacked")
        _unpack(archive, unpacked)
        try:
            unpacked.rename(folder)
        except OSError:
            # another process was first; its folder is as good
            if not (folder / "convert_hf_to_gguf.py").exists():
                raise
    return folder


def convert(checkpoint: Path, out: Path, outtype: Literal["f32", "f16", "bf16"]) -> None:
    """Convert a checkpoint to an unquantised GGUF.

    Args:
        checkpoint: Hugging Face folder.
        out: File to write.
        outtype: The checkpoint's own type, so that nothing is rounded.

    Raises:
        BuildError: the converter failed; its last words are in the message.
    """
    folder = converter_folder()
    environment = {**os.environ, "PYTHONPATH": str(folder / "gguf-py"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(folder / "convert_hf_to_gguf.py"), str(checkpoint)]
    done = subprocess.run(
        [*command, "--outfile", str(out), "--outtype", outtype],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0 or not out.exists():
        raise BuildError(f"llama.cpp cannot convert {checkpoint}: {last_words(done.stderr)}")


def last_words(log: str) -> str:
    """The end of a log, on one line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return " | ".join(lines[-LOG_LINES:]) or "no message"


def _download(release: str, folder: Path) -> Path:
    # pip is the index's own client: mirrors, proxies and checksums are its business
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", PACKAGE, "--dest", str(folder), f"{PACKAGE}=={release}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"fetching {PACKAGE} {release} took too long; try again") from None
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode != 0 or len(archives) != 1:
        raise BuildError(
            f"cannot fetch the source of {PACKAGE} {release}, which holds the converter: "
            + last_words(done.stderr)
        )
    return archives[0]


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as source:
        for member in source:
            _, _, inner = member.name.partition("/vendor/llama.cpp/")
            if not inner.startswith(KEPT) or not member.isfile():
                continue
            stream = source.extractfile(member)
            assert stream is not None
            target = folder / inner
            if ".." in target.parts:
                raise BuildError(f"{archive.name} names a file outside itself")
            target.parent.mkdir(parents=True, exist_ok=True)
            with stream, target.open("wb") as out:
                shutil.copyfileobj(stream, out)
    if not (folder / "convert_hf_to_gguf.py").exists():
        raise BuildError(f"{archive.name} holds no converter; this release is not supported")

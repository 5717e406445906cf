"""GGUF file: header in, header out, and where each tensor's bytes lie.

Keeps every key as the bytes it was written in, so that a file can be written anew without
understanding it; knows nothing of models.
Source: the GGUF specification, version 3, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.errors import TemplateError
from search.export.quantize import TYPE_NAMES, row_bytes

MAGIC = b"GGUF"
VERSION = 3
ALIGNMENT = 32
MAX_DIMENSIONS = 4
STRING, ARRAY = 8, 9
SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
"""struct format of each scalar type, by GGUF's number."""


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as the header describes it."""

    name: str
    dimensions: tuple[int, ...]
    """ggml's order: columns first."""
    kind: int
    """ggml's number of the tensor type."""
    offset: int
    """Bytes from the start of the data."""
    size_bytes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first, as torch has it."""
        return self.dimensions[::-1]

    @property
    def type_name(self) -> str:
        """Name of the tensor type, or its number."""
        return TYPE_NAMES.get(self.kind, str(self.kind))


@dataclass(frozen=True)
class GgufFile:
    """A GGUF's header."""

    path: Path
    keys: dict[str, bytes]
    """Every key's type and value as written, in order."""
    tensors: dict[str, TensorInfo]
    data_start: int
    """Bytes from the start of the file to the data."""

    def value(self, key: str) -> Any | None:
        """A key's value: a number, a string or a list; None where absent."""
        raw = self.keys.get(key)
        return None if raw is None else _Cursor(raw, self.path).value(_u32(raw), 4)[0]

    def length(self, key: str) -> int | None:
        """How many elements an array has; None where absent or no array."""
        raw = self.keys.get(key)
        if raw is None or _u32(raw) != ARRAY:
            return None
        return int.from_bytes(raw[8:16], "little")

    @property
    def alignment(self) -> int:
        """Bytes to which tensors are aligned."""
        return int(self.value("general.alignment") or ALIGNMENT)


def read_gguf(path: Path) -> GgufFile:
    """Read a header.

    Raises:
        TemplateError: missing, not a GGUF of version 3, a shard, or cut short.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            # headers are a few MB (the tokenizer's tables); a file's first 256 MB hold any
            start = stream.read(min(size, 256 << 20))
    except OSError as error:
        raise TemplateError(f"cannot read {path}: {error.strerror}") from None
    if start[:4] != MAGIC:
        raise TemplateError(f"{path} is not a GGUF file")
    cursor = _Cursor(start, path)
    version, n_tensors, n_keys = struct.unpack_from("<IQQ", cursor.take(24, 0), 4)
    if version != VERSION:
        raise TemplateError(
            f"{path} is GGUF version {version}, expected {VERSION}; convert it anew"
        )
    keys, position = _read_keys(cursor, n_keys)
    if "split.count" in keys:
        raise TemplateError(f"{path} is a part of a split GGUF; join its parts first")
    header = GgufFile(path, keys, {}, 0)
    infos, position = _read_tensors(cursor, n_tensors, position)
    data_start = _aligned(position, header.alignment)
    for info in infos.values():
        if data_start + info.offset + info.size_bytes > size:
            raise TemplateError(f"{path} is cut short at tensor {info.name}; make it anew")
    return GgufFile(path, keys, infos, data_start)


def header_bytes(
    keys: Mapping[str, bytes], tensors: Sequence[TensorInfo], alignment: int
) -> tuple[bytes, list[TensorInfo]]:
    """A header for tensors laid one after the other.

    Args:
        keys: Key to type and value as written.
        tensors: In the order of their data; their offsets are set anew.
        alignment: Bytes.

    Returns:
        The header, padded to the start of the data, and the tensors with their offsets.
    """
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(keys))]
    for key, raw in keys.items():
        parts += [_string(key), raw]
    placed, offset = [], 0
    for info in tensors:
        placed.append(TensorInfo(info.name, info.dimensions, info.kind, offset, info.size_bytes))
        shape = struct.pack(f"<I{len(info.dimensions)}Q", len(info.dimensions), *info.dimensions)
        parts += [_string(info.name), shape, struct.pack("<IQ", info.kind, offset)]
        offset = _aligned(offset + info.size_bytes, alignment)
    header = b"".join(parts)
    return header + bytes(_aligned(len(header), alignment) - len(header)), placed


def string_value(text: str) -> bytes:
    """A string as a key's type and value."""
    return struct.pack("<I", STRING) + _string(text)


def read_tensor_bytes(descriptor: int, offset: int, size: int) -> bytes:
    """Bytes of an open file, all of them or an error."""
    parts, done = [], 0
    while done < size:
        part = os.pread(descriptor, size - done, offset + done)
        if not part:
            raise TemplateError("the template was cut short while it was read; make it anew")
        parts.append(part)
        done += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def padding(size: int, alignment: int) -> bytes:
    """Zeros up to the next aligned place."""
    return bytes(_aligned(size, alignment) - size)


class _Cursor:
    """Bytes with bounds checked; a header that runs out is an error line, not a crash."""

    def __init__(self, raw: bytes, path: Path) -> None:
        self.raw = raw
        self.path = path

    def take(self, size: int, at: int) -> bytes:
        if at + size > len(self.raw):
            raise TemplateError(f"{self.path} is cut short within its header; make it anew")
        return self.raw[at : at + size]

    def string(self, at: int) -> tuple[str, int]:
        size = int.from_bytes(self.take(8, at), "little")
        return self.take(size, at + 8).decode("utf-8", "replace"), at + 8 + size

    def value(self, kind: int, at: int) -> tuple[Any, int]:
        if kind == STRING:
            return self.string(at)
        if kind == ARRAY:
            inner = _u32(self.take(4, at))
            count = int.from_bytes(self.take(8, at + 4), "little")
            at += 12
            if inner in SCALARS:
                form = f"<{count}{SCALARS[inner][1]}"
                return list(struct.unpack(form, self.take(struct.calcsize(form), at))), (
                    at + struct.calcsize(form)
                )
            values = []
            for _ in range(count):
                item, at = self.value(inner, at)
                values.append(item)
            return values, at
        if kind not in SCALARS:
            raise TemplateError(f"{self.path} has a key of unknown type {kind}; make it anew")
        size = struct.calcsize(SCALARS[kind])
        return struct.unpack(SCALARS[kind], self.take(size, at))[0], at + size

    def skip(self, kind: int, at: int) -> int:
        if kind == ARRAY:
            inner = _u32(self.take(4, at))
            count = int.from_bytes(self.take(8, at + 4), "little")
            at += 12
            if inner in SCALARS:
                return at + count * struct.calcsize(SCALARS[inner])
            for _ in range(count):
                at = self.skip(inner, at)
            return at
        if kind == STRING:
            return at + 8 + int.from_bytes(self.take(8, at), "little")
        if kind not in SCALARS:
            raise TemplateError(f"{self.path} has a key of unknown type {kind}; make it anew")
        return at + struct.calcsize(SCALARS[kind])


def _read_keys(cursor: _Cursor, count: int) -> tuple[dict[str, bytes], int]:
    keys: dict[str, bytes] = {}
    position = 24
    for _ in range(count):
        key, position = cursor.string(position)
        end = cursor.skip(_u32(cursor.take(4, position)), position + 4)
        keys[key] = cursor.take(end - position, position)
        position = end
    return keys, position


def _read_tensors(cursor: _Cursor, count: int, position: int) -> tuple[dict[str, TensorInfo], int]:
    infos: dict[str, TensorInfo] = {}
    for _ in range(count):
        name, position = cursor.string(position)
        n_dimensions = _u32(cursor.take(4, position))
        if not 0 < n_dimensions <= MAX_DIMENSIONS:
            raise TemplateError(f"{cursor.path}: {name} has {n_dimensions} dimensions")
        form = f"<{n_dimensions}QIQ"
        *dimensions, kind, offset = struct.unpack(
            form, cursor.take(struct.calcsize(form), position + 4)
        )
        position += 4 + struct.calcsize(form)
        n_rows = 1
        for length in dimensions[1:]:
            n_rows *= length
        if kind not in TYPE_NAMES:
            raise TemplateError(
                f"{cursor.path}: {name} has tensor type {kind}, which ggml cannot write; "
                "choose another baseline type"
            )
        size = n_rows * row_bytes(kind, dimensions[0])
        infos[name] = TensorInfo(name, tuple(dimensions), kind, offset, size)
    return infos, position


def _u32(raw: bytes) -> int:
    return int.from_bytes(raw[:4], "little")


def _string(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return struct.pack("<Q", len(encoded)) + encoded


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment

"""The converter's folder: what is taken out of an archive, and what is not."""

import io
import tarfile
from pathlib import Path

import pytest

from search.errors import BuildError
from search.export.converter import _unpack, convert, last_words


def archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
    return path


PREFIX = "llama_cpp_python-1/vendor/llama.cpp/"


def test_takes_the_converter_and_nothing_else(tmp_path: Path) -> None:
    made = archive(
        tmp_path / "a.tar.gz",
        PREFIX + "convert_hf_to_gguf.py",
        PREFIX + "conversion/base.py",
        PREFIX + "gguf-py/gguf/constants.py",
        PREFIX + "src/llama.cpp",
        "llama_cpp_python-1/setup.py",
    )
    _unpack(made, tmp_path / "out")
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")}
    assert found == {"convert_hf_to_gguf.py", "conversion/base.py", "gguf-py/gguf/constants.py"}


def test_a_name_outside_the_archive_is_refused(tmp_path: Path) -> None:
    made = archive(
        tmp_path / "a.tar.gz",
        PREFIX + "convert_hf_to_gguf.py",
        PREFIX + "conversion/../../../evil.py",
    )
    with pytest.raises(BuildError, match="a file outside itself"):
        _unpack(made, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("evil.py"))


def test_an_archive_without_a_converter(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="holds no converter"):
        _unpack(archive(tmp_path / "a.tar.gz", PREFIX + "README.md"), tmp_path / "out")


def test_the_converter_s_own_words_are_passed_on(converter: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["NobodyForCausalLM"]}')
    with pytest.raises(BuildError, match="NobodyForCausalLM") as caught:
        convert(tmp_path, tmp_path / "out.gguf", "bf16")
    assert "\n" not in str(caught.value)


def test_last_words() -> None:
    assert last_words("a\n\nb\nc\n  d \n") == "b | c | d"
    assert last_words("\n") == "no message"

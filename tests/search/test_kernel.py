"""The compiled Q6_K against ggml, bit for bit."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from search.export.kernel import proved_kernel, quantize_rows, trial_rows
from search.export.quantize import TYPES, quantize

Q6_K = TYPES["Q6_K"]


@pytest.fixture
def kernel() -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    assert proved_kernel() is not None


@pytest.mark.usefixtures("kernel")
@given(
    arrays(
        np.float32,
        (2, 256),
        elements=st.floats(-1e9, 1e9, width=32, allow_subnormal=True)
        | st.sampled_from([0.0, 1.0, -1.0, 0.5, -0.5, 31.0, -32.0, 1e-15, -1e-15, 1e-30]),
    )
)
@settings(max_examples=150, deadline=None)
def test_every_block_has_ggml_s_bits(rows: np.ndarray) -> None:
    assert np.array_equal(quantize_rows(rows, Q6_K), quantize(rows, Q6_K))


@pytest.mark.usefixtures("kernel")
def test_ties_of_opposite_sign_take_the_first() -> None:
    for first, second in ((1.0, -1.0), (-1.0, 1.0)):
        rows = np.full((1, 256), 0.3, dtype=np.float32)
        rows[0, 4], rows[0, 9] = first, second
        assert np.array_equal(quantize_rows(rows, Q6_K), quantize(rows, Q6_K))


def test_trial_rows_tell_kernels_apart() -> None:
    # each sort of values gives other bytes, and none is all zero but the empty one
    outcomes = [quantize(rows, Q6_K) for rows in trial_rows()]
    assert len({outcome.tobytes() for outcome in outcomes}) == len(outcomes)
    assert sum(not outcome.any() for outcome in outcomes) == 1


def test_without_a_compiler_ggml_does_it(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("CC", "/nowhere/cc")
    monkeypatch.setenv("WEIGHIN_CACHE", str(tmp_path))
    proved_kernel.cache_clear()
    rows = trial_rows()[0]
    try:
        assert proved_kernel() is None
        assert np.array_equal(quantize_rows(rows, Q6_K), quantize(rows, Q6_K))
    finally:
        proved_kernel.cache_clear()


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K", "F16", "F32"])
def test_other_types_are_ggml_s(kind: str) -> None:
    rows = trial_rows()[0]
    assert np.array_equal(quantize_rows(rows, TYPES[kind]), quantize(rows, TYPES[kind]))

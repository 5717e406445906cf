"""Blocks: the rows of a tensor that are worked on at once.

A function of the tensor's shape alone, so that neither threads nor memory change a sum.
"""

BLOCK_ELEMENTS = 1 << 20
"""Elements of a block: 4 MB of float32, a few of which stay in a core's cache."""


def blocks_of(shape: tuple[int, ...], head_rows: int = 1) -> list[tuple[int, int]]:
    """Blocks of rows to work in; a function of the tensor alone, so that threads change nothing.

    Args:
        shape: Of the tensor.
        head_rows: Rows that must stay together.
    """
    n_rows = shape[0] if shape else 1
    width = 1
    for length in shape[1:]:
        width *= length
    step = max(1, BLOCK_ELEMENTS // (width * head_rows)) * head_rows
    return [(start, min(n_rows, start + step)) for start in range(0, n_rows, step)]

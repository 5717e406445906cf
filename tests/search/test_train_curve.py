"""The loss curve: a file of every step, and a drawing of it."""

from pathlib import Path

import pytest

from search.training.loss_curve import (
    MOST_POINTS,
    append_step,
    draw_curve,
    read_losses,
    write_curve,
)


def step(number: int, loss: float) -> dict[str, float]:
    return {
        "step": number,
        "epoch": number / 4,
        "learning_rate": 7e-6,
        "grad_norm": 1,
        "loss": loss,
    }


def test_written_at_once_or_step_by_step_it_is_the_same_file(tmp_path: Path) -> None:
    steps = [step(1, 2.5), step(2, 1.23456789)]
    write_curve(tmp_path / "whole.csv", steps)
    write_curve(tmp_path / "grown.csv", [])
    for one in steps:
        append_step(tmp_path / "grown.csv", one)
    text = (tmp_path / "whole.csv").read_text()
    assert text == (
        "step,epoch,learning_rate,grad_norm,loss\n1,0.25,7e-06,1,2.5\n2,0.5,7e-06,1,1.23457\n"
    )
    assert (tmp_path / "grown.csv").read_text() == text
    assert read_losses(tmp_path / "whole.csv") == [2.5, 1.23457]


@pytest.mark.parametrize("n", [1, 2, MOST_POINTS, 3 * MOST_POINTS + 1])
def test_a_falling_loss_is_drawn_falling(n: int) -> None:
    lines = draw_curve([3.0 - 2.0 * i / n for i in range(n)]).splitlines()
    curve = [line[1:65] for line in lines if line.startswith("│")]
    starts = [row.find(row.strip()) for row in curve if row.strip()]
    assert "loss by step" in lines[0]
    assert starts == sorted(starts)

"""A made-up grid of builds in the benchmark's own format: a hill in H, a slope in passes."""

from pathlib import Path

import numpy as np
from grid import BUILDS, HEADER, AskedTask, GridBuild, GridHeader

from harness.machine import these_versions
from harness.runs import TaskSettings
from harness.settings import GREEDY, PROSE, EngineSettings
from search.recipe import Number
from tests.search.synthetic_prose import prose_score

S_STEP = ALPHA_STEP = 0.1
N_S, N_ALPHA = 11, 7


def write_grid(
    folder: Path,
    *,
    seed: int = 0,
    n_ifeval: int = 135,
    n_prose: int = 32,
    peak: float = 6.0,
    fall: float = 25.0,
    drop: float = 0.8,
    noise: float = 22.0,
    limit: float = 0.01,
) -> None:
    """Write one.

    Args:
        folder: Where.
        seed: Of the noise.
        n_ifeval, n_prose: Prompts.
        peak: Gain in H at s = 0.4, alpha = 0.2.
        fall: Loss in H at the far corner.
        drop: How far passes fall at the far corner, in standard deviations of a prompt's noise.
        noise: Standard deviation of one answer's H.
        limit: Passes that may be lost, a fraction.
    """
    rng = np.random.default_rng(seed)
    of_prompt_h, of_prompt_pass = rng.normal(0, 10, n_prose), rng.normal(-0.9, 1.3, n_ifeval)

    def build(numbers: dict[str, Number], gain: float, shift: float, name: str) -> GridBuild:
        passed = of_prompt_pass + shift + rng.normal(0, 1, n_ifeval) > 0
        h = np.clip(35 + of_prompt_h + gain + rng.normal(0, noise, n_prose), 0, 100)
        digits = tuple(str(int(p)) for p in passed)
        return GridBuild(
            numbers=numbers,
            sha256=name,
            strict={"ifeval": digits},
            loose={"ifeval": digits},
            prose={"prose": tuple(prose_score(float(x)) for x in h.round(2))},
            n_tokens={
                "ifeval": tuple(int(n) for n in np.clip(rng.lognormal(5, 0.8, n_ifeval), 10, 1280)),
                "prose": tuple(int(n) for n in rng.integers(400, 513, n_prose)),
            },
        )

    builds = [build({}, 0.0, 0.0, "baseline")]
    for i in range(N_S):
        for j in range(N_ALPHA):
            s, alpha = round(i * S_STEP, 1), round(j * ALPHA_STEP, 1)
            far = (0.6**2 + (0.4 / 0.6) ** 2) ** -1 * ((s - 0.4) ** 2 + ((alpha - 0.2) / 0.6) ** 2)
            point: dict[str, Number] = {"s": s, "alpha": alpha}
            if i == j == 0:
                builds.append(builds[0].model_copy(update={"numbers": point}))
            else:
                shift = -drop * (s**1.5 + 0.6 * alpha) / 1.36
                builds.append(build(point, peak - (peak + fall) * far, shift, f"{s}-{alpha}"))
    header = GridHeader(
        parts={},
        space={
            "s": {"low": 0, "high": 1, "step": S_STEP},  # type: ignore[dict-item]
            "alpha": {"low": 0, "high": 0.6, "step": ALPHA_STEP},  # type: ignore[dict-item]
        },
        own={"s": 0.3, "alpha": 0.3},
        maximize="h_delta",
        subject_to=(f"ifeval.prompt_level_strict_acc >= baseline - {limit}",),
        engine=EngineSettings(),
        tasks=tuple(
            AskedTask(
                settings=TaskSettings(
                    name=name,
                    kind=kind,  # type: ignore[arg-type]
                    prompts_sha256="",
                    n_prompts=n,
                    samples=1,
                    sampling=sampling,
                ),
                keys=tuple((str(i), 0) for i in range(n)),
            )
            for name, kind, n, sampling in (
                ("ifeval", "ifeval", n_ifeval, GREEDY),
                ("prose", "prose", n_prose, PROSE),
            )
        ),
        prose_signature=None,
        versions=these_versions(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HEADER).write_text(header.model_dump_json(), "utf-8")
    (folder / BUILDS).write_text("".join(b.model_dump_json() + "\n" for b in builds), "utf-8")

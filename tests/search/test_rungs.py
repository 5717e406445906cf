"""Rungs: what is stopped, when, in which words, and what is told of it."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.runs import Score
from harness.waves import in_turn, wave_positions
from metrics.ifeval import IfevalScore
from search.study.objective import parse_constraint, parse_objectives
from search.trials.reference import Reference
from search.trials.rungs import LOOKS, Rungs, looks_for

from .synthetic_prose import prose_score

PASSES = "ifeval.prompt_level_strict_acc >= baseline - 0.01"


def run(passes: Sequence[int], h: Sequence[float], words: int = 500) -> list[Score]:
    """A run's scores: one instruction a prompt, and one prose answer a prompt."""
    found = [
        Score(
            task="ifeval",
            prompt_id=str(i),
            sample=0,
            empty=False,
            unclosed_thought=False,
            ifeval=IfevalScore(strict=(bool(p),), loose=(bool(p),)),
        )
        for i, p in enumerate(passes)
    ]
    return found + [
        Score(
            task="prose",
            prompt_id=str(i),
            sample=0,
            empty=False,
            unclosed_thought=False,
            prose=prose_score(value, words=words),
        )
        for i, value in enumerate(h)
    ]


def waves(scores: Sequence[Score], seed: int = 0) -> Iterator[list[Score]]:
    """The scores in a run's own waves."""
    tasks = [[s for s in scores if s.task == name] for name in ("ifeval", "prose")]
    for task, positions in wave_positions([len(own) for own in tasks], 64, seed, LOOKS):
        yield [tasks[task][i] for i in positions]


def watched(rungs: Rungs, scores: Sequence[Score], seed: int = 0) -> str | None:
    """Why a run is stopped, or None."""
    reasons = (rungs.see(wave) for wave in waves(scores, seed))
    return next((reason for reason in reasons if reason is not None), None)


def watch(
    baseline: Sequence[Score],
    leaders: Sequence[Sequence[Score]] = (),
    *,
    maximize: str | Sequence[str] = "h_delta",
    subject_to: Sequence[str] = (PASSES,),
    others: Sequence[Sequence[Score]] = (),
    error_rate: float = 0.05,
) -> Rungs:
    return Rungs(
        parse_objectives(maximize),
        [parse_constraint(text) for text in subject_to],
        Reference(baseline),
        [Reference(leader) for leader in leaders],
        others=[Reference(other) for other in others],
        error_rate=error_rate,
    )


RNG = np.random.default_rng(0)
N_PASSES, N_PROSE = 128, 64
BASE = run(RNG.random(N_PASSES) < 0.4, RNG.uniform(20, 60, N_PROSE))
LEADER = run(
    [s.ifeval.prompt_strict for s in BASE if s.ifeval], [s.prose.H + 9 for s in BASE if s.prose]
)


def asked(rungs: Rungs, scores: Sequence[Score], seed: int = 0) -> tuple[list[str], str | None]:
    """Whose waves a run that asks the rungs what comes next was given, and why it was stopped."""
    planned = list(waves(scores, seed))
    names: list[str] = []
    for place in in_turn([wave[0].task for wave in planned], rungs.ask_next):
        names.append(planned[place][0].task)
        reason = rungs.see(planned[place])
        if reason is not None:
            return names, reason
    return names, None


def test_the_task_that_is_losing_is_asked_on() -> None:
    passes = [s.ifeval.prompt_strict for s in LEADER if s.ifeval]
    h = [s.prose.H for s in LEADER if s.prose]
    names, reason = asked(watch(BASE, [LEADER]), run(passes, [each - 12 for each in h]))
    assert reason is not None and reason.startswith("h_delta")
    assert names[:2] == ["ifeval", "prose"] and set(names[2:]) == {"prose"}
    failing = run([p and i % 3 == 0 for i, p in enumerate(passes)], [each + 5 for each in h])
    names, reason = asked(watch(BASE, [LEADER]), failing)
    assert reason is not None and reason.startswith(PASSES)
    assert names[:2] == ["ifeval", "prose"] and set(names[2:]) <= {"ifeval"}


def test_tasks_take_turns_while_nothing_is_lost() -> None:
    better = run([1] * N_PASSES, [100.0] * N_PROSE)
    names, reason = asked(watch(BASE, [LEADER]), better)
    assert reason is None
    assert names == [wave[0].task for wave in waves(better)]


def test_asking_where_a_stop_is_nearest_stops_no_more_of_what_clears_its_bars() -> None:
    """A trial that is as good as what it is held against, and not better, is stopped by chance."""
    error_rate, n, stopped = 0.1, 400, 0
    rng = np.random.default_rng(7)
    passes = [s.ifeval.prompt_strict for s in LEADER if s.ifeval]
    h = np.array([s.prose.H for s in LEADER if s.prose])
    for seed in range(n):
        # other passes and another H answer by answer, the same sums
        noise = rng.normal(0, 8, N_PROSE)
        equal = run(rng.permutation(passes), h + noise - noise.mean())
        stopped += asked(watch(BASE, [LEADER], error_rate=error_rate), equal, seed)[1] is not None
    # three standard errors above the rate
    assert stopped / n <= error_rate + 3 * np.sqrt(error_rate * (1 - error_rate) / n)
    assert stopped > 0  # the test can fail


def test_a_trial_that_fails_every_prompt_is_stopped_at_the_first_looks() -> None:
    rungs = watch(BASE)
    reason = watched(rungs, run([0] * N_PASSES, [60.0] * N_PROSE))
    assert reason is not None
    assert reason.startswith(f"{PASSES}: is most likely not kept (after ")
    assert rungs.told.n_answers <= 0.25 * rungs.told.n_total == 0.25 * (N_PASSES + N_PROSE)
    assert rungs.told.violations[PASSES] > 0.1


def test_a_trial_far_below_the_leader_is_stopped_and_told_below_it() -> None:
    rungs = watch(BASE, [LEADER])
    lost = run([s.ifeval.prompt_strict for s in BASE if s.ifeval], [20.0] * N_PROSE)
    reason = watched(rungs, lost)
    assert reason is not None
    assert reason.startswith("h_delta: will most likely not reach the leader's")
    true = 20 - np.mean([s.prose.H for s in BASE if s.prose])
    assert rungs.told.values[0] == pytest.approx(true, abs=8)
    assert rungs.told.values[0] < 9
    assert rungs.told.violations[PASSES] <= 0


def test_the_baseline_is_to_be_reached_until_a_leader_beats_it() -> None:
    worse = run(
        [s.ifeval.prompt_strict for s in BASE if s.ifeval],
        [max(0.0, s.prose.H - 25) for s in BASE if s.prose],
    )
    assert watched(watch(BASE), worse) is not None
    # a leader below the baseline does not make it easier
    assert watched(watch(BASE, [worse]), worse) is not None


def test_what_the_rest_cannot_rescue_is_stopped_without_chance() -> None:
    base = run([1] * 16, [50.0] * 16)
    rungs = watch(base, error_rate=0.0)
    scores = run([0] + [1] * 15, [50.0] * 16)
    said = [(rungs.see(wave), {s.prompt_id for s in wave if s.ifeval}) for wave in waves(scores)]
    lost = next(i for i, (_, ids) in enumerate(said) if "0" in ids)
    # one of 16 is more than 0.01, and known as soon as it is seen, once prose was seen too
    stopped = next(i for i, (reason, _) in enumerate(said) if reason is not None)
    assert stopped == max(lost, 1)
    assert said[stopped][0] is not None and "can no longer be kept" in said[stopped][0]


def test_nothing_is_stopped_before_every_task_was_seen_nor_after_the_last_answer() -> None:
    rungs = watch(run([1] * 16, [50.0] * 16))
    found = [rungs.see([score]) for score in run([0] * 16, [0.0] * 16)]
    assert found[:16] == [None] * 16
    assert found[16] is not None
    assert found[-1] is None


def test_looks_are_as_far_apart_as_a_batch_is_wide() -> None:
    assert looks_for(1000) == LOOKS
    assert looks_for(64) == (1 / 4, 1 / 2, 3 / 4)
    assert looks_for(20) == (1 / 4, 1 / 2, 3 / 4)


def test_equals_are_not_stopped() -> None:
    for seed in range(5):
        assert watched(watch(BASE, [LEADER]), LEADER, seed) is None


def test_a_front_stops_only_what_it_beats_in_every_objective() -> None:
    objectives = ["h_delta", "ifeval.prompt_level_strict_acc"]
    strong = run([1] * N_PASSES, [40.0] * N_PROSE)
    prosy = run([0] * N_PASSES, [90.0] * N_PROSE)
    front = [strong, prosy]
    assert watched(watch(BASE, front, maximize=objectives, subject_to=()), prosy) is None
    between = run([1] * 64 + [0] * 64, [65.0] * N_PROSE)
    assert watched(watch(BASE, front, maximize=objectives, subject_to=()), between) is None
    beaten = watch(BASE, front, maximize=objectives, subject_to=())
    reason = watched(beaten, run([0] * 100 + [1] * 28, [10.0] * N_PROSE))
    assert reason is not None and reason.startswith("h_delta and ifeval.prompt_level_strict_acc:")
    assert beaten.told.values[0] < 40 - np.mean([s.prose.H for s in BASE if s.prose])
    assert beaten.told.values[1] < 1


def test_upper_limits_and_figures_to_be_made_small() -> None:
    limit = "prose.word_count <= baseline + 50"
    long = run([1] * N_PASSES, [60.0] * N_PROSE, words=800)
    reason = watched(watch(BASE, subject_to=[limit]), long)
    assert reason is not None and reason.startswith(limit)
    short = run([1] * N_PASSES, [60.0] * N_PROSE, words=540)
    assert watched(watch(BASE, subject_to=[limit]), short) is None
    assert watched(watch(BASE, maximize="-prose.word_count", subject_to=()), long) is not None


def test_figures_that_are_no_sums_over_answers_wait_for_the_end() -> None:
    nothing = run([0] * N_PASSES, [0.0] * N_PROSE)
    assert watched(watch(BASE, maximize="-prose.xrep3"), nothing) is None
    later = watch(BASE, subject_to=["prose.xrep3 <= baseline + 1"])
    assert watched(later, nothing) is not None
    assert later.told.violations == {"prose.xrep3 <= baseline + 1": 0.0}


def test_more_whole_runs_stop_a_trial_earlier() -> None:
    """Prompts that are hard for everyone tell nothing about a trial."""
    rng = np.random.default_rng(3)
    hard = rng.normal(-0.5, 2.5, N_PASSES)

    def build(shift: float) -> list[Score]:
        return run(hard + shift + rng.normal(0, 1, N_PASSES) > 0, rng.uniform(20, 60, N_PROSE))

    base, others = build(0), [build(0) for _ in range(6)]
    n_alone = n_helped = 0
    for _ in range(20):
        trial = build(-0.8)
        for helpers in ([], others):
            rungs = watch(base, maximize="-prose.openers", others=helpers)
            watched(rungs, trial)
            if helpers:
                n_helped += len(rungs.seen)
            else:
                n_alone += len(rungs.seen)
    assert n_helped < 0.9 * n_alone


@given(seed=st.integers(0, 10**6), level=st.floats(0, 1), h=st.floats(0, 60))
@settings(max_examples=60, deadline=None)
def test_what_is_told_is_worse_than_the_leader_or_breaks_the_limit(
    seed: int, level: float, h: float
) -> None:
    rng = np.random.default_rng(seed)
    trial = run(rng.random(N_PASSES) < level, np.clip(rng.normal(h, 25, N_PROSE), 0, 100))
    rungs = watch(BASE, [LEADER], others=[trial[::-1]], error_rate=0.3)
    if watched(rungs, trial, seed) is None:
        return
    assert rungs.told.values[0] < 9 or rungs.told.violations[PASSES] > 0
    # a run that is gone on with decides the same again
    again = watch(BASE, [LEADER], others=[trial[::-1]], error_rate=0.3)
    watched(again, trial, seed)
    assert again.told == rungs.told


def test_a_trial_that_just_holds_is_stopped_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(1)
    passes = np.array([s.ifeval.prompt_strict for s in BASE if s.ifeval], int)
    # as many won as lost, and H moved about without a change of the mean: both bars are met exactly
    won, lost = rng.permutation(np.flatnonzero(passes == 0))[:14], np.flatnonzero(passes)[:15]
    passes[won], passes[lost] = 1, 0
    h = np.array([s.prose.H for s in LEADER if s.prose])
    moved = rng.normal(0, 20, N_PROSE)
    trial = run(passes, h + moved - moved.mean())
    n_draws = 250
    stopped = sum(
        watched(watch(BASE, [LEADER], error_rate=0.2), trial, seed) is not None
        for seed in range(n_draws)
    )
    assert stopped / n_draws <= 0.2 + 3 * (0.2 * 0.8 / n_draws) ** 0.5

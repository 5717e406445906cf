"""Check: is a build worse than the one before it?

A candidate, a baseline's run and gates in, a report out. Knows the order of things, from what costs
nothing to what costs most: file size, tokenizer and template, speed, divergence, then wave by wave
the answers. A check of a file ends as soon as its verdict is certain.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.comparison.compare import PairedRuns, compare_paired
from harness.comparison.records import Comparison, RunFacts
from harness.divergence import DivergenceReport, RunTexts, measure_divergence
from harness.evaluate import Chat, check_gguf
from harness.gates.figures import (
    KLD,
    SIZE,
    SPEED,
    Figures,
    known_names,
    plain_name,
    require_known,
)
from harness.gates.gates import Gate, GateError, Verdict, judge, require_some
from harness.gates.preflight import compare_headers, preflight
from harness.gates.report import CheckReport, broken_first, outcome_of
from harness.gates.speed import measure_speed
from harness.gates.telling import telling_prompts, telling_texts
from harness.gates.watch import Watch
from harness.runs import Run, file_sha256, read_record, write_whole
from harness.scoring import Scoring
from harness.settings import EngineSettings
from harness.tasks import tasks_of_run
from harness.weigh import weigh

KLD_COMPLETIONS = 64
"""Completions of the baseline that both models read for the divergence, spread over its run."""
KLD_KEPT = "kld.json"
"""Divergence from a baseline, kept in the candidate's run."""


@dataclass(frozen=True)
class Check:
    """A baseline and gates, ready for candidates."""

    baseline: Run
    gates: tuple[Gate, ...]
    scoring: Scoring
    """As the baseline was scored."""
    chat: Chat
    """As the baseline was asked."""
    baseline_gguf: Path | None = None
    """The baseline's own file, which divergence and speed need."""

    def __post_init__(self) -> None:
        """Refuse what could not be judged in the end, before anything is generated.

        Raises:
            GateError: No gate, an unknown metric, or one that needs the baseline's file.
            RunError: The baseline is not scored, or was edited since.
        """
        self.baseline.require_unedited()
        require_some(self.gates)
        names = known_names(self.baseline)
        tasks = [task.name for task in self.baseline.header().tasks]
        for gate in self.gates:
            require_known(gate, names, tasks)

    def run(self, candidate: Run) -> CheckReport:
        """Judge a candidate that was run already.

        Raises:
            WeighinError: The runs cannot be compared, or a gate needs what the run has not.
        """
        model = candidate.header().model
        course = _Course(self, candidate.name, model.sha256, model.size_bytes)
        course.candidate = candidate
        course.judge(SIZE)
        course.first = compare_headers(self.baseline, candidate)
        if course.outcome != "broken":
            course.read_kept_divergence()
            course.judge_answers()
        return course.report()

    def gguf(self, model: Path, folder: Path) -> CheckReport:
        """Judge a GGUF: what costs least first, then wave by wave.

        Args:
            model: The candidate.
            folder: Of its run; gone on with where it is there already.

        Raises:
            WeighinError: It cannot be run, or a gate needs the baseline's file.
        """
        check_gguf(model)
        course = _Course(self, model.name, file_sha256(model), model.stat().st_size)
        course.require_baseline_gguf()
        steps: tuple[Callable[[], None], ...] = (
            lambda: course.judge(SIZE),
            lambda: course.read_prompts(model),
            lambda: course.time(model),
            lambda: course.diverge(model),
            lambda: course.ask(model, folder),
        )
        for step in steps:
            step()
            if course.outcome == "broken":
                break
        return course.report()


class _Course:
    """One candidate's way through a check."""

    def __init__(self, check: Check, name: str, sha256: str, size_bytes: int) -> None:
        self.check = check
        self.name, self.sha256 = name, sha256
        self.header = check.baseline.header()
        self.figures = Figures((self.header.model.size_bytes, size_bytes))
        self.first: list[Verdict] = []
        """Of what is checked without a gate."""
        self.done: dict[Gate, Verdict] = {}
        self.candidate: Run | None = None
        self.n_answers = 0
        self.comparison: Comparison | None = None
        self._divergence: DivergenceReport | None = None

    @property
    def outcome(self) -> str:
        """What is known so far."""
        return outcome_of((*self.first, *self.done.values()))

    def on(self, part: str) -> list[Gate]:
        """Gates on one figure, or on all that begin with a part such as `kld`."""
        return [g for g in self.check.gates if part in (plain_name(g), g.metric.partition(".")[0])]

    def judge(self, part: str) -> None:
        """Judge the gates on figures that are there."""
        for gate in self.on(part):
            verdict = judge(gate, self.figures.find(gate))
            if verdict.status == "broken" and part == KLD and self._divergence is not None:
                verdict = verdict.model_copy(
                    update={"telling": telling_texts(self._divergence, self.check.baseline)}
                )
            self.done[gate] = verdict

    def read_prompts(self, model: Path) -> None:
        """Tokenizer and template, on the baseline's prompts."""
        check = self.check
        self.first = preflight(model, check.baseline, tasks_of_run(check.baseline), check.chat)

    def time(self, model: Path) -> None:
        """Tokens per second, where a gate asks for them."""
        if not self.on(SPEED):
            return
        prompts = self.check.baseline.prompt_sets()[0].prompts
        settings = self.header.engine.model_copy(update={"context": None})
        speed = measure_speed(self._gguf, model, prompts, settings=settings, chat=self.check.chat)
        self.figures = replace(self.figures, speed=speed)
        self.judge(SPEED)

    def diverge(self, model: Path) -> None:
        """Divergence from the baseline's predictions, where a gate asks for it."""
        if not self.on(KLD):
            return
        texts = RunTexts(self.check.baseline, KLD_COMPLETIONS, self.check.chat.template)
        settings = EngineSettings(threads=self.header.engine.threads)
        self._take(measure_divergence(self._gguf, model, texts, settings=settings))

    def read_kept_divergence(self) -> None:
        """The divergence that an earlier check left in the candidate's run.

        Raises:
            GateError: A gate asks for it, and there is none from this baseline; or one asks for
                speed, which no run keeps.
        """
        for gate in self.on(SPEED):
            raise GateError(f"{gate.called}: a run cannot be timed; check the GGUF itself")
        if not self.on(KLD):
            return
        assert self.candidate is not None
        path = self.candidate.folder / KLD_KEPT
        report = read_record(DivergenceReport, path) if path.is_file() else None
        hashes = self.header.model.sha256, self.sha256
        if report is None or (report.baseline_sha256, report.candidate_sha256) != hashes:
            raise GateError(
                f"{self.on(KLD)[0].called}: {self.candidate.folder} keeps no divergence "
                "from this baseline; check the GGUF itself with --baseline-gguf"
            )
        self._take(report)

    def ask(self, model: Path, folder: Path) -> None:
        """Make the candidate's run, unless its answers make the verdict certain before."""
        left = [gate for gate in self.check.gates if gate not in self.done]
        if not left:
            return
        watch = Watch(left, self.check.baseline, self.check.scoring)
        self.candidate = weigh(
            model,
            tasks_of_run(self.check.baseline),
            folder,
            settings=self.header.engine,
            chat=self.check.chat,
            scoring=self.check.scoring,
            after_wave=watch.see,
        )
        if self._divergence is not None:
            write_whole(folder / KLD_KEPT, self._divergence.model_dump_json(indent=2) + "\n")
        if not watch.stopped:
            self.judge_answers()
            return
        runs = PairedRuns(self.check.baseline, self.candidate, watch.scores)
        figures = replace(self.figures, runs=runs)
        self.n_answers = len(watch.scores)
        for gate, status, why in watch.certain():
            telling = telling_prompts(gate, runs) if status == "broken" else ()
            self.done[gate] = Verdict(
                name=str(gate),
                gate=gate,
                status=status,
                found=figures.find(gate),
                why=why,
                telling=telling,
            )

    def judge_answers(self) -> None:
        """Judge every gate that is left on the whole runs."""
        assert self.candidate is not None
        runs = PairedRuns(self.check.baseline, self.candidate)
        self.figures = replace(self.figures, runs=runs)
        self.n_answers = len(runs.pairs)
        self.comparison = compare_paired(runs)
        for gate in self.check.gates:
            if gate not in self.done:
                verdict = judge(gate, self.figures.find(gate))
                if verdict.status == "broken":
                    telling = telling_prompts(gate, runs)
                    verdict = verdict.model_copy(update={"telling": telling})
                self.done[gate] = verdict

    def require_baseline_gguf(self) -> None:
        """Refuse gates that need the baseline's file where it is not named, or is another.

        Raises:
            GateError: As said.
        """
        needing = [*self.on(KLD), *self.on(SPEED)]
        if not needing:
            return
        model = self.header.model
        if self.check.baseline_gguf is None:
            raise GateError(
                f"{needing[0].called}: needs the baseline's own file, {model.file} "
                f"(SHA-256 {model.sha256[:12]}); name it with --baseline-gguf"
            )
        check_gguf(self._gguf)
        found = file_sha256(self._gguf)
        if found != model.sha256:
            raise GateError(
                f"{self._gguf}: is not the baseline's file (SHA-256 {found[:12]}, expected "
                f"{model.sha256[:12]} of {model.file})"
            )

    def report(self) -> CheckReport:
        """What is known in the end."""
        rest = [self.done.get(gate) or _skipped(gate) for gate in self.check.gates]
        verdicts = broken_first([*self.first, *rest])
        candidate = self.candidate
        return CheckReport(
            outcome=outcome_of(verdicts),
            candidate=self.name,
            candidate_sha256=self.sha256,
            baseline=RunFacts.of(self.check.baseline.name, self.header),
            run=None if candidate is None else str(candidate.folder),
            n_answers=self.n_answers,
            n_answers_all=len(self.check.baseline.scores()),
            verdicts=verdicts,
            comparison=self.comparison,
        )

    @property
    def _gguf(self) -> Path:
        assert self.check.baseline_gguf is not None
        return self.check.baseline_gguf

    def _take(self, report: DivergenceReport) -> None:
        self._divergence = report
        self.figures = replace(self.figures, divergence=report.metrics)
        self.judge(KLD)


def _skipped(gate: Gate) -> Verdict:
    return Verdict(
        name=str(gate), gate=gate, status="skipped", why="not judged: the verdict was certain"
    )

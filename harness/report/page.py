"""Page: a document and its completions as one HTML file that opens offline.

Neutral records in, HTML out. Everything is inlined, and the page's own policy forbids any request
and any script but its two: Vega-Lite (with Vega and vega-embed, as vl-convert bundles them) and
`page.js`. Texts are escaped by Jinja2, or reach the page as data that its script shows as text.
"""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from importlib import resources
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from harness.report.browser import Exchange, pack
from harness.report.document import Document
from harness.runs import write_whole
from metrics.errors import WeighinError

EXTRA = ("altair", "rapidfuzz", "vl_convert")
"""Libraries that only the report needs."""
LIMIT_BYTES = 5_000_000
"""Most that a report may weigh."""
SIGNS = {
    "tick": '<path d="M-1.5-7h3V7h-3z"/>',
    "bar": '<path d="M-7-3H7v6H-7z"/>',
    "circle": '<circle r="5"/>',
    "triangle": '<path d="M0-5.5 6 5H-6z"/>',
    "square": '<path d="M-5-5H5V5H-5z"/>',
    "diamond": '<path d="M0-6.5 6.5 0 0 6.5-6.5 0z"/>',
    "hollow": '<circle r="4.5"/>',
    "line": '<path d="M-8 0H8"/>',
    "band": '<path d="M-8-6H8V6H-8z"/>',
}
"""The legend's signs, within -8 to 8 both ways."""


class ReportError(WeighinError):
    """A report cannot be made, or not written there."""


def render(
    document: Document, runs: Sequence[str], exchanges: Sequence[Exchange], *, unmarked: str = ""
) -> str:
    """The whole page.

    Args:
        document: What it says.
        runs: Names of the runs whose completions it shows, the baseline's first.
        exchanges: From the most to the least telling; as many as fit are in the page.
        unmarked: A sentence on what could not be marked in the texts; empty where all is.
    """
    import jinja2
    from markupsafe import Markup

    style, script = _asset("page.css"), _asset("page.js")
    library = _library()
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset), autoescape=True, undefined=jinja2.StrictUndefined
    )
    template = environment.get_template("page.html")
    charts = [chart for section in document.sections for chart in section.charts]

    def page(packed: str, n_kept: int) -> str:
        return template.render(
            document=document,
            version=version("weighin"),
            # what these hold is this project's and Vega's, or base64: no text of a model
            style=Markup(style),
            script=Markup(script),
            library=Markup(library),
            policy=_policy(style, (library, script)),
            signs={name: Markup(path) for name, path in SIGNS.items()},
            specs={chart.id: chart.spec for chart in charts},
            exchanges=packed,
            n_exchanges=len(exchanges),
            n_left_out=len(exchanges) - n_kept,
            unmarked=unmarked,
        )

    empty = page("", len(exchanges))
    room = LIMIT_BYTES - len(empty.encode()) - 1_000  # the sentence on what was left out
    packed, n_kept = pack(runs, exchanges, limit_bytes=max(0, room))
    return page(packed, n_kept)


def require_extra() -> None:
    """Say what to install before anything is computed.

    Raises:
        ReportError: A library of the extra `report` is missing.
    """
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise ReportError(
            f"a report needs {', '.join(missing)}: pip install 'weighin[report]' and try again"
        )


def write_page(html: str, path: Path) -> None:
    """Write the page: all of it or nothing.

    Raises:
        ReportError: The folder cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReportError(f"{path}: its folder cannot be made ({error.strerror})") from None
    write_whole(path, html)


def _asset(name: str) -> str:
    return resources.files("harness.report").joinpath(name).read_text("utf-8")


def _library() -> str:
    import vl_convert

    # its stub forgets that the snippet has a default
    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    # within a script element only these could end it early
    assert "</script" not in bundle.lower()
    assert "<!--" not in bundle
    return bundle


def _policy(style: str, scripts: Sequence[str]) -> str:
    """A Content-Security-Policy: nothing is fetched, and nothing runs but these scripts."""
    allowed = " ".join(_source(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_source(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

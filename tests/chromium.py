"""A real browser for the tests of pages: Debian's Chromium, headless, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium; where there is none, tests are skipped, but never where all must run."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium: apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield opened
        opened.close()


@contextmanager
def opened(browser: "Browser", path: Path, **context: Any) -> Iterator["Page"]:
    """A page from a file with every chart drawn; fails on any request, error or refused script."""
    bare = browser.new_context(offline=True, **context)
    bare.set_default_timeout(10_000)
    page = bare.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]")
    yield page
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert said == []
    bare.close()


def violations(page: "Page") -> list[str]:
    """What axe-core finds wrong with the page as it stands: rule and element."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['target']}" for rule in found for node in rule["nodes"]]

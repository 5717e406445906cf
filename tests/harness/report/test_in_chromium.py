"""The report in a real browser: opened, clicked, typed at, printed, and checked by axe-core."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chromium import opened, violations

from .conftest import HOSTILE_ID, HOSTILE_RUN, HOSTILE_TEXT, NO_COMMA

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE = {"width": 360, "height": 740}


def listed(page: "Page") -> list[str]:
    return page.locator("#list .id").all_text_contents()


def choose(page: "Page", outcome: str) -> None:
    page.get_by_label(outcome, exact=True).check()


def beside(page: "Page", name: str) -> None:
    page.get_by_label("Beside the baseline").select_option(label=name)


def read(page: "Page", name: str) -> None:
    page.locator("#list li", has=page.get_by_text(name, exact=True)).click()


@pytest.fixture
def hostile(browser: "Browser", page_file: Path) -> "Page":
    """The page with the hostile candidate beside the baseline."""
    with opened(browser, page_file) as page:
        beside(page, HOSTILE_RUN)
        yield page


def test_every_chart_is_drawn_and_has_its_figures_as_a_table(
    browser: "Browser", page_file: Path
) -> None:
    with opened(browser, page_file) as page:
        charts = page.locator("figure")
        assert charts.count() == 8  # types, H and its six parts
        for index in range(charts.count()):
            chart = charts.nth(index)
            assert chart.locator(".chart svg").count() == 1
            chart.locator("summary").click()
            assert chart.locator("tbody tr").first.is_visible()


def test_what_a_model_says_is_never_markup(hostile: "Page") -> None:
    read(hostile, HOSTILE_ID)
    assert hostile.locator("#pair h3").inner_text().startswith(f"asked {HOSTILE_ID}")
    assert hostile.locator(".side h4").all_text_contents() == ["base", HOSTILE_RUN]
    assert hostile.locator(".answer").first.inner_text() == HOSTILE_TEXT
    hostile.locator(".answer").first.hover()
    hostile.locator("#distribution-told-H .mark-rect path").last.hover()
    assert hostile.locator("#vg-tooltip-element").is_visible()
    assert hostile.evaluate("window.hurt") is None
    # nothing of it became an element either
    assert hostile.locator(".answer b, .answer script, img, h1 svg").count() == 0
    assert HOSTILE_RUN in hostile.locator("h1").inner_text()


def test_filters(hostile: "Page") -> None:
    assert len(listed(hostile)) == 5
    choose(hostile, "Flipped")
    assert listed(hostile) == ["lost", HOSTILE_ID, "won"]
    choose(hostile, "Gained")
    assert listed(hostile) == ["won"]
    assert hostile.locator("#count").inner_text() == "1 of 5 prompts"
    choose(hostile, "Lost")
    assert listed(hostile) == ["lost", HOSTILE_ID]
    choose(hostile, "All")
    hostile.get_by_role("combobox", name="Instruction").select_option("keywords:existence")
    assert listed(hostile) == ["both"]


def test_a_filter_that_leaves_nothing_says_so(browser: "Browser", page_file: Path) -> None:
    with opened(browser, page_file) as page:
        beside(page, "timid")
        choose(page, "Flipped")
        assert listed(page) == []
        assert page.locator("#pair").inner_text() == "No prompt is left; widen the filter."
        beside(page, HOSTILE_RUN)
        assert len(listed(page)) == 3


def test_prose_is_filtered_by_what_h_did(hostile: "Page") -> None:
    hostile.get_by_label("Task").select_option("told")
    assert sorted(listed(hostile)) == ["dogs", "mill", "rain"]
    assert not hostile.get_by_role("combobox", name="Instruction").is_visible()
    choose(hostile, "Lost")
    assert sorted(listed(hostile)) == ["mill", "rain"]
    assert "H moved by −" in hostile.locator(".why").inner_text()


def test_failed_instructions_are_named(hostile: "Page") -> None:
    read(hostile, "lost")
    rows = hostile.locator(".verdicts tbody tr")
    assert rows.all_inner_texts() == [f"{NO_COMMA}\tfollowed\tfailed"]
    read(hostile, "both")
    assert rows.nth(1).locator("th").inner_text() == "keywords:existence\nkeywords: dogs"
    assert rows.nth(1).locator("td").all_inner_texts() == ["followed", "followed"]


def test_differences_slop_and_repetition_are_marked(hostile: "Page") -> None:
    read(hostile, "both")
    assert hostile.locator(".side del").all_text_contents() == ["moon"]
    assert hostile.locator(".side ins").all_text_contents() == ["sun"]
    hostile.get_by_label("Task").select_option("told")
    read(hostile, "mill")
    first, second = hostile.locator(".side").all()
    added = set(second.locator(".slop").all_text_contents())
    added -= set(first.locator(".slop").all_text_contents())
    assert added == {"voice was barely above a whisper", "testament", "tapestry"}
    read(hostile, "rain")
    # said once, all of it is said again; the second time begins with the seventh word
    repeated = "".join(second.locator(".repeated").all_text_contents())
    assert repeated == ("It was the end of the day. " * 29).removesuffix(". ")
    assert second.locator(".rates").inner_text().endswith("cut off")


def test_marks_can_be_put_out(hostile: "Page") -> None:
    read(hostile, "both")
    changed = hostile.locator(".side ins")

    def background() -> str:
        return str(changed.evaluate("node => getComputedStyle(node).backgroundColor"))

    clear = "rgba(0, 0, 0, 0)"
    assert background() != clear
    hostile.get_by_label("Differences").uncheck()
    assert background() == clear
    read(hostile, "won")
    read(hostile, "both")
    assert background() == clear


def test_different_texts_are_not_compared_word_by_word(hostile: "Page") -> None:
    hostile.get_by_label("Task").select_option("told")
    read(hostile, "rain")
    assert hostile.locator(".side ins, .side del").count() == 0
    assert "Different texts" in hostile.locator(".toggles").inner_text()


def test_all_of_it_by_keyboard(browser: "Browser", page_file: Path) -> None:
    with opened(browser, page_file) as page:
        beside(page, HOSTILE_RUN)
        page.locator("#list").focus()
        chosen = page.locator('#list [aria-selected="true"] .id')
        names = listed(page)
        page.keyboard.press("ArrowDown")
        assert chosen.inner_text() == names[1]
        page.keyboard.press("End")
        assert chosen.inner_text() == names[-1]
        page.keyboard.press("ArrowDown")
        assert chosen.inner_text() == names[-1]
        page.keyboard.press("Home")
        assert chosen.inner_text() == names[0]
        active = page.locator("#list").get_attribute("aria-activedescendant")
        assert page.locator(f"#{active} .id").inner_text() == names[0]
        # from the list to the buttons, and on without losing the place
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Next"
        page.keyboard.press("Enter")
        assert chosen.inner_text() == names[1]
        assert page.evaluate("document.activeElement.textContent") == "Next"
        page.keyboard.press("Shift+Tab")
        assert page.evaluate("document.activeElement.textContent") == "Previous"
        # the filter's choices answer to the arrows, as radio buttons do
        page.get_by_label("All", exact=True).focus()
        page.keyboard.press("ArrowRight")
        assert page.get_by_label("Flipped", exact=True).is_checked()
        assert page.locator("#count").inner_text() == "3 of 5 prompts"


def test_the_first_tab_skips_to_the_report(browser: "Browser", page_file: Path) -> None:
    with opened(browser, page_file) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
        assert page.locator(".skip").bounding_box()["x"] >= 0  # type: ignore[index]


def test_a_stroke_opens_its_text(hostile: "Page") -> None:
    hostile.locator("#distribution-told-H .mark-rect path").last.click()
    assert hostile.locator("#pair h3").inner_text().startswith("told ")
    assert hostile.evaluate("document.activeElement.id") == "list"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, PHONE])
def test_axe_finds_nothing(
    browser: "Browser", page_file: Path, scheme: str, size: dict[str, int]
) -> None:
    with opened(browser, page_file, color_scheme=scheme, viewport=size) as page:
        beside(page, HOSTILE_RUN)
        for summary in page.locator("summary").all():
            summary.click()
        assert violations(page) == []
        page.get_by_label("Task").select_option("told")
        read(page, "mill")
        assert violations(page) == []


def test_dark_is_dark(browser: "Browser", page_file: Path) -> None:
    def lightness(scheme: str) -> int:
        with opened(browser, page_file, color_scheme=scheme) as page:
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return max(int(part) for part in colour.removeprefix("rgb(").rstrip(")").split(","))

    assert lightness("dark") < 60
    assert lightness("light") > 240


def test_a_phone_scrolls_in_one_direction_only(browser: "Browser", page_file: Path) -> None:
    with opened(browser, page_file, viewport=PHONE) as page:
        for task in ("asked", "told"):
            page.get_by_label("Task").select_option(task)
            assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        first, second = (side.bounding_box() for side in page.locator(".side").all())
        assert first is not None
        assert second is not None
        assert second["y"] > first["y"] + first["height"]


def test_paper_shows_figures_and_texts_and_no_controls(browser: "Browser", page_file: Path) -> None:
    with opened(browser, page_file) as page:
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        folded = page.locator("details.folded")
        assert folded.count() == 2
        assert all(table.is_visible() for table in folded.locator("table").all())
        for gone in ("nav", "#filters", "#list", ".steps"):
            assert not page.locator(gone).first.is_visible()
        assert page.locator(".answer").first.is_visible()
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert folded.locator("table").first.is_hidden()
        assert page.pdf(format="A4").startswith(b"%PDF-")

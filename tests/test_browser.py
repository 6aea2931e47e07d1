"""The page of `ipt report` in a real browser: Debian's Chromium, driven by Playwright.

IPT_BROWSER=required: an error, not a skip, where there is no browser.
"""

import os
import re
import shutil

import pytest
from conftest import hand_made
from playwright.sync_api import Error, expect, sync_playwright

from ipt.cli import app as cli

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
LONG = "x" * 300


def without(why):
    (pytest.fail if os.environ.get("IPT_BROWSER") == "required" else pytest.skip)(
        f"{why}; on Debian: apt-get install chromium"
    )


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        without("no Chromium is installed")
    with sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except Error as error:
            without(f"{CHROMIUM} does not start ({error.message.splitlines()[0]})")
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    groups = {f"task{i}": f"group {i % 4}" for i in range(14)} | {
        "<b>bold</b>": "<i>",
        LONG: "long",
    }
    for seed in (1, 2):
        hand_made(out, groups, {f"new{i}": f"group {i % 3}" for i in range(6)}, seed=seed)
    assert cli.main(["report", "ist-1", "ist-2", "--out", str(out)]) == 0
    return (out / "report.html").as_uri()


@pytest.fixture
def page(browser, address):
    """A page, with what it asked for and complained of."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = context.new_page()
    found.asked, found.said = [], []
    found.on("request", lambda request: found.asked.append(request.url))
    found.on("console", lambda message: found.said.append(message.text))
    found.on("pageerror", lambda error: found.said.append(str(error)))
    found.goto(address)
    yield found
    context.close()


def column(page, table, number):
    return page.locator(f"#{table} tbody tr:visible > :nth-child({number})").all_inner_texts()


def show_all(page, table):
    page.locator(f".box:has(#{table}) + button.all").click()


def test_it_opens_from_disk_and_asks_for_nothing(page, address):
    expect(page.locator("h1")).to_be_visible()
    assert page.asked == [address] and page.said == []
    assert page.locator("svg").count() == 3 + 2 * 5 and page.locator("b, i").count() == 0
    expect(page.locator("html[data-ready]")).to_have_count(1)
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.harm = 1';
            document.head.append(script);
        }"""
    )
    # control: the page's policy runs no script but its own
    assert page.evaluate("window.harm") is None
    assert any("Content Security Policy" in text for text in page.said)


def test_tables_sort_on_a_click_and_by_keyboard(page):
    show_all(page, "table-tasks-1")
    before, header = (
        column(page, "table-tasks-1", 1),
        page.locator("#table-tasks-1 thead th", has_text="recovery"),
    )
    header.locator("button").click()
    place = header.evaluate("cell => cell.cellIndex") + 1
    values = [float(text.split()[0]) for text in column(page, "table-tasks-1", place)]
    assert values == sorted(values) and header.get_attribute("aria-sort") == "ascending"
    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert [float(text.split()[0]) for text in column(page, "table-tasks-1", place)] == sorted(
        values, reverse=True
    )
    missing = page.locator("#table-tasks-1 thead th", has_text="T_test (IST)")
    missing.locator("button").click()
    texts = column(page, "table-tasks-1", missing.evaluate("cell => cell.cellIndex") + 1)
    assert texts[:6] != ["–"] * 6 and set(texts[6:]) == {"–"}  # tasks without the setting come last
    assert sorted(column(page, "table-tasks-1", 1)) == sorted(before)
    assert header.get_attribute("aria-sort") == "none"


def test_tables_filter_by_typing(page):
    field = page.locator('input[data-for="table-tasks-1"]')
    field.fill("NEW")
    assert column(page, "table-tasks-1", 1) == [f"new{i}" for i in range(6)]
    expect(page.locator(".find", has=field).locator("output")).to_have_text("6 of 22 rows")
    assert len(column(page, "table-tasks-2", 1)) == 12  # the other table stays
    field.fill("")
    assert len(column(page, "table-tasks-1", 1)) == 12


def test_a_long_table_shows_twelve_rows_until_all_are_wanted(page):
    first = column(page, "table-tasks-1", 1)
    assert len(first) == 12
    show_all(page, "table-tasks-1")
    assert len(column(page, "table-tasks-1", 1)) == 22
    button = page.locator(".box:has(#table-tasks-1) + button.all")
    expect(button).to_have_attribute("aria-expanded", "true")
    button.click()
    assert column(page, "table-tasks-1", 1) == first
    page.emulate_media(media="print")
    assert len(column(page, "table-tasks-1", 1)) == 22  # paper has no buttons


@pytest.mark.parametrize(
    ("figure", "name", "group"),
    [
        ("codes", "new4", "group 1"),
        ("codes", "<b>bold</b>", "<i>"),
        ("distances", "new4", "group 1"),
    ],
)
def test_pointing_at_a_task_says_its_name(page, figure, name, group):
    points, tip = page.locator(f"#figure-{figure}-1 svg [data-tip]"), page.locator("#tip")
    number = points.evaluate_all(
        "(all, name) => all.findIndex((point) => point.dataset.tip.startsWith(name))", name
    )
    expect(tip).to_be_hidden()
    points.nth(number).dispatch_event("pointerover", {"bubbles": True})
    expect(tip).to_be_visible()
    assert tip.inner_text().startswith(f"{name} · {group} · ")
    assert tip.inner_text().endswith("\u00a0%")
    lit = page.locator(f"#figure-{figure}-1 .same").evaluate_all(
        "all => [...new Set(all.map((point) => point.dataset.group))]"
    )
    assert lit == [group]
    page.locator("h1").hover()
    expect(tip).to_be_hidden()


def test_a_real_pointer_finds_a_bar(page):
    bar = page.locator("#figure-unseen-1 svg [data-tip]").first
    bar.scroll_into_view_if_needed()
    bar.hover()
    expect(page.locator("#tip")).to_contain_text("new")


def test_the_middle_of_a_hollow_mark_is_the_mark(page):
    page.locator("#figure-codes-1").scroll_into_view_if_needed()
    points = page.locator("#figure-codes-1 svg [data-tip]")
    found = """all => all.map(point => {
        const box = point.getBoundingClientRect();
        const there = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        return there !== null && there.closest("[data-tip]") !== null;
    })"""
    assert all(points.evaluate_all(found))
    page.add_style_tag(content="[data-tip] * { pointer-events: visiblePainted !important; }")
    assert not all(points.evaluate_all(found))  # control: unseen tasks are hollow


def test_marks_are_reached_by_keyboard_and_say_their_task(page):
    points, tip = page.locator("#figure-unseen-1 svg [data-tip]"), page.locator("#tip")
    first = page.locator("#figure-unseen-1 svg [tabindex='0']")
    expect(first).to_have_count(1)  # one mark of a figure is in the order of tabs
    first.focus()
    told = [tip.inner_text()]
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
        expect(tip).to_be_visible()
        told.append(tip.inner_text())
    names = [text.split(" · ")[0] for text in told]
    assert names[3] == names[1] and len(set(names[:3])) == 3
    assert set(names) <= {f"new{i}" for i in range(6)}
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == told[3] and points.count() == 6
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_a_tap_says_a_task_and_makes_a_link_to_it(browser, page, address):
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
    phone = context.new_page()
    phone.goto(address)
    point = phone.locator("#figure-codes-1 svg [data-task='new2']")
    point.scroll_into_view_if_needed()
    point.tap()
    expect(phone.locator("#tip")).to_contain_text("new2")
    link = phone.url
    context.close()
    assert link == f"{address}#task=new2"
    page.goto(link)
    page.reload()
    assert page.locator(".found[data-task]").evaluate_all(
        "all => [...new Set(all.map((point) => point.dataset.task))]"
    ) == ["new2"]
    assert page.locator("tr.found th").all_inner_texts() == ["new2", "new2"]
    # control: a task that there is not, and one whose name is no word
    page.evaluate("location.hash = '#task=nothing'")
    expect(page.locator(".found")).to_have_count(0)
    page.evaluate("location.hash = '#task=' + encodeURIComponent('<b>bold</b>')")
    expect(page.locator("tr.found")).to_have_count(2)


def test_the_map_takes_another_colour(page):
    figure = page.locator("#figure-codes-1")
    colours = """figure => [...figure.querySelectorAll('[data-tip] *')]
        .map((mark) => getComputedStyle(mark).stroke)"""
    before = figure.evaluate(colours)
    button = figure.get_by_role("button", name="colour by recovery")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert figure.evaluate(colours) != before
    button.click()
    assert figure.evaluate(colours) == before
    figure.get_by_label("highlight").select_option("group 1")
    lit = figure.locator(".same").evaluate_all(
        "all => [...new Set(all.map((point) => point.dataset.group))]"
    )
    assert lit == ["group 1"]


def test_two_columns_where_there_is_room(page):
    def columns():
        return page.locator("#where ~ .grid figure").evaluate_all(
            "all => new Set(all.map((one) => Math.round(one.getBoundingClientRect().x))).size"
        )

    assert columns() == 2
    page.set_viewport_size({"width": 1000, "height": 800})
    assert columns() == 1  # control


def test_a_command_is_copied_or_selected(page):
    button = page.locator(".command .copy").first
    button.click()
    expect(button).to_have_text(re.compile("copied|selected"))


@pytest.mark.parametrize(
    ("scheme", "ground", "ink"),
    [("light", "rgb(255, 255, 255)", 80), ("dark", "rgb(20, 23, 26)", 180)],
)
def test_both_themes_reach_the_figures(page, scheme, ground, ink):
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
    colours = page.locator("svg text").evaluate_all(
        "all => [...new Set(all.map((text) => getComputedStyle(text).fill))]"
    )
    (colour,) = colours  # every text of every figure
    level = int(colour.removeprefix("rgb(").split(",")[0])
    assert level < ink if scheme == "light" else level > ink


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_nothing_is_wider_than_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.locator(".box").evaluate_all(
        "all => all.map((box) => box.getBoundingClientRect().right)"
    )
    assert max(boxes) <= width
    # what is cut says so, and nothing is a window of its own in the page's height
    told = page.locator(".box").evaluate_all(
        """all => all.filter((box) => box.checkVisibility()).map((box) => {
            const before = box.previousElementSibling;
            const said = before !== null && before.matches('.hint') && !before.hidden;
            return said === (box.scrollWidth > box.clientWidth + 1);
        })"""
    )
    assert told and all(told)
    tall = "all => all.some((box) => box.scrollHeight > box.clientHeight + 1)"
    assert not page.locator(".box").evaluate_all(tall)
    wide = page.locator(".box").evaluate_all(
        "all => all.some((box) => box.scrollWidth > box.clientWidth)"
    )
    assert wide  # control: there is something to scroll inside its box

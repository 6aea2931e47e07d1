"""The page of `ipt report` in a real browser: Debian's Chromium, driven by Playwright.

IPT_BROWSER=required: an error, not a skip, where there is no browser.
"""

import os
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


def test_it_opens_from_disk_and_asks_for_nothing(page, address):
    expect(page.locator("h1")).to_be_visible()
    assert page.asked == [address] and page.said == []
    assert page.locator("svg").count() == 3 + 2 * 5 and page.locator("b, i").count() == 0
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
    assert len(column(page, "table-tasks-2", 1)) == 22  # the other table stays
    field.fill("")
    assert len(column(page, "table-tasks-1", 1)) == 22


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


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.locator(".box").evaluate_all(
        "all => all.map((box) => box.getBoundingClientRect().right)"
    )
    assert max(boxes) <= width
    wide = page.locator(".box").evaluate_all(
        "all => all.some((box) => box.scrollWidth > box.clientWidth)"
    )
    assert wide  # control: there is something to scroll inside its box

"""The explorer's page in a real browser, with a server in this process and without one.

IPT_BROWSER=required: an error, not a skip, where there is no browser.
"""

import re
import shlex
import threading
import time

import pytest
import torch
from playwright.sync_api import expect
from test_browser import browser  # noqa: F401

import ipt
from ipt.cli import app as cli
from ipt.explore.routes import Explorer
from ipt.explore.server import Server
from ipt.run import Run
from ipt.storage import read_tensors

HARM = "<script>window.harm = 1</script> <b>x</b>"


@pytest.fixture(scope="module")
def walk(done):
    return ipt.open_walk(Run(next(done.glob("ist-*"))), device="cpu")


@pytest.fixture(scope="module")
def server(walk):
    with Server(Explorer(walk), 8700) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def page(browser):  # noqa: F811
    """A page, with what it asked for and complained of."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = context.new_page()
    found.asked, found.said = [], []
    found.on("request", lambda request: found.asked.append(request.url))
    found.on("console", lambda message: found.said.append(message.text))
    found.on("pageerror", lambda error: found.said.append(str(error)))
    found.set_default_timeout(30_000)
    yield found
    context.close()


def settled(page):
    """Wait until the page has answered all that it was asked for."""
    page.wait_for_selector('#explore[data-ready="true"]')
    return page


@pytest.fixture
def opened(page, server):
    page.goto(server.address)
    yield settled(page)
    assert page.said == []


def answers(page, column=3):
    """Return the answers in the table of rows, without their signs."""
    texts = page.locator(f"#rows tbody tr td:nth-child({column})").all_inner_texts()
    return [re.sub(r"^[✓✗] ", "", text) for text in texts]


def inputs(page):
    return page.locator("#rows tbody tr td:first-child").all_inner_texts()


def place(page):
    """Return the numbers where the page is, as its Python lines have them."""
    text = page.locator("#as-python").inner_text()
    return [float(number) for number in re.search(r"\[\[(.*)\]\]", text)[1].split(",")]


def expected(walk, name, vector, texts):
    delta = walk.subspace.decode(torch.tensor([vector]))[0]
    found = ipt.answer(walk.experiment, delta, name, texts, walk.max_tokens(name))
    return [text or "(nothing)" for text in found]


def mark(page, name):
    return page.locator(f'#map [data-task="{name}"]')


def test_it_asks_its_own_server_alone_and_says_nothing(opened, server):
    assert opened.asked and all(url.startswith(server.address) for url in opened.asked)
    expect(opened.locator("#about")).to_contain_text("2 numbers a task")
    assert opened.locator("#sliders .slider").count() == 2
    assert opened.locator("#map .task").count() == 5
    assert not opened.locator("#message").is_visible()


def test_the_policy_runs_no_other_script(page, server):
    settled_page = page
    settled_page.goto(server.address)
    settled(settled_page)
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.harm = 1';
            document.head.append(script);
        }"""
    )
    assert page.evaluate("window.harm") is None
    assert any("Content Security Policy" in text for text in page.said)


def test_a_click_on_a_task_shows_its_own_answers(opened, walk):
    for name in (walk.names[0], walk.names[-1]):
        mark(opened, name).click()
        settled(opened)
        expect(opened.locator("#rows-title")).to_have_text(name)
        vector = place(opened)
        assert vector == pytest.approx(walk.code(name).tolist(), abs=1e-4)
        texts = inputs(opened)
        assert len(texts) == 6 or len(texts) == 8
        assert answers(opened) == expected(walk, name, vector, texts)
        tuned = ipt.answer(walk.experiment, ipt.tune(walk.experiment, [name])[0], name, texts, 4)
        assert answers(opened, 4) == [text or "(nothing)" for text in tuned]
        signs = opened.locator("#rows tbody td:nth-child(3) .sign").all_inner_texts()
        wanted = answers(opened, 2)
        right = [one.lower() == want.lower() for one, want in zip(answers(opened), wanted, strict=True)]
        assert [sign == "✓" for sign in signs] == right
    # The way back is the browser's.
    opened.go_back()
    settled(opened)
    expect(opened.locator("#rows-title")).to_have_text(walk.names[0])


def test_a_key_on_a_slider_moves_numbers_map_and_answers(opened, walk):
    name = opened.locator("#rows-title").inner_text()
    before, cross = place(opened), opened.locator("#map .cross").get_attribute("transform")
    opened.locator("#z0").focus()
    for _ in range(20):
        opened.keyboard.press("ArrowRight")
    settled(opened)
    after = place(opened)
    assert after[0] > before[0] and after[1] == before[1]
    assert opened.locator("#map .cross").get_attribute("transform") != cross
    assert answers(opened) == expected(walk, name, after, inputs(opened))
    field = opened.locator("#sliders input[type=number]").first
    assert float(field.input_value()) == pytest.approx(after[0], abs=0.006)
    opened.locator("#z0").dblclick()
    settled(opened)
    assert place(opened)[0] == pytest.approx(float(walk.mean[0]), abs=1e-3)
    field.fill("0.5")
    field.press("Enter")
    settled(opened)
    assert place(opened)[0] == 0.5


def test_the_map_moves_the_cross_by_drag_and_by_keys(opened, walk):
    box = opened.locator("#map svg").bounding_box()
    opened.mouse.move(box["x"] + 20, box["y"] + box["height"] - 20)
    opened.mouse.down()
    opened.mouse.move(box["x"] + 60, box["y"] + 60, steps=4)
    opened.mouse.up()
    settled(opened)
    here = opened.locator("#map .cross").bounding_box()
    assert here["x"] + here["width"] / 2 == pytest.approx(box["x"] + 60, abs=2)
    assert here["y"] + here["height"] / 2 == pytest.approx(box["y"] + 60, abs=2)
    before = place(opened)
    opened.locator("#map svg").focus()
    opened.keyboard.press("ArrowDown")
    settled(opened)
    moved = torch.tensor(place(opened)) - torch.tensor(before)
    assert torch.allclose(moved, -0.1 * walk.directions[1], atol=1e-3)
    opened.keyboard.press("Enter")
    settled(opened)
    name = opened.locator("#rows-title").inner_text()
    assert place(opened) == pytest.approx(walk.code(name).tolist(), abs=1e-4)
    opened.locator("#find").fill(walk.names[2])
    opened.locator("#find").press("Enter")
    settled(opened)
    expect(opened.locator("#rows-title")).to_have_text(walk.names[2])


def test_of_many_quick_moves_the_last_wins_and_few_are_in_flight(opened, server, walk, monkeypatch):
    flying, most, ended = set(), [0], []
    opened.on("request", lambda request: (flying.add(request), most.append(len(flying))))
    opened.on("requestfinished", lambda request: (flying.discard(request), ended.append(request.url)))
    respond = server.explorer.respond

    def slowly(route, body):
        time.sleep(0.03)
        return respond(route, body)

    monkeypatch.setattr(server.explorer, "respond", slowly)
    name = opened.locator("#rows-title").inner_text()
    ready = opened.evaluate(
        """() => {
            const range = document.querySelector('#z0');
            for (let k = 1; k <= 30; k += 1) {
                range.value = Number(range.min) + k * (range.max - range.min) / 31;
                range.dispatchEvent(new Event('input'));
            }
            range.dispatchEvent(new Event('change'));
            return document.querySelector('#explore').dataset.ready;
        }"""
    )
    assert ready == "false"
    settled(opened)
    asked = [url for url in ended if url.endswith("/answers")]
    assert 1 <= len(asked) < 30 and max(most) <= 3
    low, high = (float(opened.locator("#z0").get_attribute(end)) for end in ("min", "max"))
    last = place(opened)
    assert last[0] == pytest.approx(low + 30 * (high - low) / 31, abs=1e-3)
    assert answers(opened) == expected(walk, name, last, inputs(opened))


def test_the_ends_of_a_way_are_the_tasks_own_answers(opened, walk):
    first, second = walk.names[0], walk.names[3]
    opened.locator("#way-from").select_option(first)
    opened.locator("#way-to").select_option(second)
    settled(opened)
    tiles = opened.locator("#way tbody tr:not(.strong)")
    own = []
    for name, cell in ((first, 0), (second, 8)):
        rows = [row.input for row in walk.sets(name).dev]
        own.append(dict(zip(rows, expected(walk, name, walk.code(name).tolist(), rows), strict=True)))
        for line in tiles.all():
            text = line.locator("th .short").first.inner_text()
            if text in own[-1]:
                found = line.locator("td").nth(cell).inner_text()
                assert re.sub(r"^[✓✗] ", "", found) == own[-1][text]
    assert tiles.count() == 6 and len(own) == 2
    # The slider goes to the same places.
    for share, name in ((100, second), (0, first)):
        opened.locator("#way-t").evaluate(
            """(range, share) => {
                range.value = share;
                range.dispatchEvent(new Event('input'));
                range.dispatchEvent(new Event('change'));
            }""",
            share,
        )
        settled(opened)
        assert place(opened) == pytest.approx(walk.code(name).tolist(), abs=1e-4)


def test_a_script_as_ones_own_text_is_text(opened, walk):
    scripts = opened.locator("script").count()
    opened.locator("#text").fill(HARM)
    opened.locator("#text").press("Enter")
    settled(opened)
    assert HARM in opened.locator("#as-command").inner_text()
    opened.locator("#plane-draw").click()
    settled(opened)
    assert HARM in opened.locator("canvas").get_attribute("aria-label")
    assert opened.evaluate("window.harm") is None
    assert opened.locator("script").count() == scripts and opened.locator("b").count() == 0
    # The place is in the address, and the address brings it back.
    again = opened.evaluate("location.href")
    before = place(opened)
    opened.goto("about:blank")
    opened.goto(again)
    settled(opened)
    assert opened.locator("#text").input_value() == HARM and place(opened) == before


def test_ones_own_text_and_the_plane(opened, walk):
    opened.locator("#take").click()
    settled(opened)
    text = opened.locator("#text").input_value()
    name = opened.locator("#rows-title").inner_text()
    assert text == walk.sets(name).dev[0].input
    ((here,),) = walk.answers(torch.tensor([place(opened)]), name, [text], 16)
    assert opened.locator("#answer").inner_text() == (here.text or "(nothing)")
    said = {}
    for line in opened.locator("#everyone tbody tr").all():
        for button in line.locator("button").all_inner_texts():
            said[button] = line.locator("th").inner_text()
    wanted = walk.answers_of_tasks(text, 16)
    assert said == {name: answer.text or "(nothing)" for name, answer in wanted.items()}
    for k, task in enumerate((walk.names[0], walk.names[3], walk.names[4])):
        opened.locator(f"#plane-{k}").select_option(task)
    opened.locator("#plane-draw").click()
    settled(opened)
    expect(opened.locator("#plane-about")).to_have_text("48 × 48 places")
    button = opened.locator("#plane-words button").first
    word = re.sub(r" \d+ %$", "", button.inner_text())
    button.click()
    settled(opened)
    assert opened.locator("#answer").inner_text() == word
    before = place(opened)
    opened.locator("canvas").click(position={"x": 10, "y": 10})
    settled(opened)
    assert place(opened) != before


def test_steps_of_tuning_lead_away_and_undo_leads_back(opened, walk):
    opened.locator("#to-mean").click()
    settled(opened)
    before = place(opened)
    opened.locator("#tune").click()
    settled(opened)
    assert "dev loss" in opened.locator("#tuned").inner_text() and place(opened) != before
    assert len(opened.locator("#map polyline").get_attribute("points").split()) > 1
    opened.locator("#undo").click()
    settled(opened)
    assert place(opened) == before and opened.locator("#undo").is_disabled()


def test_test_rows_are_shown_on_a_button_alone(opened, walk):
    name = opened.locator("#rows-title").inner_text()
    sets = walk.sets(name)
    assert set(inputs(opened)) <= {row.input for row in sets.dev}
    opened.locator("#test").click()
    settled(opened)
    assert set(inputs(opened)) <= {row.input for row in sets.test}
    expect(opened.locator("#rows-about")).to_contain_text("choose no place by them")


def test_a_server_that_is_gone_is_said(page, server, monkeypatch):
    page.goto(f"{server.address}#task=nobody&z=a,b")
    settled(page)

    def gone(route, body):
        raise ValueError("nothing to be had")

    monkeypatch.setattr(server.explorer, "respond", gone)
    page.locator("#to-mean").click()
    settled(page)
    expect(page.locator("#message")).to_have_text("nothing to be had")


def test_what_is_copied_gives_the_same_answer(opened, walk, tmp_path, capsys):
    opened.locator("#to-mean").click()
    opened.locator("#text").fill("-ab 'cd' $HOME ef")
    opened.locator("#text").press("Enter")
    settled(opened)
    answer = opened.locator("#answer").inner_text()
    command, python, folder = (opened.locator(f"#as-{kind}").inner_text() for kind in ("command", "python", "folder"))
    capsys.readouterr()
    program, *words = shlex.split(command)
    assert program == "ipt" and cli.main(words) == 0
    assert capsys.readouterr().out.strip() == answer
    names = {}
    exec(python, names)
    assert capsys.readouterr().out.strip() == answer
    program, *words = shlex.split(folder)
    words[words.index("--to") + 1] = str(tmp_path / "folder")
    assert program == "ipt" and cli.main(words) == 0
    tensors, _ = read_tensors(tmp_path / "folder" / "adapter_model.safetensors")
    (prompt,) = tensors.values()
    assert torch.allclose(prompt.flatten(), names["delta"])


LEAST_LETTERS = 11
CONTRAST = """([text, graphics]) => {
    const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((value) => {
        const share = value / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    const light = (colour) => channels(colour).reduce((sum, value, k) => sum + value * [0.2126, 0.7152, 0.0722][k], 0);
    const contrast = (a, b) => {
        const [dark, bright] = [light(a), light(b)].sort((x, y) => x - y);
        return (bright + 0.05) / (dark + 0.05);
    };
    const ground = getComputedStyle(document.body).backgroundColor;
    const worst = (selector, property) => Math.min(...[...document.querySelectorAll(selector)]
        .map((one) => contrast(getComputedStyle(one)[property], ground)));
    return [worst(text, 'color'), worst(graphics, 'stroke')];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read(page, server, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(server.address)
    settled(page)
    page.locator("#take").click()
    settled(page)
    page.locator("#plane-draw").click()
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ends = page.locator("#explore input, #explore button, #explore select, canvas, svg").evaluate_all(
        "all => all.filter((one) => !one.closest('.box')).map((one) => one.getBoundingClientRect().right)"
    )
    assert max(ends) <= 390
    text = "#explore p, #explore td:not(.tile), #explore th, #explore output, #explore button:not(:disabled)"
    words, graphics = page.evaluate(CONTRAST, [text, "#map .task, #map .cross, .ticks line"])
    assert words >= 4.5 and graphics >= 3
    sizes = page.locator("#explore *").evaluate_all(
        "all => all.filter((one) => one.textContent.trim()).map((one) => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert min(sizes) >= LEAST_LETTERS
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_the_keyboard_reaches_everything(opened):
    opened.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(80):
        opened.keyboard.press("Tab")
        reached.add(opened.evaluate("document.activeElement.id || document.activeElement.closest('[id]')?.id"))
    assert {"find", "map", "z0", "z1", "to-task", "tune", "test", "text", "way-from", "way-t", "plane-draw", "as-python"} <= reached


def test_a_file_shows_stored_answers_without_a_server(page, done, walk, tmp_path, capsys):
    path = tmp_path / "new" / "walk.html"
    path.parent.mkdir()
    # An older page gives way.
    path.write_text("old", encoding="utf8")
    assert cli.main(["explore", "--to", str(path), "--out", str(done)]) == 0
    assert f"written: {path}" in capsys.readouterr().out and path.stat().st_size < 300_000
    page.goto(path.as_uri())
    settled(page)
    assert page.asked == [path.as_uri()] and page.said == []
    for name in (walk.names[-1], walk.names[0]):
        mark(page, name).click()
        settled(page)
        assert answers(page) == expected(walk, name, place(page), inputs(page))
    assert page.locator("#way tbody tr:not(.strong)").count() == 6
    first, second = page.locator("#way-from").input_value(), page.locator("#way-to").input_value()
    assert first in walk.experiment.unseen and second in walk.names
    assert "%" in page.locator("#plane-words").inner_text()
    assert page.locator("#everyone tbody tr").count() > 0
    # Elsewhere it says that it has none.
    page.locator("#z0").focus()
    page.keyboard.press("ArrowRight")
    settled(page)
    expect(page.locator("#score")).to_contain_text("No answers are stored for this place.")
    assert set(answers(page)) == {"–"} and page.locator("#tune").is_disabled()
    assert page.said == []

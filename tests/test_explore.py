"""What the explorer's server answers, and what it refuses; no browser."""

import http.client
import json
import os
import signal
import socket
import threading
from contextlib import contextmanager

import pytest
import torch

import ipt
from ipt.cli import app as cli
from ipt.example import Example
from ipt.explore.page import POLICY
from ipt.explore.requests import MOST_BYTES, read_body
from ipt.explore.routes import Explorer, shown, spaced, typed
from ipt.explore.server import Server
from ipt.run import Run


@pytest.fixture(scope="module")
def explorer(done):
    return Explorer(ipt.open_walk(Run(next(done.glob("ist-*"))), device="cpu"))


@contextmanager
def served(explorer, port=8900):
    with Server(explorer, port) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def server(explorer):
    with served(explorer) as server:
        yield server


def own(server, **more):
    """Return the headers that the page's own questions have."""
    host = f"127.0.0.1:{server.port}"
    return {"host": host, "origin": f"http://{host}", "content-type": "application/json"} | more


def asked(server, route, body, token=None, method="POST", **headers):
    """Return status and record of a question, without a socket."""
    path = f"/{token or server.token}/{route}"
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = server.respond(method, path, own(server, **headers), content)
    return int(reply.status), json.loads(reply.content) if route or reply.status != 200 else reply.content


def test_the_page_knows_the_run(explorer, server):
    status, world = asked(server, "world", {})
    walk = explorer.walk
    assert status == 200 and world["dim"] == 2 and world["run"] == walk.run.folder.name
    assert [task["name"] for task in world["tasks"]] == list(walk.names)
    for place, task in enumerate(world["tasks"]):
        assert task["code"] == pytest.approx(walk.codes[place].tolist(), abs=1e-4)
        condition = "train_same" if task["seen"] else "test"
        assert task["score"] == walk.result.scores[condition][task["name"]].generated
    assert world["start"] == walk.experiment.unseen[0]
    assert [axis["direction"] for axis in world["axes"]] == [[1, 0], [0, 1]]


def test_of_many_numbers_the_principal_directions_have_sliders(explorer, monkeypatch):
    monkeypatch.setattr("ipt.explore.routes.MOST_SLIDERS", 1)
    (axis,) = explorer.world({})["axes"]
    assert axis["name"] == "p1"
    assert axis["direction"] == pytest.approx(explorer.walk.directions[0].tolist(), abs=1e-6)


def test_answers_are_those_of_the_same_numbers(explorer, server):
    walk = explorer.walk
    name = walk.names[-1]
    vector = [0.5, -1.25]
    _, rows = asked(server, "rows", {"task": name, "count": 4})
    status, found = asked(server, "answers", {"task": name, "count": 4, "vector": vector})
    delta = walk.subspace.decode(torch.tensor([vector]))[0]
    texts = [row["input"] for row in rows["rows"]]
    expected = ipt.answer(walk.experiment, delta, name, texts, walk.max_tokens(name))
    assert status == 200 and [one["text"] for one in found["answers"]] == expected
    for row, answer in zip(rows["rows"], found["answers"], strict=True):
        assert answer["right"] == (answer["text"].lower() == row["wanted"].lower())
    assert found["score"] == sum(one["right"] for one in found["answers"]) / 4
    own_delta = ipt.tune(walk.experiment, [name])[0]
    tuned = ipt.answer(walk.experiment, own_delta, name, texts, walk.max_tokens(name))
    assert [row["tuned"]["text"] for row in rows["rows"]] == tuned
    _, scored = asked(server, "score", {"task": name, "vector": vector})
    loss = ipt.dev_loss(walk.experiment, delta[None], name)
    assert scored["loss"] == pytest.approx(float(loss), abs=1e-3)
    assert scored["rows"] == len(walk.sets(name).dev)


def test_test_rows_come_only_when_they_are_asked_for(explorer, server):
    name = explorer.walk.names[0]
    sets = explorer.walk.sets(name)
    for part, rows in (("dev", sets.dev), ("test", sets.test)):
        _, found = asked(server, "rows", {"task": name, "part": part, "count": 64})
        assert [row["input"] for row in found["rows"]] == [example.input for example in rows]
    _, found = asked(server, "rows", {"task": name, "count": 64})
    assert [row["input"] for row in found["rows"]] == [example.input for example in sets.dev]


def test_ones_own_text_is_answered_by_all(explorer, server):
    name = explorer.walk.names[0]
    _, here = asked(server, "text", {"task": name, "text": "a b c", "vector": [0, 0]})
    assert 0 < here["likelihood"] <= 1
    options = explorer.walk.task(name).options or ()
    assert sorted(here["shares"]) == sorted(options)
    _, all_of_them = asked(server, "everyone", {"text": "a b c"})
    said = {}
    for group in all_of_them["groups"]:
        said |= dict.fromkeys(group["tasks"], group["answer"])
    expected = explorer.walk.answers_of_tasks("a b c", 16)
    assert said == {name: answer.text for name, answer in expected.items()}
    sizes = [len(group["tasks"]) for group in all_of_them["groups"]]
    assert sizes == sorted(sizes, reverse=True)


def test_ways_planes_and_steps(explorer, server):
    walk = explorer.walk
    names = [walk.names[0], walk.names[3], walk.names[4]]
    _, way = asked(server, "way", {"tasks": names[:2]})
    assert way["vectors"][0] == pytest.approx(walk.code(names[0]).tolist(), abs=1e-4)
    assert {len(row["answers"]) for row in way["rows"]} == {9}
    _, plane = asked(server, "plane", {"tasks": names, "text": "a b c", "side": 5})
    assert [len(line) for line in plane["cells"]] == [5] * 5
    assert set(sum(plane["cells"], [])) == set(range(len(plane["words"])))
    _, tuned = asked(server, "tune", {"task": names[0], "vector": [2, 2], "steps": 5})
    assert tuned["path"][0] == [2, 2] and len(tuned["path"]) <= 6


BAD = [
    ("answers", {"task": "nobody", "vector": [0, 0]}, "has no code of 'nobody'"),
    ("answers", {"vector": [0, 0]}, "task must be a text"),
    ("answers", {"task": "first", "vector": [0]}, "vector must be a list of 2 numbers, found 1"),
    ("answers", {"task": "first", "vector": [0, "1"]}, "finite numbers of at most"),
    ("answers", b'{"task": "first", "vector": [0, 1e400]}', "finite numbers of at most"),
    ("answers", {"task": "first", "vector": [0, 10**400]}, "finite numbers of at most"),
    ("answers", {"task": "first", "vector": [True, 0]}, "finite numbers of at most"),
    ("answers", b'{"task": "first", "vector": [NaN, 0]}', "NaN is no JSON"),
    ("answers", {"task": "first", "vector": [0, 0], "count": 65}, "whole number from 1 to 64"),
    ("answers", {"task": "first", "vector": [0, 0], "part": "train"}, "one of dev, test"),
    ("text", {"task": "first", "text": "", "vector": [0, 0]}, "text must be a text that is not empty"),
    ("text", {"task": "first", "text": "a" * 9000, "vector": [0, 0]}, "8,000 letters at most"),
    ("text", {"task": "first", "text": "a\ud800", "vector": [0, 0]}, "half a sign"),
    ("text", {"task": "first", "text": "{", "vector": [0, 0]}, "the text: not valid JSON"),
    ("text", {"task": "first", "text": "a", "vector": [0, 0], "tokens": 65}, "from 1 to 64"),
    ("plane", {"tasks": ["first", "first", "first"], "text": "a"}, "span no plane"),
    ("plane", {"tasks": ["first", "last", "late"], "text": "a", "side": 49}, "from 1 to 48"),
    ("way", {"tasks": ["first"]}, "tasks must be a list of 2 names"),
    ("tune", {"task": "first", "vector": [0, 0], "steps": 1000}, "from 1 to 200"),
    ("world", b"[]", "must be a JSON object"),
    ("world", b"{", "no valid JSON"),
    ("world", b"[" * 50_000, "nested too deeply"),
    ("world", b'{"a": 1, "a": 2}', "no valid JSON"),
]


@pytest.mark.parametrize(("route", "body", "says"), BAD)
def test_a_bad_question_is_refused_in_one_line(server, route, body, says):
    status, record = asked(server, route, body)
    assert status == 400 and says in record["error"] and "\n" not in record["error"]


def test_a_body_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="65,536 bytes at most"):
        read_body(b" " * (MOST_BYTES + 1))
    assert read_body(b"") == {}


FOREIGN = [
    ({"host": "evil.example:80"}, 403),
    ({"host": "127.0.0.1"}, 403),
    ({"host": ""}, 403),
    ({"host": "127.0.0.1.evil.example:8900"}, 403),
    ({"origin": "http://evil.example"}, 403),
    ({"origin": "null"}, 403),
    ({"content-type": "text/plain"}, 415),
    ({"host": "localhost:9", "origin": "http://localhost:9"}, 200),  # control: through a tunnel
]


@pytest.mark.parametrize(("headers", "status"), FOREIGN)
def test_other_sites_are_refused(server, headers, status):
    assert asked(server, "world", {}, **headers)[0] == status


def test_a_wrong_token_is_refused(server):
    assert asked(server, "world", {}, token="wrong")[0] == 403
    for path in ("/", "//world", f"/{server.token[:-1]}/world", "/ü/world", ""):
        assert int(server.respond("POST", path, own(server), b"{}").status) == 403
    assert asked(server, "nothing", {})[0] == 404
    assert asked(server, "../explore.js", b"", method="GET")[0] == 404


def test_a_fault_is_told_and_the_server_goes_on(explorer, server, monkeypatch, capsys):
    def broken(body):
        raise RuntimeError("of the program")

    monkeypatch.setitem(explorer.routes, "rows", broken)
    status, record = asked(server, "rows", {})
    assert status == 500 and record["error"] == "a fault of ipt: RuntimeError: of the program"
    assert "of the program" in capsys.readouterr().err
    assert asked(server, "world", {})[0] == 200


def over_socket(server, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, body, headers or {"Content-Type": "application/json"})
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply, content


def test_over_the_socket(server):
    reply, content = over_socket(server, "GET", f"/{server.token}/")
    assert reply.status == 200 and b'id="explore"' in content
    assert reply.getheader("Content-Security-Policy") == POLICY and "unsafe" not in POLICY
    assert over_socket(server, "GET", "/")[0].status == 403
    assert over_socket(server, "GET", f"/{server.token}/", headers={"Host": "evil.example"})[0].status == 403
    path = f"/{server.token}/world"
    assert over_socket(server, "POST", path, b"{}")[0].status == 200
    for length, status in ((MOST_BYTES + 1, 413), ("-1", 411), ("9" * 30, 411)):
        headers = {"Content-Type": "application/json", "Content-Length": str(length)}
        assert over_socket(server, "POST", path, b"", headers)[0].status == status


def test_a_page_that_goes_away_is_no_fault(server, explorer, monkeypatch, capsys):
    def gone(self, reply):
        raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr("ipt.explore.server._Handler._send", gone)
        with pytest.raises(http.client.RemoteDisconnected):
            over_socket(server, "GET", f"/{server.token}/")
    assert capsys.readouterr().err == ""
    assert over_socket(server, "GET", f"/{server.token}/")[0].status == 200


def test_it_listens_on_this_machine_alone_and_a_taken_port_gives_way(explorer, server):
    assert server.server_address[0] == "127.0.0.1"
    with Server(explorer, server.port) as other:
        assert other.port > server.port and other.token != server.token
    with socket.socket() as taken, pytest.raises(ValueError, match="is taken; choose another"):
        taken.bind(("127.0.0.1", 65_535))
        taken.listen()
        Server(explorer, 65_535)


def test_it_ends(explorer):
    with served(explorer) as server:
        port = server.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_rows_of_every_kind_are_shown_and_typed():
    tags = Example("", ("O O",), tokens=("a", "b"))
    span = Example("", ("x",), query="what?", context="a x", spans=((2, 3),))
    pick = Example("a", ("x",), choices=("x", "y"))
    assert [shown(row) for row in (Example("a", ("x",)), tags, span, pick)] == [
        "a", "a b", "what? | a x", "a (x / y)",
    ]  # fmt: skip
    assert typed(Example("a", ("x",))) == "a" and typed(tags) == "a b"
    assert json.loads(typed(span)) == {"query": "what?", "context": "a x"}
    assert json.loads(typed(pick)) == {"input": "a", "choices": ["x", "y"]}
    assert spaced(list(range(10)), 3) == [0, 3, 6] and spaced([1, 2], 5) == [1, 2]


WRONG = [
    (["--port", "0"], "--port must be from 1 to 65535, found 0"),
    (["--to", "page.txt"], "the page is an HTML file"),
    (["nothing-there"], "nothing-there"),
]


@pytest.mark.parametrize(("words", "says"), WRONG)
def test_mistakes_are_told_before_any_work(done, capsys, words, says):
    assert cli.main(["explore", *words, "--out", str(done)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.fixture
def interruptible():
    # Commands that a script starts in the background ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_the_command_serves_until_it_is_interrupted(done, capsys, monkeypatch):
    opened = []

    def visit(address):
        host, _, path = address.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=10)
        connection.request("GET", f"/{path}explore.js")
        opened.append((address, connection.getresponse().status))
        os.kill(os.getpid(), signal.SIGINT)

    # The browser that is opened meets a server that is about to answer.
    monkeypatch.setattr("webbrowser.open", lambda address: threading.Thread(target=visit, args=[address]).start())
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    assert cli.main(["explore", "--out", str(done), "--port", "8950"]) == 0
    said = capsys.readouterr().out.splitlines()
    ((address, status),) = opened
    assert status == 200 and f"open {address}" in said and said[-1] == "ended"
    assert not any("ssh" in line for line in said)
    # On another machine no browser is opened, and the way there is said.
    monkeypatch.setenv("SSH_CONNECTION", "1")
    monkeypatch.setattr("ipt.explore.server.Server.serve_forever", lambda self: opened.append(self.port))
    assert cli.main(["explore", "--out", str(done), "--port", "8950"]) == 0
    port = opened[-1]
    assert f"ssh -L {port}:localhost:{port}" in capsys.readouterr().out and len(opened) == 2

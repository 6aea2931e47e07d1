"""`ipt explore`: a local page to walk in a run with."""

import math
import os
import socket
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ipt.cli.options import Device, Out, RunName
from ipt.run import chosen_run

if TYPE_CHECKING:
    from ipt.explore.routes import Explorer

PORT = "the first port of this machine that is tried; a taken one gives way to the next"
TO = "write the page with answers computed now into this HTML file, and serve nothing"
# What has no default negative: an address is opened or only printed.
NO_BROWSER = "print the address, and open no browser"
LAST_PORT = 65_535
# Of which tasks have codes, the first that there are.
KINDS = ("ist", "msf")


def explore(
    run: RunName = None,
    *,
    out: Out = Path("runs"),
    to: Annotated[Path | None, Parameter(help=TO)] = None,
    port: Annotated[int, Parameter(help=PORT)] = 8765,
    no_browser: Annotated[bool, Parameter(help=NO_BROWSER, negative=())] = False,
    device: Device = "auto",
) -> None:
    """Walk in a run: move its numbers, and see the model's answers change.

    A page on this machine alone, at an address that only you have: sliders, a map of tasks, your
    own text, ways from task to task, planes of answers, steps of tuning. Ctrl-C ends it.
    """
    if not 1 <= port <= LAST_PORT:
        raise ValueError(f"--port must be from 1 to {LAST_PORT}, found {port}")
    if to is not None and to.suffix != ".html":
        raise ValueError(f"--to {to}: the page is an HTML file; name it so, as in {to}.html")
    source = chosen_run(run, out, KINDS)
    if source.result is None:
        raise ValueError(f"{source.folder} is not complete; run its command again to finish it")
    print(f"loading {source.folder.name} …", flush=True)

    from ipt.explore.routes import Explorer
    from ipt.resolve import reopen_experiment
    from ipt.workflows.walk import Walk

    experiment = reopen_experiment(source.config, source.folder.parent, device=device)
    explorer = Explorer(Walk.open(source, experiment))
    if to is None:
        serve(explorer, port, no_browser)
    else:
        store(explorer, to)


def store(explorer: "Explorer", to: Path) -> None:
    """Write the page with stored answers."""
    from ipt.explore.page import single_file
    from ipt.explore.stored import stored_answers
    from ipt.storage import write_atomic

    with explorer.walk.experiment.reporter.bar("answers") as progress:
        stored = stored_answers(explorer, lambda done, total: progress(done, total, math.nan))
    content = single_file(stored)
    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(to, content)
    print(f"written: {to} ({len(content) / 1000:,.0f} kB)")


def serve(explorer: "Explorer", port: int, no_browser: bool) -> None:
    """Serve the page until Ctrl-C."""
    from ipt.explore.server import Server

    with Server(explorer, port) as server:
        print(f"open {server.address}")
        print("Only this machine can, and only with this address; Ctrl-C ends it.")
        if is_remote():
            number = server.port
            host = socket.gethostname()
            print(f"From another machine first: ssh -L {number}:localhost:{number} {host}")
        sys.stdout.flush()
        if not no_browser and not is_remote():
            webbrowser.open(server.address)
        # The way to end it, and no fault.
        with suppress(KeyboardInterrupt):
            server.serve_forever()
        # A question that is being answered ends first: nothing of torch runs on at the exit.
        explorer.finish()
    print("\nended")


def is_remote() -> bool:
    """Return whether no browser can be on this machine's screen."""
    if os.environ.get("SSH_CONNECTION"):
        return True
    has_screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform.startswith("linux") and not has_screen

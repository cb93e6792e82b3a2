"""Chromium: a page of another origin talks to the service, and `/docs` is read."""

import contextlib
import functools
import http.server
import json
import os
import shutil
import socket
import tempfile
import threading

from service import NODE_MODULES, environment, run, serving, simulating
from web import HERE, generated

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"

# An answer that takes some seconds, and one that never comes.
SCRIPT = {
    "turns": [
        {"when": {"user": "story"}, "pace": {"first_ms": 50, "token_ms": 120},
         "answer": {"say": {"items": [{"text": " ".join(f"word{number}" for number in range(31))}]}}},
        {"when": {"user": "never"}, "answer": "hang"},
    ],
}

# How often a watch is cut off, and after how many of its events.
CUTS = 2
EVENTS_BEFORE_A_CUT = 4


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def site(directory):
    """A web server for these files; gives its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=directory))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()


class Breaking:
    """A way to the service that breaks in the middle of an event, as often as it is told to."""

    def __init__(self, address):
        self.target = tuple(address.split(":"))
        self.cuts = 0
        self.cursors = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client):
        with client, socket.create_connection(self.target) as service:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            fields = [line.partition(":") for line in head.decode().split("\r\n")]
            self.cursors += [value.strip() for name, _, value in fields if name.lower() == "last-event-id"]
            service.sendall(head)
            answer, sent = b"", 0
            while piece := service.recv(65536):
                answer += piece
                ends = [place for place in range(len(answer)) if answer.startswith(b"\nid: ", place)]
                if self.cuts < CUTS and len(ends) > EVENTS_BEFORE_A_CUT:
                    self.cuts += 1
                    client.sendall(answer[sent:ends[EVENTS_BEFORE_A_CUT] + len("\nid: ")])
                    return
                client.sendall(answer[sent:])
                sent = len(answer)


def bundle():
    """The page with everything that it needs."""
    into = generated()
    for name in ("page.js", "page.html", "drive.mjs"):
        shutil.copy(os.path.join(HERE, "browser", name), into)
    built = os.path.join(into, "site")
    os.mkdir(built)
    esbuild = os.path.join(NODE_MODULES, ".bin", "esbuild")
    run(esbuild, os.path.join(into, "page.js"), "--bundle", "--format=iife", f"--outfile={built}/page.js")
    shutil.copy(os.path.join(into, "page.html"), built)
    return into, built


@contextlib.contextmanager
def scripted():
    """The environment of a service whose model follows the script."""
    with simulating(SCRIPT) as simulator:
        yield environment(OPENAI_BASE_URL=simulator.base_url)


def check_pages_in_chromium():
    into, built = bundle()
    pictures = os.environ.get("CI_ARTIFACTS") or tempfile.mkdtemp()
    os.makedirs(pictures, exist_ok=True)
    with site(built) as port, scripted() as env, serving(env=env) as service:
        page = f"http://127.0.0.1:{port}"
        breaking = Breaking(service.address)
        with serving(env=environment(ASSISTD_CORS_ORIGINS=page)) as listing:
            places = {
                "chromium": CHROMIUM, "pictures": pictures, "page": f"{page}/page.html",
                "stranger": f"http://localhost:{port}/page.html", "service": service.url,
                "breaking": breaking.url, "listing": listing.url,
            }
            said = run("node", os.path.join(into, "drive.mjs"), json.dumps(places))
        assert said.count("seen: ") == 9, said
        assert breaking.cuts == CUTS, "the connection really broke"
        # Each time, the browser went on after the last event that had come whole.
        expected = [str(EVENTS_BEFORE_A_CUT * cut) for cut in range(1, CUTS + 1)]
        assert breaking.cursors == expected, breaking.cursors
    assert all(os.path.getsize(os.path.join(pictures, name)) > 5_000 for name in ("page.png", "docs.png"))

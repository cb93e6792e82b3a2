"""Clients that watch a run and read nothing: what they cost, that they harm nobody, and how they are dropped."""

import contextlib
import json
import os
import socket
import tempfile
import time

from processes import with_model
from service import curl, get, post, serving, simulating, until

DELTAS = 6000
WATCHES = 1000

# What a watch may cost that nobody reads, its connection and its share of everything included: docs/benchmarks.md.
BOUND_KIB = 512

SCRIPT = {"pace": {"first_ms": 0, "token_ms": 0}, "turns": [
    {"when": {"user": "at length"}, "answer": {"say": {"items": [{"text": ["word "] * DELTAS}]}}},
]}


@contextlib.contextmanager
def long_run(**settings):
    """A service, and a run with many events that is over."""
    with simulating(SCRIPT) as model:
        with serving("--data-dir", tempfile.mkdtemp(), env=with_model(model) | settings) as service:
            thread = post(f"{service.url}/v1/threads", {})[1]["name"]
            post(f"{service.url}/v1/{thread}/messages", {"content": [{"text": "tell me at length"}]})
            run = post(f"{service.url}/v1/{thread}/runs", {})[1]["name"]
            until(lambda: get(f"{service.url}/v1/{run}")[1]["state"] == "RUN_STATE_COMPLETED", service.said)
            yield service, run


def watch(service, run):
    """A connection that asks for the events of a run and takes as little of them as it can."""
    host, port = service.address.split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    # As on a network: on loopback, one segment is 64 KiB, and the system takes megabytes.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
    connection.connect((host, int(port)))
    request = f"GET /v1/{run}:watch HTTP/1.1\r\nhost: {host}\r\naccept: application/x-ndjson\r\nconnection: close\r\n\r\n"
    connection.sendall(request.encode())
    return connection


def everything(connection):
    connection.settimeout(30)
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces).decode()


def replay(service, run, after=0):
    accept = ("-H", "accept: application/x-ndjson")
    body = curl(*accept, f"{service.url}/v1/{run}:watch?afterSequence={after}")[2]
    return [json.loads(line) for line in body.strip().split("\n")]


def memory_kib(service):
    with open(f"/proc/{service.process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def cpu_seconds(service):
    with open(f"/proc/{service.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check_a_client_that_reads_nothing_is_dropped_with_its_place():
    with long_run(ASSISTD_SLOW_WATCHER_LIMIT="2s") as (service, run):
        connection = watch(service, run)
        time.sleep(4)
        told = everything(connection)
        assert "SLOW_CONSUMER" in told and "runCompleted" not in told, told[-2000:]
        error = json.loads(told[told.rindex('{"error"'):].split("\n")[0])["error"]
        [info] = [detail for detail in error["details"] if detail.get("reason") == "SLOW_CONSUMER"]
        last = int(info["metadata"]["last_sequence"])
        assert f'"sequence":"{last}"' in told.replace(" ", ""), last
        rest = replay(service, run, last)
        assert int(rest[0]["sequence"]) == last + 1 and "runCompleted" in rest[-1]


def check_watches_that_nobody_reads_cost_little_and_harm_nobody():
    with long_run(ASSISTD_SLOW_WATCHER_LIMIT="10m") as (service, run):
        started = time.monotonic()
        events = len(replay(service, run))
        alone = time.monotonic() - started
        before = memory_kib(service)
        connections = [watch(service, run) for _ in range(WATCHES)]
        sizes = [before]

        def is_idle():
            used = cpu_seconds(service)
            time.sleep(1)
            sizes.append(memory_kib(service))
            return cpu_seconds(service) - used < 0.1

        until(is_idle, lambda: f"{sizes}")
        each = (sizes[-1] - before) / WATCHES
        started = time.monotonic()
        assert len(replay(service, run)) == events > DELTAS
        among_many = time.monotonic() - started
        print(f"{WATCHES} watches that nobody reads: {each:.1f} KiB each; a replay takes {alone:.2f} s alone, {among_many:.2f} s then")
        assert each < BOUND_KIB, sizes
        assert among_many < 2 * alone + 1, (alone, among_many)
        for connection in connections:
            connection.close()

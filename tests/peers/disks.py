"""A disk that is full and a database that cannot be written: clear errors, nothing acknowledged is lost, and the service
goes on by itself when it can. Needs root, for a small file system of its own and for a file that nobody may change.
"""

import contextlib
import json
import os
import tempfile

from crashes import ENDS
from processes import with_model
from service import Program, curl, get, post, run, serving, simulating, until

WRITING = {"pace": {"first_ms": 0, "token_ms": 100}, "turns": [
    {"when": {"user": "at length"}, "answer": {"say": {"items": [{"text": ["word "] * 40}]}}},
]}


@contextlib.contextmanager
def small_disk():
    folder = tempfile.mkdtemp()
    run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder)
    try:
        yield folder
    finally:
        run("umount", "--lazy", folder)


@contextlib.contextmanager
def slow_model():
    with simulating(WRITING) as model:
        yield with_model(model)


def chat(service, message, **more):
    status, answer = post(f"{service.url}/v1/chat", {"message": message, **more})
    return status, answer


def fill(folder):
    """Leaves no room in it."""
    path = os.path.join(folder, "filler")
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return path


def check_trouble(service, words):
    """Writing fails and says why; reading works."""
    answers = []

    def is_refused():
        answers.append(chat(service, "hi"))
        return answers[-1][0] == 503

    until(is_refused, lambda: f"{answers[-1]}")
    told = json.dumps(answers[-1][1])
    assert "STORE_UNAVAILABLE" in told and any(word in told for word in words), told
    health = until(lambda: (store := get(f"{service.url}/v1/health")[1]["store"])["status"] != "HEALTH_STATUS_HEALTHY" and store)
    assert any(word in health["message"] for word in words), health
    assert curl(f"{service.url}/readyz")[0] == 503
    return [answer for status, answer in answers if status == 200]


def check_well(service):
    until(lambda: chat(service, "hi")[0] == 200, service.said)
    until(lambda: get(f"{service.url}/v1/health")[1]["store"]["status"] == "HEALTH_STATUS_HEALTHY", service.said)
    until(lambda: curl(f"{service.url}/readyz")[0] == 200, service.said)


def check_kept(service, acknowledged):
    for answer in acknowledged:
        status, history = get(f"{service.url}/v1/{answer['thread']}/messages")
        texts = [part["text"] for message in history["messages"] for part in message["content"]]
        assert status == 200 and answer["response"] in texts, (answer, history)


def stream(service, thread):
    """A run that is being watched while its disk fills up, and its name."""
    post(f"{service.url}/v1/{thread}/messages", {"content": [{"text": "tell me at length"}]})
    name = post(f"{service.url}/v1/{thread}/runs", {})[1]["name"]
    watch = Program(["curl", "-sSN", "-H", "accept: application/x-ndjson", f"{service.url}/v1/{name}:watch"])
    watch.wait_for("textDelta")
    return name, watch


def check_trouble_passes(service, folder, trouble, words):
    """`trouble` makes the store fail, and gives what ends that."""
    thread = post(f"{service.url}/v1/threads", {})[1]["name"]
    acknowledged = [chat(service, f"number {index}")[1] for index in range(3)]
    name, watch = stream(service, thread)
    mend = trouble(folder)
    acknowledged += check_trouble(service, words)
    check_kept(service, acknowledged)
    watch.process.wait(60)
    last = watch.said().strip().split("\n")[-1]
    assert "STORE_UNAVAILABLE" in last, f"the stream must not end silently: {watch.said()}"
    mend()
    check_well(service)
    check_kept(service, acknowledged)
    until(lambda: get(f"{service.url}/v1/{name}")[1]["state"] != "RUN_STATE_RUNNING", service.said)
    events = curl("-H", "accept: application/x-ndjson", f"{service.url}/v1/{name}:watch")[2].strip().split("\n")
    assert any(end in events[-1] for end in ENDS), events[-1]
    assert chat(service, "and now?", thread=thread)[0] == 200, "the thread is free"
    return acknowledged


def check_a_full_disk_loses_nothing_and_passes():
    def trouble(folder):
        filler = fill(folder)
        return lambda: os.remove(filler)

    with small_disk() as folder, slow_model() as env:
        with serving("--data-dir", folder, env=env) as service:
            acknowledged = check_trouble_passes(service, folder, trouble, ["full", "input or output"])
        with serving("--data-dir", folder, env=env) as service:
            check_kept(service, acknowledged)


def check_a_database_that_cannot_be_written_loses_nothing_and_passes():
    def trouble(folder):
        # Not SQLite's shared memory: a process that may not write to what it has mapped is killed by the kernel.
        files = [os.path.join(folder, name) for name in os.listdir(folder) if not name.endswith("-shm")]
        run("chattr", "+i", *files)
        return lambda: run("chattr", "-i", *files)

    folder = tempfile.mkdtemp()
    with slow_model() as env:
        with serving("--data-dir", folder, env=env) as service:
            try:
                acknowledged = check_trouble_passes(service, folder, trouble, ["read-only", "input or output"])
            finally:
                run("chattr", "-R", "-i", folder)
        with serving("--data-dir", folder, env=env) as service:
            check_kept(service, acknowledged)

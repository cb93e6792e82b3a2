"""`kill -9` at every step of a run: what a client was told stays true, and nothing happens twice.

The run has a turn with deltas, two calls side by side (one that may be repeated, one that may not), a call that a
person approves, and a second turn. A watcher comes back behind what it has seen, as clients do.

CRASH_ROUNDS    how many rounds (default: 8)
CRASH_SEED      which ones (default: 1); printed with what goes wrong

On SQLite the service starts again on the same directory. On PostgreSQL there are two processes from the start: the one
that carries the run out is killed and the other one goes on, which has been watched, and asked, all the time.
"""

import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
import urllib.request

from cluster import cluster
from processes import with_model
from service import Service, get, kill, mcp_config, post, simulating, until

HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "8"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
LEASE = "1s"

# Those that are shown before they are written; a crash makes them void.
FLEETING = ("textDelta", "reasoningDelta", "toolCallArgumentsDelta", "toolCallProgress", "toolCallStarted", "messageCreated")
ENDS = ("runCompleted", "runFailed", "runCancelled", "runExpired", "runIncomplete")


def call(name, wait_ms):
    return {"call": {"name": f"counting__{name}", "arguments": {"wait_ms": wait_ms}}}


SCRIPT = {
    "pace": {"first_ms": 10, "token_ms": 6},
    "turns": [
        {"when": {"user": "at length"}, "answer": {"say": {"items": [{"text": ["word "] * 1000}]}}},
        {"when": {"output": "done"}, "answer": {"say": {"items": [{"text": ["It ", "is ", "all ", "done."]}]}}},
        {"when": {"user": "go"}, "answer": {"say": {"items": [
            {"text": ["I ", "will ", "do ", "it."]}, call("look", 80), call("send", 60), call("sign", 40),
        ]}}},
    ],
}


def model():
    return simulating(SCRIPT)


class Place:
    """Where one run lives: its store, its tools, and the processes that serve it."""

    def __init__(self, env, store=None, lease=LEASE):
        folder = tempfile.mkdtemp()
        self.counts = os.path.join(folder, "counts")
        open(self.counts, "w").close()
        command = {"command": sys.executable, "args": [os.path.join(HERE, "counting_tools.py"), self.counts]}
        config = mcp_config({"counting": command | {"tool_policies": {"sign": "ask"}}})
        self.arguments = ["--mcp-config", config, *(("--store", store) if store else ("--data-dir", folder))]
        self.env = env | {"ASSISTD_RUN_LEASE": lease}
        self.service = self.start()
        # Where people watch and answer; the run's owner knows of them by the store alone.
        self.other = self.start() if store else None

    @property
    def asked(self):
        return self.other or self.service

    def start(self):
        service = Service(*self.arguments, env=self.env)
        until(lambda: get(f"{service.url}/health")[1]["mcp_connected"], service.said)
        return service

    def crash(self):
        """The owner is gone; another process goes on, and where there are two, one starts again beside it."""
        kill(self.service.process.pid)
        self.service.process.wait()
        self.service = self.start()

    def stop(self):
        for service in filter(None, (self.service, self.other)):
            service.stop()

    def effects(self):
        with open(self.counts) as file:
            return file.read().split()


class Watcher:
    """Reads a run's events to the end, and comes back when the connection breaks; where it is not to break, never."""

    def __init__(self, place, run, service=None):
        self.place, self.run, self.service = place, run, service
        self.seen, self.answered, self.problem = [], set(), None
        self.thread = threading.Thread(target=self.follow, daemon=True)

    def follow(self):
        try:
            while not (self.seen and ended(self.seen[-1])):
                try:
                    self.read((self.service or self.place.service).url)
                    assert ended(self.seen[-1]) or not self.service, f"broken off: {self.seen[-1]}"
                except (OSError, http.client.HTTPException, ValueError):
                    if self.service:
                        raise
                    time.sleep(0.05)
        except BaseException as problem:
            self.problem = problem

    def read(self, url):
        after = self.seen[-1]["sequence"] if self.seen else 0
        path = f"{url}/v1/{self.run}:watch?afterSequence={after}"
        request = urllib.request.Request(path, headers={"accept": "application/x-ndjson"})
        with urllib.request.urlopen(request, timeout=30) as stream:
            for line in stream:
                event = json.loads(line)
                if "error" in event:
                    return
                if "heartbeat" not in event:
                    event["sequence"] = int(event["sequence"])
                    self.seen.append(event)

    def wait_for(self, condition):
        until(lambda: self.problem or condition() or not self.thread.is_alive(), lambda: f"{self.seen}")
        if self.problem:
            raise self.problem


def ended(event):
    return any(end in event for end in ENDS)


def decide(watcher, place):
    """Answers what is asked: approves what is new, and says of what may have happened that it did."""
    for event in list(watcher.seen):
        action = event.get("actionRequired", {}).get("action")
        if not action or action["id"] in watcher.answered:
            continue
        if "unknownOutcome" in action:
            word = {"output": {"content": [{"text": "done, as somebody saw"}]}}
        else:
            word = {"approve": {}}
        answers = [{"actionId": action["id"], "digest": action["digest"], **word}]
        try:
            status, answer = post(f"{place.asked.url}/v1/{watcher.run}:submitActions", {"answers": answers})
        except AssertionError:
            return  # It has died.
        if status == 200:
            watcher.answered.add(action["id"])
        else:
            reason = json.dumps(answer)
            assert "ACTION_NOT_PENDING" in reason or status == 503, reason
            if "ACTION_NOT_PENDING" in reason:
                watcher.answered.add(action["id"])


def finish(watcher, place):
    def is_over():
        decide(watcher, place)
        return watcher.seen and ended(watcher.seen[-1])

    watcher.wait_for(is_over)


def check_told(watcher, replay, effects):
    """What holds however it died. `before` is what had been seen when it did."""
    last, restarts = 0, []
    for event in watcher.seen:
        sequence = event["sequence"]
        if "turnRestarted" in event:
            void = int(event["turnRestarted"]["firstVoidSequence"])
            assert void <= last + 1 <= sequence, (void, last, sequence)
            restarts.append((void, sequence))
        else:
            assert sequence == last + 1, f"a gap: {last}, {sequence}"
        last = sequence
    assert [ended(event) for event in watcher.seen].count(True) == 1 and "runCompleted" in watcher.seen[-1]
    assert len(restarts) <= 1, restarts
    kept = {event["sequence"]: event for event in replay}
    assert len(kept) == len(replay), "a number is there twice"
    for event in watcher.seen:
        sequence = event["sequence"]
        is_void = any(void <= sequence < restart for void, restart in restarts)
        if sequence in kept:
            assert kept[sequence] == event, f"a number is used twice: {kept[sequence]} {event}"
        else:
            assert is_void, f"{event} is missing"
        if is_void:
            assert any(kind in event for kind in FLEETING), f"{event} is void"
    valid = [event for event in replay if not any(void <= event["sequence"] < restart for void, restart in restarts)]
    texts = {}
    for event in valid:
        if "textDelta" in event:
            message = event["textDelta"]["message"]
            texts[message] = texts.get(message, "") + event["textDelta"]["text"]
        if "messageCompleted" in event:
            message = event["messageCompleted"]["message"]
            told = "".join(part.get("text", "") for part in message["content"])
            assert texts.get(message["name"], "") == told, (texts, message)
    assert told == "It is all done.", told
    begun = {event["toolCallStarted"]["toolCall"]["id"] for event in valid if "toolCallStarted" in event}
    answered = [event["toolCallCompleted"]["toolCall"]["id"] for event in valid if "toolCallCompleted" in event]
    assert begun == set(answered) and len(answered) == 3, (begun, answered)
    assert effects.count("send") <= 1 and effects.count("sign") <= 1, effects
    assert effects.count("look") >= 1, effects


def play(env, kill_when, store=None):
    """One run; `kill_when` waits for the moment at which the process is to die."""
    place = Place(env, store)
    watcher = None
    try:
        name = post(f"{place.service.url}/v1/threads", {})[1]["name"]
        post(f"{place.service.url}/v1/{name}/messages", {"content": [{"text": "go"}]})
        status, begun = post(f"{place.service.url}/v1/{name}/runs", {})
        assert status == 200, begun
        watcher = Watcher(place, begun["name"], place.other)
        watcher.thread.start()
        kill_when(watcher, place)
        if kill_when is not never:
            place.crash()
        finish(watcher, place)
        replay = Watcher(place, begun["name"])
        replay.thread.start()
        replay.wait_for(lambda: False)
        check_told(watcher, replay.seen, place.effects())
        history = get(f"{place.service.url}/v1/{name}/messages")[1]["messages"]
        assert len(history) == 4, history
        state = get(f"{place.service.url}/v1/{begun['name']}")[1]["state"]
        assert state == "RUN_STATE_COMPLETED", state
        return watcher.seen
    except BaseException:
        print(place.service.said(), place.asked.said(), watcher and watcher.seen)
        raise
    finally:
        place.stop()


def never(watcher, place):
    pass


def after_event(count):
    def wait(watcher, place):
        def is_there():
            if len(watcher.seen) < count:
                decide(watcher, place)
            return len(watcher.seen) >= count

        watcher.wait_for(is_there)

    return wait


def after_time(seconds):
    def wait(watcher, place):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            decide(watcher, place)
            time.sleep(0.002)

    return wait


def check_deaths(store):
    chance = random.Random(SEED)
    with model() as program:
        env = with_model(program)
        steps = len(play(env, never, store))
        # Every step comes in turn, from a place that the seed chooses; every fourth death is at any time.
        first = chance.randrange(steps)
        for index in range(ROUNDS):
            stride = max(1, steps // ROUNDS)
            step = 1 + (first + index * stride) % (steps - 1)
            moment = after_time(chance.uniform(0, 0.8)) if index % 4 == 3 else after_event(step)
            try:
                play(env, moment, store)
            except BaseException:
                print(f"CRASH_SEED={SEED}, round {index}, after event {step} of {steps}, or at a time: {index % 4 == 3}")
                raise


def check_a_run_survives_kill_9_at_every_step():
    check_deaths(None)


def check_another_process_goes_on_after_kill_9_at_every_step():
    with cluster() as server:
        check_deaths(server.url)

"""Several processes on one PostgreSQL: one that stalls, one that is told to go, what one asks of another, what they cost
when there is nothing to do, and a server that is restarted while they are at work.
"""

import contextlib
import json
import signal
import threading
import time

from cluster import FAST, IMMEDIATE, cluster
from crashes import Place, Watcher, after_event, check_told, ended, finish, model
from processes import with_model
from service import curl, get, post, serving, simulating, until

QUICK = {"pace": {"first_ms": 5, "token_ms": 5}, "turns": [
    {"when": {"user": "note"}, "answer": {"say": {"items": [{"text": ["You ", "are ", "heard."]}]}}},
]}

# How long the server is away, and how long the load goes on before and after.
AWAY_SECONDS = 2
LOAD_SECONDS = 3

IDLE_SECONDS = 10


def begin(place):
    name = post(f"{place.service.url}/v1/threads", {})[1]["name"]
    post(f"{place.service.url}/v1/{name}/messages", {"content": [{"text": "go"}]})
    status, begun = post(f"{place.service.url}/v1/{name}/runs", {})
    assert status == 200, begun
    return begun["name"]


def watching(place, run, service):
    watcher = Watcher(place, run, service)
    watcher.thread.start()
    return watcher


def asks(watcher):
    return any("actionRequired" in event for event in watcher.seen)


@contextlib.contextmanager
def two(lease="1s", **settings):
    """Two processes on a PostgreSQL of their own."""
    with cluster() as server, model() as program:
        place = Place(with_model(program) | settings, server.url, lease)
        try:
            yield place
        except BaseException:
            print(place.service.said(), place.other.said())
            raise
        finally:
            place.stop()


def check_an_owner_that_stalls_lets_the_run_go_and_shows_the_rest():
    for count in (2, 7, 12):
        with two() as place:
            chat = chatting(place.service, {"message": "go"})
            thread = until(lambda: get(f"{place.other.url}/v1/threads")[1].get("threads"))[0]["name"]
            run = until(lambda: get(f"{place.other.url}/v1/{thread}/runs")[1].get("runs"))[0]["name"]
            at_owner, at_other = (watching(place, run, service) for service in (place.service, place.other))
            after_event(count)(at_owner, place)
            place.service.signal(signal.SIGSTOP)
            try:
                at_other.wait_for(lambda: taken_over(place.other, run))
                finish(at_other, place)
            finally:
                place.service.signal(signal.SIGCONT)
            at_owner.wait_for(lambda: False)
            replay = watching(place, run, place.other)
            replay.wait_for(lambda: False)
            for watcher in (at_owner, at_other):
                check_told(watcher, replay.seen, place.effects())
            assert "another process has taken a run over" in until(place.service.said)
            chat.join(30)
            status, answer = chat.answer
            # A Chat that waits is told of what the run asks; one that the run answers meanwhile, of its end.
            assert status == 200 and answer["run"] == run, chat.answer
            assert answer["response"] in ("I will do it.", "It is all done."), answer


def taken_over(service, run):
    return f"run={run.rpartition('/')[2]}" in service.said()


class Chatting(threading.Thread):
    def __init__(self, service, body):
        super().__init__(daemon=True)
        self.service, self.body, self.answer = service, body, None

    def run(self):
        self.answer = post(f"{self.service.url}/v1/chat", self.body)


def chatting(service, body):
    chat = Chatting(service, body)
    chat.start()
    return chat


def check_what_is_asked_of_a_run_elsewhere_is_done():
    with two() as place:
        run = begin(place)
        watcher = watching(place, run, place.service)
        watcher.wait_for(lambda: asks(watcher))
        status, answer = post(f"{place.other.url}/v1/{run}:cancel", {})
        assert status == 200 and answer["state"] == "RUN_STATE_CANCELLED", answer
        watcher.wait_for(lambda: "runCancelled" in watcher.seen[-1])
        # Answers from there: every round of `crashes`.


def check_a_run_whose_owner_stalls_or_dies_is_called_off_elsewhere():
    lease_seconds = 2
    for end in (signal.SIGSTOP, signal.SIGKILL):
        with two(lease=f"{lease_seconds}s") as place:
            thread = post(f"{place.service.url}/v1/threads", {})[1]["name"]
            post(f"{place.service.url}/v1/{thread}/messages", {"content": [{"text": "at length"}]})
            run = post(f"{place.service.url}/v1/{thread}/runs", {})[1]["name"]
            watcher = watching(place, run, place.other)
            watcher.wait_for(lambda: any("textDelta" in event for event in watcher.seen))
            place.service.signal(end)
            try:
                asked = time.monotonic()
                status, answer = post(f"{place.other.url}/v1/{run}:cancel", {})
                took = time.monotonic() - asked
            finally:
                if end == signal.SIGSTOP:
                    place.service.signal(signal.SIGCONT)
            print(f"{end.name}: called off after {took:.2f} s, with a lease of {lease_seconds} s")
            assert status == 200 and answer["state"] == "RUN_STATE_CANCELLED", (end, status, answer)
            # The lease, and what a busy machine takes besides.
            assert took < lease_seconds + 2, (end, took)
            watcher.wait_for(lambda: ended(watcher.seen[-1]))
            assert "runCancelled" in watcher.seen[-1], watcher.seen[-1]
            assert [ended(event) for event in watcher.seen].count(True) == 1
            assert get(f"{place.other.url}/v1/{run}")[1]["state"] == "RUN_STATE_CANCELLED"


def check_one_that_is_told_to_go_leaves_what_waits_at_once():
    # Its other run keeps it for long, and nobody waits for the end of its lease.
    with two(lease="60s", ASSISTD_DRAIN_GRACE="40s") as place:
        run = begin(place)
        watcher = watching(place, run, place.other)
        watcher.wait_for(lambda: asks(watcher))
        hanging = chatting(place.service, {"message": "at length"})
        until(lambda: len(get(f"{place.other.url}/v1/threads")[1]["threads"]) == 2)
        told = time.monotonic()
        place.service.signal(signal.SIGTERM)
        until(lambda: taken_over(place.other, run), place.other.said)
        print(f"taken over {time.monotonic() - told:.2f} s after the other one was told to go")
        assert place.service.process.poll() is None and time.monotonic() - told < 5
        finish(watcher, place)
        replay = watching(place, run, place.other)
        replay.wait_for(lambda: False)
        check_told(watcher, replay.seen, place.effects())
        hanging.join(60)
        assert hanging.answer[0] == 200, hanging.answer


def check_idle_processes_ask_little():
    with cluster(log_statement="all", log_duration="off") as server:
        with serving("--store", server.url), serving("--store", server.url):
            time.sleep(3)
            before = server.server.said()
            time.sleep(IDLE_SECONDS)
            asked = [line for line in server.server.said()[len(before):].split("\n") if "LOG:  " in line]
        each = len(asked) / IDLE_SECONDS / 2
        kinds = {}
        for line in asked:
            words = " ".join(line.partition("LOG:  ")[2].split()[:6])
            kinds[words] = kinds.get(words, 0) + 1
        print(f"an idle process sends {each:.1f} statements a second: {kinds}")
        assert 0 < each < 1, kinds


class Load:
    """Chats, messages and watches, and what was said to each."""

    def __init__(self, services):
        self.services, self.going = services, True
        self.chats, self.messages, self.runs, self.refused, self.problems = [], [], [], [], []
        self.threads = [
            threading.Thread(target=self.repeat, args=(work, services[index % len(services)], index), daemon=True)
            for index, work in enumerate([self.chat, self.chat, self.message, self.message, self.watch, self.watch])
        ]
        for thread in self.threads:
            thread.start()

    def repeat(self, work, service, index):
        count = 0
        while self.going:
            count += 1
            try:
                work(service, f"note {index}-{count}")
            except BaseException as problem:
                self.problems.append(f"{work.__name__}: {problem!r}")
                time.sleep(0.2)

    def asked(self, url, body):
        status, answer = post(url, body)
        if status != 200:
            self.refused.append((status, json.dumps(answer)))
            time.sleep(0.1)
            return None
        return answer

    def chat(self, service, text):
        if answer := self.asked(f"{service.url}/v1/chat", {"message": text}):
            self.chats.append((answer["thread"], text, answer["response"]))

    def message(self, service, text):
        if thread := self.asked(f"{service.url}/v1/threads", {}):
            for part in range(3):
                word = f"{text}-{part}"
                if self.asked(f"{service.url}/v1/{thread['name']}/messages", {"content": [{"text": word}]}):
                    self.messages.append((thread["name"], word))

    def watch(self, service, text):
        thread = self.asked(f"{service.url}/v1/threads", {})
        said = thread and self.asked(f"{service.url}/v1/{thread['name']}/messages", {"content": [{"text": text}]})
        if said and (run := self.asked(f"{service.url}/v1/{thread['name']}/runs", {})):
            self.runs.append(run["name"])
            place = type("Place", (), {"service": service})
            watcher = Watcher(place, run["name"])
            watcher.thread.start()
            watcher.wait_for(lambda: False)
            numbers = [event["sequence"] for event in watcher.seen]
            assert ended(watcher.seen[-1]) and numbers == sorted(set(numbers)), watcher.seen

    def stop(self):
        self.going = False
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "something hangs"


def texts(service, thread):
    messages = get(f"{service.url}/v1/{thread}/messages")[1]["messages"]
    return ["".join(part.get("text", "") for part in message["content"]) for message in messages]


def check_trouble_is_told(service):
    until(lambda: curl(f"{service.url}/readyz")[0] == 503)
    store = get(f"{service.url}/v1/health")[1]["store"]
    assert store["status"] != "HEALTH_STATUS_HEALTHY" and store["message"], store
    status, answer = post(f"{service.url}/v1/threads", {})
    assert status == 503 and "STORE_UNAVAILABLE" in json.dumps(answer), (status, answer)


def is_well(service):
    healthy = get(f"{service.url}/v1/health")[1]["store"]["status"] == "HEALTH_STATUS_HEALTHY"
    return healthy and curl(f"{service.url}/readyz")[0] == 200 and post(f"{service.url}/v1/threads", {})[0] == 200


def check_a_server_that_is_restarted_under_load_loses_nothing():
    with contextlib.ExitStack() as stack:
        program = stack.enter_context(simulating(QUICK))
        server = stack.enter_context(cluster())
        env = with_model(program) | {"ASSISTD_RUN_LEASE": "3s"}
        services = [stack.enter_context(serving("--store", server.url, env=env)) for _ in range(2)]
        load = Load(services)
        for how in (IMMEDIATE, FAST):
            time.sleep(LOAD_SECONDS)
            server.end(how)
            for service in services:
                check_trouble_is_told(service)
            time.sleep(AWAY_SECONDS)
            server.start()
            started = time.monotonic()
            until(lambda: all(map(is_well, services)))
            print(f"all is well {time.monotonic() - started:.2f} s after the server was back")
        time.sleep(LOAD_SECONDS)
        load.stop()
        assert not load.problems, load.problems
        print(f"{len(load.chats)} chats, {len(load.messages)} messages, {len(load.runs)} runs, {len(load.refused)} refused")
        assert load.chats and load.messages and load.runs and load.refused
        strange = [one for one in load.refused if one[0] != 503 or "STORE_UNAVAILABLE" not in one[1]]
        assert not strange, strange
        service = services[0]
        for thread, said, heard in load.chats:
            kept = texts(service, thread)
            assert sorted(kept) == sorted([said, heard]), (thread, said, heard, kept)
        for thread, said in load.messages:
            assert said in texts(service, thread), (thread, said)
        until(lambda: server.ask("SELECT count(*) FROM runs WHERE active OR queued IS NOT NULL") == "0")

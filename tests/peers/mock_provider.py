"""A provider that others wrote: aimock, with fixtures that match only what a right request holds.

Strict: a request that no fixture knows is refused, so an answer can only be right if every request was.
"""

import contextlib
import datetime
import json
import os
import tempfile
import time

from overheard import overheard
from service import NODE_MODULES, environment, get, post, run, running, serving

DIALECTS = ("chat_completions", "responses")
MOCK = os.path.join(NODE_MODULES, ".bin", "llmock")

# What the mock answers, in pieces of 20 characters.
GREETING = "Good day to you, whoever you are, and welcome back."
LONG = GREETING * 4
RETRY_AFTER_SECONDS = 1
SLOW_MS = 120


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


FIXTURES = [
    # The text of a tool's output is nowhere but in what the tool said.
    {"match": {"userMessage": "sum", "toolResultContains": "Result: 1267650600228229401496703205376"},
     "response": {"content": "It has 31 digits."}},
    {"match": {"userMessage": "sum", "hasToolResult": False},
     "response": {"toolCalls": [call("calculate", expression="2**100")]}},
    {"match": {"userMessage": "again", "toolResultContains": "Echo: second"}, "response": {"content": "Twice."}},
    {"match": {"userMessage": "again", "toolResultContains": "Echo: first"},
     "response": {"toolCalls": [call("echo", text="second")]}},
    {"match": {"userMessage": "again", "hasToolResult": False},
     "response": {"content": "I call it.", "toolCalls": [call("echo", text="first")]}},
    {"match": {"userMessage": "busy", "sequenceIndex": 0},
     "response": {"error": {"message": "slow down", "type": "rate_limit_error"}, "status": 429,
                  "retryAfter": RETRY_AFTER_SECONDS}},
    {"match": {"userMessage": "busy"}, "response": {"content": "Now it is your turn."}},
    {"match": {"userMessage": "broken"},
     "response": {"error": {"message": "out of order", "type": "server_error"}, "status": 500}},
    {"match": {"userMessage": "slowly"}, "response": {"content": GREETING}, "latency": SLOW_MS},
    # More than the events before the first text in either dialect, of which Responses has six, with reasoning that only
    # the model reads. Without latency nothing at all would be sent.
    {"match": {"userMessage": "cut"}, "response": {"content": LONG}, "latency": 50, "truncateAfterChunks": 9},
    {"match": {"userMessage": "after all"}, "response": {"content": "Here I am again."}},
    {"match": {"userMessage": "hello"}, "response": {"content": GREETING}},
]


@contextlib.contextmanager
def mocked():
    """The mock, and its address."""
    path = os.path.join(tempfile.mkdtemp(), "fixtures.json")
    with open(path, "w") as file:
        json.dump({"fixtures": FIXTURES}, file)
    command = [MOCK, "--port", "0", "--fixtures", path, "--strict", "--log-level", "info"]
    with running(command, "listening on") as mock:
        url = mock.wait_for(r"listening on (http://\S+)").group(1)
        try:
            yield mock, url
        except BaseException:
            print(mock.said())
            raise


def each_dialect(check):
    """Each has a mock of its own, whose count of matches begins at nothing."""
    for dialect in DIALECTS:
        with mocked() as (mock, url), overheard(url) as asked:
            env = environment(OPENAI_BASE_URL=f"{asked}/v1", ASSISTD_MODEL="mock-1", ASSISTD_MODEL_DIALECT=dialect)
            with serving(env=env) as service:
                check(service, url)
                paths = {entry["path"] for entry in journal(url)}
                assert paths == {f"/v1/{dialect.replace('_', '/')}"}, paths
            assert "STRICT" not in mock.said(), mock.said()


def journal(url):
    """The requests that the mock had."""
    return get(f"{url}/v1/_requests")[1]


def stream(service, message, **more):
    """The events of a StreamChat."""
    body = json.dumps({"message": message} | more)
    said = run(
        "curl", "-sSN", "--max-time", "55", "-H", "content-type: application/json", "-H", "accept: application/x-ndjson",
        "-d", body, f"{service.url}/v1/chat:stream",
    )
    return [json.loads(line) for line in said.strip().split("\n")]


def deltas(events):
    return [event["textDelta"]["text"] for event in events if "textDelta" in event]


def texts(service, thread):
    messages = get(f"{service.url}/v1/{thread}/messages")[1]["messages"]
    return ["".join(part.get("text", "") for part in message["content"]) for message in messages]


def completed(events):
    """The texts of the messages that were completed."""
    messages = [event["messageCompleted"]["message"] for event in events if "messageCompleted" in event]
    return ["".join(part.get("text", "") for part in message.get("content", [])) for message in messages]


def attempts(service, run_name):
    """The attempts of each turn of a run."""
    steps = get(f"{service.url}/v1/{run_name}/steps")[1]["steps"]
    return [step["modelTurn"]["attempts"] for step in steps if "modelTurn" in step]


def check_streams_in_both_dialects():
    def greet(service, url):
        events = stream(service, "hello")
        assert len(deltas(events)) > 1 and "".join(deltas(events)) == GREETING, events
        assert completed(events)[-1] == GREETING and "runCompleted" in events[-1], events
        asked = journal(url)[-1]["body"]
        assert asked["stream"] is True and asked["model"] == "mock-1", asked

    each_dialect(greet)


def check_tool_outputs_reach_the_model():
    def use_tools(service, url):
        for message, turns, answer in (("the sum, please", 2, "It has 31 digits."), ("once, and again", 3, "Twice.")):
            before = len(journal(url))
            events = stream(service, message)
            assert "runCompleted" in events[-1] and completed(events)[-1] == answer, events
            assert len(journal(url)) - before == turns, journal(url)
            outputs = [event["toolCallCompleted"] for event in events if "toolCallCompleted" in event]
            assert len(outputs) == turns - 1, outputs

    each_dialect(use_tools)


def check_one_that_is_busy_is_asked_again_when_it_says():
    def wait(service, url):
        began = time.monotonic()
        events = stream(service, "are you busy?")
        took = time.monotonic() - began
        assert "runCompleted" in events[-1] and "".join(deltas(events)) == "Now it is your turn.", events
        (turn,) = attempts(service, events[-1]["run"])
        results = [(one["result"], one.get("reason"), one.get("httpStatus")) for one in turn]
        assert results[0] == ("MODEL_ATTEMPT_RESULT_FAILED", "RATE_LIMITED", 429), turn
        assert len(turn) == 2 and results[1][0] == "MODEL_ATTEMPT_RESULT_ANSWERED", turn
        waited = float(turn[1]["wait"].removesuffix("s"))
        assert RETRY_AFTER_SECONDS <= waited <= took, (turn, took)

    each_dialect(wait)


def check_one_that_is_broken_is_not_asked_again():
    def fail(service, url):
        events = stream(service, "are you broken?")
        error = json.dumps(events[-1]["runFailed"]["run"]["error"])
        assert "MODEL_UNAVAILABLE" in error, error
        (turn,) = attempts(service, events[-1]["run"])
        assert [(one["reason"], one["httpStatus"]) for one in turn] == [("MODEL_UNAVAILABLE", 500)], turn
        assert len(journal(url)) == 1, journal(url)

    each_dialect(fail)


def check_slow_tokens_are_shown_as_they_come():
    def read(service, url):
        events = stream(service, "tell me slowly")
        assert "".join(deltas(events)) == GREETING, events
        times = [datetime.datetime.fromisoformat(event["eventTime"]) for event in events if "textDelta" in event]
        took = (times[-1] - times[0]).total_seconds()
        assert len(times) > 2 and took >= (len(times) - 1) * SLOW_MS / 1000 / 2, times

    each_dialect(read)


def check_an_answer_that_is_cut_off_is_kept_and_the_thread_goes_on():
    def go_on(service, url):
        events = stream(service, "cut it short")
        partial = "".join(deltas(events))
        assert partial and partial != LONG and LONG.startswith(partial), events
        last = events[-1]
        assert "MODEL_UNAVAILABLE" in json.dumps(last["runFailed"]["run"]["error"]), last
        assert len(journal(url)) == 1, journal(url)
        thread = last["run"].partition("/runs/")[0]
        assert sorted(texts(service, thread)) == sorted(["cut it short", partial]), texts(service, thread)
        status, answer = post(f"{service.url}/v1/chat", {"message": "are you there after all?", "thread": thread})
        assert (status, answer["response"]) == (200, "Here I am again."), answer

    each_dialect(go_on)

"""A real model that writes real text: SmolLM2 on the server of llama.cpp, in both dialects. It calls no tools."""

import os
import sys

from mock_provider import DIALECTS, completed, deltas, stream, texts
from overheard import overheard
from service import Program, environment, free_port, get, post, run, running, serving, until

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "llama_server.py")

LONG_TOKENS = 1500

# It may not end by itself.
ENDLESS = {"extra": {"ignore_eos": True}}


def each_dialect(check):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running([sys.executable, SERVER, str(port)], "it has begun") as model:
        until(lambda: '"ok"' in run("curl", "-sS", "--max-time", "5", f"{url}/health", expect=None), model.said)
        for dialect in DIALECTS:
            with overheard(url) as asked:
                env = environment(OPENAI_BASE_URL=f"{asked}/v1", ASSISTD_MODEL="smollm2", ASSISTD_MODEL_DIALECT=dialect)
                with serving(env=env) as service:
                    check(service, assistant(service), dialect, url)


def assistant(service):
    """The name of an assistant without tools."""
    status, made = post(f"{service.url}/v1/assistants", {"displayName": "Plain", "allowedTools": {}})
    assert status == 200, made
    return made["name"]


def check_its_text_comes_in_pieces_and_is_counted():
    def ask(service, name, dialect, url):
        options, limits = {"temperature": 0, "seed": 1}, {"maxOutputTokens": 200}
        events = stream(service, "Say hello.", assistant=name, options=options, limits=limits)
        assert "runCompleted" in events[-1], events[-1]
        assert len(deltas(events)) > 1 and "".join(deltas(events)) == completed(events)[-1], events
        usage = events[-1]["runCompleted"]["run"]["usage"]
        counted = int(usage["inputTokens"]), int(usage["outputTokens"])
        assert min(counted) > 0 and int(usage["totalTokens"]) == sum(counted), usage

    each_dialect(ask)


def check_it_ends_where_its_tokens_end():
    def ask(service, name, dialect, url):
        limits = {"maxOutputTokens": 16}
        events = stream(service, "Count from one to a hundred.", assistant=name, options=ENDLESS, limits=limits)
        if dialect == "responses":
            # This server says that such an answer is complete.
            ended = events[-1]["runCompleted"]["run"]
        else:
            ended = events[-1]["runIncomplete"]["run"]
            assert ended["incompleteReason"] == "INCOMPLETE_REASON_MAX_TOKENS", ended
        assert int(ended["usage"]["outputTokens"]) == 16, ended
        text = "".join(deltas(events))
        assert text and text in texts(service, ended["name"].partition("/runs/")[0]), events

    each_dialect(ask)


def writes(url, written):
    """Whether the model is at work; how many tokens it has written is added."""
    (slot,) = get(f"{url}/slots")[1]
    written += [token["n_decoded"] for token in slot.get("next_token", [])]
    return slot["is_processing"]


def check_a_run_that_is_called_off_lets_the_model_go():
    def call_off(service, name, dialect, url):
        thread = post(f"{service.url}/v1/threads", {})[1]["name"]
        post(f"{service.url}/v1/{thread}/messages", {"content": [{"text": "Write a very long story about the sea."}]})
        asked = {"assistant": name, "limits": {"maxOutputTokens": LONG_TOKENS}, "options": ENDLESS}
        status, begun = post(f"{service.url}/v1/{thread}/runs", asked)
        assert status == 200, begun
        watch = Program(["curl", "-sSN", "--max-time", "60", f"{service.url}/v1/{begun['name']}:watch"])
        try:
            watch.wait_for("text_delta")
            assert writes(url, [])
            status, ended = post(f"{service.url}/v1/{begun['name']}:cancel", {})
            assert (status, ended["state"]) == (200, "RUN_STATE_CANCELLED"), ended
            # Seen until it is free, and by then far from its end.
            written = [0]
            until(lambda: not writes(url, written), lambda: f"{written[-1]} tokens")
            assert max(written) < LONG_TOKENS / 2, written
            events = stream(service, "Say hello.", assistant=name, limits={"maxOutputTokens": 16})
            assert deltas(events), events
        finally:
            watch.stop()

    each_dialect(call_off)

"""The process itself: starting, stopping, dying, its children and its command line."""

import json
import os
import signal
import tempfile

from service import ASSISTD, Program, Service, assistd, children, environment, get, kill, mcp_config, post, run
from service import serving, simulating, until

HANG = {"items": [{"text": ["one ", "two"]}], "faults": [{"hang": {"deltas": 1}}]}


def hanging_model():
    """A model that begins to answer and then says nothing more."""
    return simulating({"turns": [{"answer": {"say": HANG}}]})


def with_model(program):
    return environment(OPENAI_BASE_URL=program.base_url)


def streaming(service):
    """A StreamChat that has begun, read until it ends."""
    json_body = ("-H", "content-type: application/json", "-d", '{"message": "hi"}')
    stream = Program(["curl", "-sSN", *json_body, f"{service.url}/v1/chat:stream"])
    stream.wait_for("text_delta")
    return stream


def check_a_signal_drains_and_streams_end_with_a_terminal_event():
    with hanging_model() as model:
        service = Service(env=with_model(model) | {"ASSISTD_DRAIN_GRACE": "300ms"})
        stream = streaming(service)
        assert service.stop() == 0
        assert stream.process.wait(10) == 0, stream.said()
        assert "event: run_failed" in stream.said() and "SHUTTING_DOWN" in stream.said(), stream.said()


def check_a_second_signal_ends_at_once():
    with hanging_model() as model:
        service = Service(env=with_model(model) | {"ASSISTD_DRAIN_GRACE": "60s"})
        streaming(service)
        service.signal(signal.SIGTERM)
        service.wait_for("a second signal stops at once")
        service.signal(signal.SIGINT)
        assert service.process.wait(5) == 130


def check_a_dead_tool_server_is_noticed_and_comes_back():
    with serving() as service:
        health = lambda: get(f"{service.url}/health")[1]["mcp_connected"]
        assert health()
        for child in children(service.process.pid):
            kill(child)
        until(lambda: not health())
        assert get(f"{service.url}/v1/health")[1]["status"] == "HEALTH_STATUS_DEGRADED"
        until(health)
        assert post(f"{service.url}/v1/chat", {"message": "what is 6*7?"})[1]["response"].endswith("42")


def check_nothing_is_left_behind():
    for end in (Service.stop, lambda service: kill(service.process.pid)):
        service = Service()
        below = children(service.process.pid)
        assert below
        end(service)
        until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in below))


def check_the_keys_do_not_reach_tool_servers():
    env = environment(OPENAI_API_KEY="sk-not-for-tools", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    with serving(env=env) as service:
        below = children(service.process.pid)
        assert below
        for child in below:
            with open(f"/proc/{child}/environ") as file:
                assert "sk-not-for-tools" not in file.read()


def check_a_configured_model_is_never_simulated():
    with simulating() as model:
        with serving(env=with_model(model)) as service:
            health = get(f"{service.url}/v1/health")[1]["model"]
            assert not health["simulator"] and "SIMULATED" not in service.said(), health
            assert post(f"{service.url}/v1/chat", {"message": "hi"})[1]["response"] == "Mock reply to: hi"


def check_without_a_model_there_is_an_error_and_no_simulator():
    with serving("--no-simulator") as service:
        status, answer = post(f"{service.url}/v1/chat", {"message": "hi"})
        assert status == 400 and "MODEL_NOT_CONFIGURED" in json.dumps(answer), answer
        assert "SIMULATED" not in service.said()


def check_a_bad_configuration_is_explained():
    folder = tempfile.mkdtemp()
    with open(os.path.join(folder, "assistd.toml"), "w") as file:
        file.write('listn = "x"\n')
    said = assistd(cwd=folder, expect=2)
    assert "listn" in said and "`listen`" in said, said
    assert "mcp.json" in assistd("--mcp-config", "mcp.json", cwd=tempfile.mkdtemp(), expect=2)
    broken = mcp_config({"x": {"comand": "y"}})
    said = assistd("--mcp-config", broken, "--listen", "127.0.0.1:0", expect=2)
    assert "comand" in said and "command" in said, said


def check_secrets_are_masked():
    shown = run(ASSISTD, "config", env=environment(OPENAI_API_KEY="sk-very-secret"))
    assert "sk-very-secret" not in shown and "OPENAI_API_KEY" in shown


def check_a_tool_server_that_does_not_exist_stops_nothing():
    with serving("--mcp-config", mcp_config({"gone": {"command": "/does/not/exist"}})) as service:
        assert get(f"{service.url}/health")[1]["mcp_connected"] is False
        assert post(f"{service.url}/v1/chat", {"message": "hi"})[1]["response"] == "Mock reply to: hi"
        assert post(f"{service.url}/mcp/tools", {})[0] == 503


def check_the_command_line_speaks_to_the_service():
    with serving() as service:
        assert "Result: 42" in assistd("chat", "what is 6*7?", service=service)
        said = assistd("chat", service=service, input="echo first\nwhat is 2+2?\n")
        assert "Echo: first" in said and "Result: 4" in said, said
        events = [json.loads(line) for line in assistd("chat", "--json", "hi", service=service).splitlines()]
        assert "runCompleted" in events[-1]
        thread = events[-1]["run"].partition("/runs/")[0]
        again = assistd("chat", "--json", "--thread", thread, "more", service=service)
        assert thread in again
        assert "calculate" in assistd("tools", service=service)
        assert "Result: 1024" in assistd("call", "calculate", '{"expression": "2**10"}', service=service)
        assert assistd("health", service=service)
        assistd("call", "echo", "{}", service=service, expect=1)
    assert "assistd serve" in assistd("health", service=service, expect=1)
    assert "_assistd" in assistd("completions", "bash")

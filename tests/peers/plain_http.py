"""curl: JSON, server-sent events, NDJSON, errors, HTTP/2, the probes, CORS and the legacy paths."""

import json

from service import curl, get, post, run, serving

JSON = ("-H", "content-type: application/json")


def check_json_chat_over_http_1_and_http_2():
    with serving() as service:
        for version in ("--http1.1", "--http2-prior-knowledge"):
            status, answer = post(f"{service.url}/v1/chat", {"message": "what is 6*7?"}, version)
            assert (status, answer["response"]) == (200, "The tool answered: Result: 42"), answer
            assert answer["state"] == "RUN_STATE_COMPLETED" and answer["usage"]["inputTokens"].isdigit()


def check_server_sent_events():
    with serving() as service:
        status, headers, body = curl(*JSON, "-N", "-d", '{"message": "echo hi"}', f"{service.url}/v1/chat:stream")
        assert status == 200 and headers["content-type"].startswith("text/event-stream"), headers
        assert headers["cache-control"] == "no-store" and headers["x-accel-buffering"] == "no", headers
        blocks = [block.split("\n") for block in body.strip().split("\n\n")]
        assert blocks[0] == ["retry: 2000"], blocks[0]
        events = [dict(line.split(": ", 1) for line in block) for block in blocks[1:]]
        assert [event["id"] for event in events] == [str(1 + index) for index in range(len(events))]
        assert events[-1]["event"] == "run_completed"
        for event in events:
            data = json.loads(event["data"])
            assert data["sequence"] == event["id"]


def check_newline_delimited_json():
    with serving() as service:
        accept = ("-H", "accept: application/x-ndjson")
        _, headers, body = curl(*JSON, *accept, "-d", '{"message": "echo hi"}', f"{service.url}/v1/chat:stream")
        assert headers["content-type"].startswith("application/x-ndjson")
        events = [json.loads(line) for line in body.strip().split("\n")]
        text = "".join(event.get("textDelta", {}).get("text", "") for event in events)
        assert text == "The tool answered: Echo: hi" and "runCompleted" in events[-1]


def check_errors_have_the_contracts_form():
    with serving() as service:
        url = service.url
        cases = [
            (404, ("-X", "GET", f"{url}/v1/nope")),
            (405, ("-X", "GET", f"{url}/v1/chat")),
            (415, ("-H", "content-type: text/plain", "-d", "hi", f"{url}/v1/chat")),
            (400, (*JSON, "-d", "{", f"{url}/v1/chat")),
            (400, (*JSON, "-d", '{"mesage": "typo"}', f"{url}/v1/chat")),
            (400, (*JSON, "-d", '{"message": 5}', f"{url}/v1/chat")),
            (404, (*JSON, "-d", '{"message": "x", "thread": "threads/t"}', f"{url}/v1/chat")),
            (413, (*JSON, "-d", "@-", f"{url}/v1/chat")),
            (404, ("-X", "GET", f"{url}/v1/mcp/prompts/none")),
            (504, (*JSON, "-H", "x-server-timeout: 0.000001", "-d", '{"message": "x"}', f"{url}/v1/chat")),
        ]
        for expected, request in cases:
            if expected == 413:
                body = json.dumps({"message": "x" * (5 << 20)})
                said = run("curl", "-sS", "-i", "-H", "expect:", *request, input=body)
                status, answer = int(said.split()[1]), json.loads(said.replace("\r\n", "\n").split("\n\n", 1)[1])
                headers = {}
            else:
                status, headers, text = curl(*request)
                answer = json.loads(text)
            assert status == expected == answer["error"]["code"], (request, status, answer)
            infos = [one for one in answer["error"]["details"] if one["@type"].endswith("google.rpc.ErrorInfo")]
            assert len(infos) == 1 and infos[0]["domain"] == "assistd", answer
            if expected == 405:
                assert "POST" in headers["allow"]


def check_a_tool_call_keeps_integers():
    with serving() as service:
        call = f"{service.url}/v1/tools/echo:call"
        status, answer = post(call, {"arguments": {"text": "hi", "n": 3}})
        assert (status, answer["content"]) == (200, [{"text": "Echo: hi"}]), answer
        status, answer = post(call, '{"arguments": {"text": "hi", "n": 9007199254740993}}')
        assert status == 400 and "2^53" in answer["error"]["message"], answer


def check_probes_and_health():
    with serving(has_own_simulator=True) as service:
        for path in ("/healthz", "/readyz"):
            assert curl(f"{service.url}{path}")[0] == 200
        status, health = get(f"{service.url}/v1/health")
        assert (status, health["status"]) == (200, "HEALTH_STATUS_HEALTHY"), health
        assert health["model"]["simulator"] and "SIMULATED" in service.said()
        status, headers, body = curl("-I", f"{service.url}/v1/health")
        assert status == 200 and body == ""


def check_pages_of_other_origins_may_call_without_credentials():
    with serving() as service:
        origin = ("-H", "origin: https://app.example")
        preflight = ("-X", "OPTIONS", *origin, "-H", "access-control-request-method: POST")
        for path in ("/v1/chat", "/assistant/chat", "/assistant.v1.AssistantService/Chat"):
            status, headers, _ = curl(*preflight, "-H", "access-control-request-headers: x-foo", f"{service.url}{path}")
            assert status in (200, 204) and headers["access-control-allow-origin"] == "*", headers
            assert "access-control-allow-credentials" not in headers
        _, headers, _ = curl(*origin, f"{service.url}/v1/health")
        assert "grpc-status-details-bin" in headers["access-control-expose-headers"]


def check_only_listed_origins_may_call_with_credentials():
    with open_to("https://app.example") as service:
        for origin, is_allowed in (("https://app.example", True), ("https://evil.example", False)):
            _, headers, _ = curl("-H", f"origin: {origin}", f"{service.url}/v1/health")
            assert (headers.get("access-control-allow-origin") == origin) == is_allowed, headers
            if is_allowed:
                assert headers["access-control-allow-credentials"] == "true"


def open_to(origin):
    from service import environment

    return serving(env=environment(ASSISTD_CORS_ORIGINS=origin))


def check_the_paths_of_the_service_that_was_replaced():
    with serving() as service:
        url = service.url
        assert get(f"{url}/health") == (200, {"status": "healthy", "mcp_connected": True})
        status, chat = post(f"{url}/assistant/chat", {"message": "what is 7/2?"})
        assert status == 200 and list(chat) == ["response", "thread_id", "run_id"], chat
        assert chat["response"] == "The tool answered: Result: 3.5"
        status, tools = post(f"{url}/mcp/tools", "not json")
        assert [tool["name"] for tool in tools["tools"]] == ["echo", "calculate"]
        status, answer = post(f"{url}/mcp/call?tool_name=calculate", {"expression": "-7//2 + -7%3"})
        assert answer == {"result": [{"type": "text", "text": "Result: -2"}]}, answer
        assert post(f"{url}/assistant/chat", {})[0] == 422

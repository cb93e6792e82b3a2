"""MCP servers of other people, through the tool, resource and prompt RPCs and Chat.

The model is the simulator: asked to `call TOOL {…}` it does, and its answer quotes what the tool said, so an
answer can only be right if the tool really ran.
"""

import base64
import json
import os
import signal
import tempfile

from service import NODE_MODULES, assistd, children, free_port, get, mcp_config, post, running, serving, until

BIN = os.path.join(NODE_MODULES, ".bin")
EVERYTHING = os.path.join(BIN, "mcp-server-everything")


def ask(service, message):
    status, answer = post(f"{service.url}/v1/chat", {"message": message})
    assert status == 200, answer
    return answer["response"]


def tools(service):
    return {tool["name"] for tool in get(f"{service.url}/v1/tools?pageSize=1000")[1]["tools"]}


def check_everything_over_stdio():
    config = mcp_config({"everything": {"command": EVERYTHING, "args": ["stdio"]}})
    with serving("--mcp-config", config) as service:
        until(lambda: "tools/everything__echo" in tools(service), service.said)
        assert "Echo: over stdio" in ask(service, 'call everything__echo {"message": "over stdio"}')
        assert "sum of 2 and 40 is 42" in ask(service, 'call everything__get-sum {"a": 2, "b": 40}')


def library(service):
    """What the resource and prompt RPCs say of the server `everything`."""
    def listed(what):
        return get(f"{service.url}/v1/mcp/{what}?pageSize=1000&server=everything")[1]

    def read(uri):
        status, answer = get(f"{service.url}/v1/mcp/resources:read?server=everything&uri={uri}")
        return status, answer.get("contents") or answer["error"]["details"][0]["reason"]

    def prompt(name, arguments):
        path = f"{service.url}/v1/mcp/prompts/everything__{name}:get"
        status, answer = post(path, {"arguments": arguments})
        return status, answer.get("messages") or answer["error"]["details"]

    uris = {one["uri"]: one for one in until(lambda: listed("resources")["resources"], service.said)}
    document = "demo://resource/static/document/architecture.md"
    assert uris[document]["mimeType"] == "text/markdown", uris
    templates = {one["uriTemplate"] for one in listed("resourceTemplates")["resourceTemplates"]}
    assert "demo://resource/dynamic/text/{resourceId}" in templates, templates

    status, contents = read(document)
    assert status == 200 and len(contents[0]["text"]) > 100, contents
    status, contents = read("demo://resource/dynamic/text/3")
    assert status == 200 and contents[0]["text"].startswith("Resource 3:"), contents
    status, contents = read("demo://resource/dynamic/blob/2")
    assert base64.b64decode(contents[0]["blob"]).startswith(b"Resource 2:"), contents
    assert read("demo://nowhere") == (404, "RESOURCE_NOT_FOUND")

    prompts = {one["name"]: one for one in listed("prompts")["prompts"]}
    arguments = prompts["prompts/everything__args-prompt"]["arguments"]
    assert [(one["key"], one["required"]) for one in arguments] == [("city", True), ("state", False)], arguments
    status, messages = prompt("args-prompt", {"city": "Bern", "state": "Bern"})
    assert status == 200 and "Bern" in messages[0]["content"]["text"], messages
    status, messages = prompt("resource-prompt", {"resourceType": "Text", "resourceId": "1"})
    assert messages[1]["content"]["resource"]["text"].startswith("Resource 1:"), messages
    status, details = prompt("args-prompt", {"town": "Bern"})
    fields = [one["field"] for detail in details for one in detail.get("fieldViolations", [])]
    assert (status, fields) == (400, ['arguments["city"]', 'arguments["town"]']), details

    parts = [{"resource": {"server": "everything", "uri": "demo://resource/dynamic/text/7"}}]
    status, answer = post(f"{service.url}/v1/chat", {"message": "what is this?", "parts": parts})
    assert status == 200 and "Resource 7:" in answer["response"], answer


def check_everything_has_resources_and_prompts_over_stdio():
    config = mcp_config({"everything": {"command": EVERYTHING, "args": ["stdio"]}})
    with serving("--mcp-config", config) as service:
        library(service)
        assert "architecture.md" in assistd("resources", service=service)
        assert "Resource 3:" in assistd("resources", "--of", "everything", "demo://resource/dynamic/text/3", service=service)
        assert "everything__args-prompt" in assistd("prompts", service=service)
        assert "user: What's weather in Bern?" in assistd("prompts", "everything__args-prompt", "city=Bern", service=service)


def check_everything_has_resources_and_prompts_over_streamable_http():
    port = free_port()
    with running(["env", f"PORT={port}", EVERYTHING, "streamableHttp"], "listening|running"):
        config = mcp_config({"everything": {"url": f"http://127.0.0.1:{port}/mcp"}})
        with serving("--mcp-config", config) as service:
            library(service)


def check_everything_over_streamable_http_goes_and_comes_back():
    port = free_port()
    command = ["env", f"PORT={port}", EVERYTHING, "streamableHttp"]
    config = mcp_config({
        "everything": {"url": f"http://127.0.0.1:{port}/mcp"},
        "time": {"command": "mcp-server-time", "args": []},
    })
    with serving("--mcp-config", config) as service:
        with running(command, "listening|running"):
            until(lambda: "tools/everything__echo" in tools(service), service.said)
            assert "Echo: over http" in ask(service, 'call everything__echo {"message": "over http"}')
        # A call finds out that it is gone before the next sign of life would.
        post(f"{service.url}/v1/tools/everything__echo:call", {"arguments": {"message": "gone?"}})
        until(lambda: "tools/everything__echo" not in tools(service), service.said)
        assert "tools/time__get_current_time" in tools(service)
        health = get(f"{service.url}/v1/health")[1]
        states = {server["name"]: server for server in health["mcpServers"]}
        assert states["everything"]["status"] == "HEALTH_STATUS_UNHEALTHY" and states["everything"]["message"], states
        assert health["status"] == "HEALTH_STATUS_DEGRADED"
        with running(command, "listening|running"):
            until(lambda: "tools/everything__echo" in tools(service), service.said)
            assert "Echo: again" in ask(service, 'call everything__echo {"message": "again"}')


def asked_by_a_server(service):
    """A question of a server is put to a person in a run, and put away outside of any."""
    tool = "everything__trigger-elicitation-request"
    until(lambda: f"tools/{tool}" in tools(service), service.said)
    status, answer = post(f"{service.url}/v1/tools/{tool}:call", {"arguments": {}})
    assert status == 200 and '"cancel"' in json.dumps(answer).replace("\\", ""), answer

    status, answer = post(f"{service.url}/v1/chat", {"message": f"call {tool} {{}}"})
    assert status == 200, answer
    (action,) = answer["pendingActions"]
    assert action["elicitation"]["server"] == "everything", action
    assert "name" in action["elicitation"]["requestedSchema"]["required"], action
    url = f"{service.url}/v1/{answer['run']}"

    def submit(content):
        reply = {"action": "ELICITATION_ACTION_ACCEPT", "content": content}
        answers = [{"actionId": action["id"], "digest": action["digest"], "elicitation": reply}]
        return post(f"{url}:submitActions", {"answers": answers})

    status, refused = submit({"name": 7})
    fields = [one["field"] for detail in refused["error"]["details"] for one in detail.get("fieldViolations", [])]
    assert (status, fields) == (400, ["answers[0].elicitation.content"]), refused
    assert submit({"name": "Ada"})[0] == 200
    until(lambda: get(url)[1]["state"] == "RUN_STATE_COMPLETED", service.said)
    assert submit({"name": "Ada"})[0] == 200, "the same answer again changes nothing"
    assert "Name: Ada" in json.dumps(get(f"{url}/steps")[1]), get(f"{url}/steps")


def asking_the_model(service):
    """A server asks the model during a call, once a person lets it; the answer is what the simulator says."""
    tool = "everything__trigger-sampling-request"
    until(lambda: f"tools/{tool}" in tools(service), service.said)
    status, answer = post(f"{service.url}/v1/chat", {"message": f'call {tool} {{"prompt": "a riddle", "maxTokens": 50}}'})
    assert status == 200, answer
    (action,) = answer["pendingActions"]
    assert "a riddle" in action["sampling"]["prompt"] and action["sampling"]["maxTokens"] == "50", action
    url = f"{service.url}/v1/{answer['run']}"
    approve = {"answers": [{"actionId": action["id"], "approve": {}}]}
    assert post(f"{url}:submitActions", approve)[0] == 200
    until(lambda: get(url)[1]["state"] == "RUN_STATE_COMPLETED", service.said)
    steps = get(f"{url}/steps")[1]
    assert "LLM sampling result" in json.dumps(steps) and "a riddle" in json.dumps(steps), steps
    turns = [step["modelTurn"]["usage"] for step in steps["steps"] if "modelTurn" in step]
    assert int(get(url)[1]["usage"]["inputTokens"]) > sum(int(usage["inputTokens"]) for usage in turns)


def check_everything_asks_the_model_over_stdio():
    entry = {"command": EVERYTHING, "args": ["stdio"], "sampling": {"allow": "ask", "max_tokens": 200}}
    with serving("--mcp-config", mcp_config({"everything": entry})) as service:
        asking_the_model(service)


def check_everything_asks_the_model_over_streamable_http():
    port = free_port()
    with running(["env", f"PORT={port}", EVERYTHING, "streamableHttp"], "listening|running"):
        entry = {"url": f"http://127.0.0.1:{port}/mcp", "sampling": {"allow": "ask"}}
        with serving("--mcp-config", mcp_config({"everything": entry})) as service:
            asking_the_model(service)


def check_a_person_answers_a_question_of_everything_over_stdio():
    config = mcp_config({"everything": {"command": EVERYTHING, "args": ["stdio"], "roots": ["/srv/files"]}})
    with serving("--mcp-config", config) as service:
        asked_by_a_server(service)
        listed = post(f"{service.url}/v1/tools/everything__get-roots-list:call", {"arguments": {}})[1]
        assert "file:///srv/files" in json.dumps(listed), listed
        links = {"arguments": {"count": 2}}
        links = post(f"{service.url}/v1/tools/everything__get-resource-links:call", links)[1]
        assert links["content"][1]["resourceLink"]["description"].startswith("Resource 1"), links


def check_a_person_answers_a_question_of_everything_over_streamable_http():
    port = free_port()
    with running(["env", f"PORT={port}", EVERYTHING, "streamableHttp"], "listening|running"):
        config = mcp_config({"everything": {"url": f"http://127.0.0.1:{port}/mcp"}})
        with serving("--mcp-config", config) as service:
            asked_by_a_server(service)


def check_servers_come_and_go_with_their_file():
    time = {"command": "mcp-server-time", "args": []}
    config = mcp_config({"time": time})
    with serving("--mcp-config", config) as service:
        until(lambda: "tools/time__convert_time" in tools(service), service.said)

        def rewrite(text):
            with open(config, "w") as file:
                file.write(text)

        rewrite(json.dumps({"mcpServers": {"time": time, "more": {**time, "allowed_tools": ["get_*"]}}}))
        until(lambda: "tools/more__get_current_time" in tools(service), service.said)
        assert "tools/more__convert_time" not in tools(service)
        rewrite("{")
        service.signal(signal.SIGHUP)
        until(lambda: get(f"{service.url}/v1/health")[1]["mcpConfigurationProblem"], service.said)
        assert get(f"{service.url}/v1/health")[1]["status"] == "HEALTH_STATUS_DEGRADED"
        assert "tools/more__get_current_time" in tools(service)
        rewrite(json.dumps({"mcpServers": {"more": {**time, "disabled": True}, "time": time}}))
        until(lambda: "tools/more__get_current_time" not in tools(service), service.said)
        assert not get(f"{service.url}/v1/health")[1]["mcpConfigurationProblem"]
        shown = assistd("tools", "--servers", service=service)
        assert "more  disabled" in shown and "time  ready" in shown, shown


def check_no_server_is_left_when_the_service_is_killed():
    config = mcp_config({
        "everything": {"command": EVERYTHING, "args": ["stdio"]},
        "time": {"command": "mcp-server-time", "args": []},
    })
    with serving("--mcp-config", config) as service:
        until(lambda: "tools/everything__echo" in tools(service), service.said)
        until(lambda: "tools/time__convert_time" in tools(service), service.said)
        started = children(service.process.pid)
        assert len(started) >= 2, started
        service.signal(signal.SIGKILL)
        until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in started), lambda: str(started))


def check_the_filesystem_is_really_written():
    folder = os.path.realpath(tempfile.mkdtemp())
    config = mcp_config({"files": {"command": os.path.join(BIN, "mcp-server-filesystem"), "args": [folder]}})
    with serving("--mcp-config", config) as service:
        until(lambda: "tools/files__write_file" in tools(service), service.said)
        path = os.path.join(folder, "note.txt")
        ask(service, f'call files__write_file {{"path": "{path}", "content": "from a chat"}}')
        with open(path) as file:
            assert file.read() == "from a chat"
        assert "from a chat" in ask(service, f'call files__read_text_file {{"path": "{path}"}}')


def check_a_server_from_python_tells_the_time():
    config = mcp_config({"time": {"command": "mcp-server-time", "args": ["--local-timezone", "Etc/UTC"]}})
    with serving("--mcp-config", config) as service:
        until(lambda: "tools/time__convert_time" in tools(service), service.said)
        asked = '{"source_timezone": "Etc/UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}'
        assert "21:00" in ask(service, f"call time__convert_time {asked}")


def check_a_prefix_names_tools_otherwise():
    config = mcp_config({"time": {"command": "mcp-server-time", "args": [], "prefix": "t_"}})
    with serving("--mcp-config", config) as service:
        until(lambda: "tools/t_convert_time" in tools(service), service.said)

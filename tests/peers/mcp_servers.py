"""MCP servers of other people, through ListTools and Chat.

The model is the simulator: asked to `call TOOL {…}` it does, and its answer quotes what the tool said, so an
answer can only be right if the tool really ran.
"""

import os
import tempfile

from service import NODE_MODULES, free_port, get, mcp_config, post, running, serving, until

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

"""Tools of other people's MCP servers by every way to a tool: CallTool, Chat, and a stream of events.

The model is the simulator, as in mcp_servers.py, and quotes what a tool said.
"""

import contextlib
import json
import os
import tempfile

from mcp_servers import BIN, EVERYTHING, ask, tools
from service import curl, free_port, get, mcp_config, post, run, running, serving, until


@contextlib.contextmanager
def with_server(name, entry, tool):
    """A service with one MCP server, once it has this tool."""
    with serving("--mcp-config", mcp_config({name: entry})) as service:
        until(lambda: f"tools/{name}__{tool}" in tools(service), service.said)
        yield service


def call(service, tool, arguments):
    status, answer = post(f"{service.url}/v1/tools/{tool}:call", {"arguments": arguments})
    assert status == 200, answer
    assert not answer.get("isError"), answer
    return answer


def text(answer):
    return "".join(part.get("text", "") for part in answer["content"])


def has_no_library(service, server):
    """A server without resources and prompts has empty lists, and reading there names what is missing."""
    for what in ("resources", "resourceTemplates", "prompts"):
        status, listed = get(f"{service.url}/v1/mcp/{what}?server={server}")
        assert status == 200 and not listed.get(what), listed
    status, refused = get(f"{service.url}/v1/mcp/resources:read?server={server}&uri=memo://nothing")
    assert status == 404 and refused["error"]["details"][0]["reason"] == "RESOURCE_NOT_FOUND", refused


def check_the_memory_server_remembers():
    memory = os.path.join(tempfile.mkdtemp(), "memory.jsonl")
    entry = {"command": os.path.join(BIN, "mcp-server-memory"), "args": [], "env": {"MEMORY_FILE_PATH": memory}}
    with with_server("memory", entry, "create_entities") as service:
        ada = {"name": "Ada", "entityType": "person", "observations": ["writes programs"]}
        created = call(service, "memory__create_entities", {"entities": [ada]})
        assert created["structuredContent"] == {"entities": [ada]}, created
        more = {"observations": [{"entityName": "Ada", "contents": ["plays chess"]}]}
        assert "plays chess" in ask(service, f"call memory__add_observations {json.dumps(more)}")
        graph = call(service, "memory__read_graph", {})["structuredContent"]
        assert graph["entities"][0]["observations"] == ["writes programs", "plays chess"], graph
        status, refused = post(f"{service.url}/v1/tools/memory__create_entities:call", {"arguments": {"entities": "Ada"}})
        assert status == 200 and refused["isError"] and "array" in text(refused), refused
        uri = "memory://knowledge-graph"
        assert [one["uri"] for one in get(f"{service.url}/v1/mcp/resources?server=memory")[1]["resources"]] == [uri]
        read = get(f"{service.url}/v1/mcp/resources:read?server=memory&uri={uri}")[1]["contents"][0]
        assert "plays chess" in read["text"], read
        attached = {"message": "what is known?", "parts": [{"resource": {"server": "memory", "uri": uri}}]}
        assert "plays chess" in post(f"{service.url}/v1/chat", attached)[1]["response"]
    with open(memory) as file:
        assert "plays chess" in file.read()


def check_the_git_server_commits():
    folder = tempfile.mkdtemp()
    run("git", "init", "-q", "-b", "main", folder)
    run("git", "-C", folder, "config", "user.name", "Ada")
    run("git", "-C", folder, "config", "user.email", "ada@example.com")
    with open(os.path.join(folder, "note.txt"), "w") as file:
        file.write("first\n")
    entry = {"command": "mcp-server-git", "args": ["--repository", folder]}
    with with_server("git", entry, "git_commit") as service:
        assert "note.txt" in text(call(service, "git__git_status", {"repo_path": folder}))
        call(service, "git__git_add", {"repo_path": folder, "files": ["note.txt"]})
        commit = {"repo_path": folder, "message": "Write a note"}
        assert "committed" in ask(service, f"call git__git_commit {json.dumps(commit)}")
        assert "Write a note" in text(call(service, "git__git_log", {"repo_path": folder}))
        elsewhere = {"repo_path": tempfile.mkdtemp()}
        status, refused = post(f"{service.url}/v1/tools/git__git_status:call", {"arguments": elsewhere})
        assert status == 200 and refused["isError"], refused
        has_no_library(service, "git")
    assert run("git", "-C", folder, "log", "--format=%s").strip() == "Write a note"


def check_the_filesystem_server_is_called():
    folder = os.path.realpath(tempfile.mkdtemp())
    entry = {"command": os.path.join(BIN, "mcp-server-filesystem"), "args": [folder]}
    with with_server("files", entry, "write_file") as service:
        path = os.path.join(folder, "note.txt")
        call(service, "files__write_file", {"path": path, "content": "from a call"})
        with open(path) as file:
            assert file.read() == "from a call"
        read = call(service, "files__read_text_file", {"path": path})
        assert text(read) == "from a call" and read["structuredContent"] == {"content": "from a call"}, read
        status, refused = post(
            f"{service.url}/v1/tools/files__read_text_file:call", {"arguments": {"path": "/etc/hostname"}},
        )
        assert status == 200 and refused["isError"] and "denied" in text(refused), refused
        has_no_library(service, "files")


def check_the_time_server_is_called():
    entry = {"command": "mcp-server-time", "args": ["--local-timezone", "Etc/UTC"]}
    with with_server("time", entry, "convert_time") as service:
        asked = {"source_timezone": "Etc/UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        assert "21:00" in text(call(service, "time__convert_time", asked))
        has_no_library(service, "time")


def events(service, message):
    """What a chat streams, event by event."""
    headers = ("-H", "content-type: application/json", "-H", "accept: text/event-stream")
    body = json.dumps({"message": message})
    status, _, streamed = curl(*headers, "-N", "-d", body, f"{service.url}/v1/chat:stream")
    assert status == 200, streamed
    return [json.loads(line.removeprefix("data:")) for line in streamed.split("\n") if line.startswith("data:")]


def everything_is_told(service):
    """Progress as it happens, and output as data, of the server `everything`."""
    seen = events(service, 'call everything__trigger-long-running-operation {"duration": 0.5, "steps": 5}')
    reports = [event["toolCallProgress"] for event in seen if "toolCallProgress" in event]
    # Reports are dropped rather than waited for, so that the last may be missing, and never come after the end.
    steps = [report["progress"] for report in reports]
    assert steps and steps == sorted(set(steps)) and steps[0] == 1 and {report["total"] for report in reports} == {5}, seen
    ended = next(index for index, event in enumerate(seen) if "toolCallCompleted" in event)
    assert max(index for index, event in enumerate(seen) if "toolCallProgress" in event) < ended, seen
    assert "Long running operation completed" in json.dumps(seen[ended:]), seen

    weather = call(service, "everything__get-structured-content", {"location": "Chicago"})
    assert weather["structuredContent"]["conditions"] == "Light rain / drizzle", weather
    answer = ask(service, 'call everything__get-structured-content {"location": "New York"}')
    assert "Cloudy" in answer, answer
    image = call(service, "everything__get-tiny-image", {})
    assert [part["image"]["mimeType"] for part in image["content"] if "image" in part] == ["image/png"], image


def check_everything_tells_its_progress_over_stdio():
    with with_server("everything", {"command": EVERYTHING, "args": ["stdio"]}, "get-structured-content") as service:
        everything_is_told(service)


def check_everything_tells_its_progress_over_streamable_http():
    port = free_port()
    with running(["env", f"PORT={port}", EVERYTHING, "streamableHttp"], "listening|running"):
        entry = {"url": f"http://127.0.0.1:{port}/mcp"}
        with with_server("everything", entry, "get-structured-content") as service:
            everything_is_told(service)

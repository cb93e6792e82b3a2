"""grpcurl and buf curl, which know the contract only from the service."""

import json

from service import run, serving

SERVICE = "assistant.v1.AssistantService"


def grpcurl(service, *arguments, expect=0):
    """Its options come before the address, what to do there after it."""
    *options, verb = arguments
    return run("grpcurl", "-plaintext", *options, service.address, *verb.split(), expect=expect)


def check_grpcurl_lists_and_describes():
    with serving() as service:
        listed = grpcurl(service, "list").split()
        for name in (SERVICE, "assistant.v1.RunService", "grpc.health.v1.Health"):
            assert name in listed, listed
        described = grpcurl(service, f"describe {SERVICE}.Chat")
        assert "ChatRequest" in described and "/v1/chat" in described, described


def check_grpcurl_chats():
    with serving() as service:
        answer = json.loads(grpcurl(service, "-d", '{"message": "what is 6*7?"}', f"{SERVICE}/Chat"))
        assert answer["response"] == "The tool answered: Result: 42"
        streamed = grpcurl(service, "-d", '{"message": "echo hi"}', f"{SERVICE}/StreamChat")
        assert "runCompleted" in streamed and '"sequence": "1"' in streamed


def check_grpcurl_shows_errors_with_details():
    with serving() as service:
        said = grpcurl(service, "-d", '{"message": "x", "thread": "threads/no"}', f"{SERVICE}/Chat", expect=None)
        assert "NotFound" in said and "THREAD_NOT_FOUND" in said, said


def check_grpcurl_sees_the_service_healthy():
    with serving() as service:
        for name in ("", SERVICE):
            answer = grpcurl(service, "-d", json.dumps({"service": name}), "grpc.health.v1.Health/Check")
            assert json.loads(answer) == {"status": "SERVING"}


def check_buf_curl_over_grpc_and_grpc_web():
    with serving() as service:
        for protocol in ("grpc", "grpcweb"):
            url = f"{service.url}/{SERVICE}"
            curl = ("buf", "curl", "--protocol", protocol, "--http2-prior-knowledge")
            answer = json.loads(run(*curl, "-d", '{"message": "echo hi"}', f"{url}/Chat"))
            assert answer["response"] == "The tool answered: Echo: hi", answer
            streamed = run(*curl, "-d", '{"message": "echo hi"}', f"{url}/StreamChat")
            assert "runCompleted" in streamed, streamed
            refused = run(*curl, "-d", "{}", f"{url}/Chat", expect=None)
            assert "invalid_argument" in refused, refused

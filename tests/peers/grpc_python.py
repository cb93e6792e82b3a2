"""Python's grpcio with stubs generated from the contract."""

import tempfile
import uuid

import grpc
from grpc_status import rpc_status
from google.rpc import error_details_pb2

from service import serving


def contract():
    from assistant.v1 import assistant_service_pb2, assistant_service_pb2_grpc

    return assistant_service_pb2, assistant_service_pb2_grpc


def client(service):
    _, rpc = contract()
    return rpc.AssistantServiceStub(grpc.insecure_channel(service.address))


def error(call):
    """The code of the error that a call ends with, and its details by type."""
    try:
        call()
    except grpc.RpcError as raised:
        details = {}
        for packed in rpc_status.from_call(raised).details:
            name = packed.type_url.rpartition(".")[2]
            assert name not in details, f"{name} twice"
            details[name] = getattr(error_details_pb2, name)()
            packed.Unpack(details[name])
        assert details["ErrorInfo"].domain == "assistd"
        return raised.code(), details
    raise AssertionError("it succeeded")


def check_chat_calls_tools_and_remembers():
    pb, _ = contract()
    with serving() as service:
        assistant = client(service)
        first = assistant.Chat(pb.ChatRequest(message="what is 6 * 7?"))
        assert first.response == "The tool answered: Result: 42", first
        assert first.usage.tool_calls == 1 and first.usage.turns == 2
        second = assistant.Chat(pb.ChatRequest(message="hello again", thread=first.thread))
        assert (second.response, second.thread) == ("Mock reply to: hello again", first.thread)


def check_stream_chat_is_in_order_and_adds_up():
    pb, _ = contract()
    with serving() as service:
        events = list(client(service).StreamChat(pb.ChatRequest(message="echo one two")))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    kinds = [event.WhichOneof("payload") for event in events]
    assert kinds[-1] == "run_completed" and sum(kind.startswith("run_") for kind in kinds) == 2, kinds
    deltas = "".join(event.text_delta.text for event in events)
    messages = [event.message_completed.message for event in events if event.HasField("message_completed")]
    assert deltas == "".join(part.text for part in messages[-1].content) == "The tool answered: Echo: one two"


def check_a_conversation_outlives_the_process():
    pb, _ = contract()
    data = tempfile.mkdtemp()
    with serving("--data-dir", data) as service:
        thread = client(service).Chat(pb.ChatRequest(message="hi")).thread
    with serving("--data-dir", data) as service:
        answer = client(service).Chat(pb.ChatRequest(message="still here", thread=thread))
        assert answer.thread == thread


def check_tools_page_by_page_and_called_directly():
    pb, _ = contract()
    with serving() as service:
        assistant = client(service)
        first = assistant.ListTools(pb.ListToolsRequest(page_size=1))
        second = assistant.ListTools(pb.ListToolsRequest(page_size=1, page_token=first.next_page_token))
        names = [tool.name for page in (first, second) for tool in page.tools]
        assert names == ["tools/echo", "tools/calculate"] and not second.next_page_token, names
        assert assistant.GetTool(pb.GetToolRequest(name="tools/echo")).annotations.read_only
        call = pb.CallToolRequest(name="tools/calculate")
        call.arguments.update({"expression": "2**100"})
        answer = assistant.CallTool(call)
        assert answer.content[0].text == "Result: 1267650600228229401496703205376" and not answer.is_error


def check_errors_have_details():
    pb, _ = contract()
    with serving() as service:
        assistant = client(service)
        code, details = error(lambda: assistant.Chat(pb.ChatRequest(message="x", thread="threads/thread_0")))
        assert code == grpc.StatusCode.NOT_FOUND and details["ErrorInfo"].reason == "THREAD_NOT_FOUND"
        assert details["ResourceInfo"].resource_name == "threads/thread_0"
        code, details = error(lambda: assistant.Chat(pb.ChatRequest()))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert [one.field for one in details["BadRequest"].field_violations] == ["message"]
        code, details = error(lambda: assistant.CallTool(pb.CallToolRequest(name="tools/nope")))
        assert details["ErrorInfo"].reason == "TOOL_NOT_FOUND"
        code, details = error(lambda: assistant.GetAssistant(pb.GetAssistantRequest(name="assistants/asst_0")))
        assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.NOT_FOUND, "ASSISTANT_NOT_FOUND")


def check_a_request_id_is_answered_once():
    pb, _ = contract()
    with serving() as service:
        assistant = client(service)
        request = pb.ChatRequest(message="once", request_id=str(uuid.uuid4()), metadata={"b": "2", "a": "1"})
        assert assistant.Chat(request) == assistant.Chat(request)
        request.message = "twice"
        code, details = error(lambda: assistant.Chat(request))
        assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")


def check_a_message_that_is_too_large_is_refused():
    pb, _ = contract()
    with serving() as service:
        code, details = error(lambda: client(service).Chat(pb.ChatRequest(message="x" * (5 << 20))))
        assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")

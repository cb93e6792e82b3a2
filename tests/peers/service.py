"""The service under test, and the programs that talk to it."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ASSISTD = os.environ.get("ASSISTD", os.path.join(ROOT, "target", "debug", "assistd"))
NODE_MODULES = os.path.join(os.environ.get("PEERS_NODE", os.path.dirname(os.path.abspath(__file__))), "node_modules")
PATIENCE_SECONDS = 60
# What requests have beyond OpenAI's description: a field of llama.cpp's own.
DEVIATIONS = ("ignore_eos",)
# Lies beside the project where it lies anywhere.
DESCRIPTION = os.path.join(ROOT, "..", "shared", "openai", "openapi.json")

# What decides which model is asked must come from the check alone.
DECIDING = ("OPENAI_", "ASSISTD_")

# What a program keeps when it is not told where must not meet what is on this machine.
HOME = tempfile.mkdtemp()


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DECIDING)}
    return kept | {"XDG_DATA_HOME": HOME, "XDG_CONFIG_HOME": HOME} | more


class Program:
    """A program that runs, with everything it has said."""

    def __init__(self, command, env=None, cwd=None):
        self.process = subprocess.Popen(
            command, env=env or environment(), cwd=cwd, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        self.lines = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def said(self):
        return "".join(self.lines)

    def wait_for(self, pattern):
        """The match of what it must say."""
        found = until(lambda: re.search(pattern, self.said()) or self.process.poll() is not None, self.said)
        assert not isinstance(found, bool), f"it ended: {self.said()}"
        return found

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class Simulator(Program):
    """`assistd simulate` with this script. What it is asked and what it answers is judged by OpenAI's description."""

    started = []
    # The one that answers where a check names no model. It serves all checks.
    of_all = None

    def __init__(self, script=None):
        self.seen = 0
        command = [ASSISTD, "simulate", "--listen", "127.0.0.1:0"]
        if script is not None:
            path = os.path.join(tempfile.mkdtemp(), "script.json")
            with open(path, "w") as file:
                json.dump(script, file)
            command += ["--script", path]
        if os.path.exists(DESCRIPTION):
            command += ["--validate", DESCRIPTION, *(f"--allow={name}" for name in DEVIATIONS)]
        super().__init__(command)
        Simulator.started.append(self)
        self.base_url = self.wait_for(r"base url (http://\S+)").group(1)


@contextlib.contextmanager
def simulating(script=None):
    simulator = Simulator(script)
    try:
        yield simulator
    finally:
        simulator.stop()


def stand_in():
    Simulator.of_all = Simulator.of_all or Simulator()
    return Simulator.of_all


def undescribed():
    """What was asked of simulators, or answered by them, since this was called last, and OpenAI's API does not know."""
    found = []
    for simulator in list(Simulator.started):
        lines = simulator.lines[simulator.seen:]
        simulator.seen += len(lines)
        found += [line for line in lines if "not as described" in line]
        if simulator.process.poll() is not None:
            Simulator.started.remove(simulator)
    return found


class Service(Program):
    """`assistd serve` on a free port; in memory unless it is told where to keep things, and with a simulator of ours as
    its model unless it is told of another or is to start its own."""

    def __init__(self, *arguments, env=None, cwd=None, has_own_simulator=False):
        if "--data-dir" not in arguments:
            arguments = (*arguments, "--data-dir", ":memory:")
        env = environment() if env is None else env
        if not has_own_simulator and "--no-simulator" not in arguments and "OPENAI_BASE_URL" not in env:
            env = env | {"OPENAI_BASE_URL": stand_in().base_url}
        self.cwd = cwd or tempfile.mkdtemp()
        super().__init__([ASSISTD, "--listen", "127.0.0.1:0", *arguments], env=env, cwd=self.cwd)
        self.url = self.wait_for(r"on (http://[\d.:]+)\n").group(1)
        self.address = self.url.removeprefix("http://")


@contextlib.contextmanager
def serving(*arguments, **options):
    service = Service(*arguments, **options)
    try:
        yield service
    except BaseException:
        print(service.said())
        raise
    finally:
        service.stop()


@contextlib.contextmanager
def running(command, pattern=None, **options):
    program = Program(command, **options)
    try:
        if pattern:
            program.wait_for(pattern)
        yield program
    finally:
        program.stop()


def until(condition, explain=lambda: ""):
    """What the condition gives when it is true at last."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited too long: {explain()}"
        time.sleep(0.02)


def run(*command, env=None, input=None, cwd=None, expect=0):
    """What a program prints; it must end with the expected code."""
    done = subprocess.run(
        command, env=env or environment(), input=input, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_SECONDS,
    )
    assert expect is None or done.returncode == expect, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr


def assistd(*arguments, service=None, **options):
    env = environment(ASSISTD_SERVER=service.url) if service else environment()
    return run(ASSISTD, *arguments, env=env, **options)


def curl(*arguments):
    """Status, headers and body of one request."""
    text = run("curl", "-sS", "-i", "--max-time", "30", *arguments)
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    lines = head.split("\n")
    pairs = [line.split(": ", 1) for line in lines[1:] if ": " in line]
    return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}, body


def post(url, body, *arguments):
    """Status and JSON of one request with a JSON body."""
    text = body if isinstance(body, str) else json.dumps(body)
    status, _, answer = curl("-X", "POST", "-H", "content-type: application/json", "-d", text, url, *arguments)
    return status, json.loads(answer)


def get(url):
    status, _, answer = curl(url)
    return status, json.loads(answer)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def mcp_config(servers):
    """The path of a configuration with these MCP servers."""
    path = os.path.join(tempfile.mkdtemp(), "mcp.json")
    with open(path, "w") as file:
        json.dump({"mcpServers": servers}, file)
    return path


def children(pid):
    """The processes below one, all the way down."""
    listed = run("ps", "-eo", "pid=,ppid=,stat=").split("\n")
    parents = [(int(one.split()[0]), int(one.split()[1])) for one in listed if one and "Z" not in one.split()[2]]
    found, frontier = [], [pid]
    while frontier:
        frontier = [child for child, parent in parents if parent in frontier]
        found += frontier
    return found


def kill(pid):
    os.kill(pid, signal.SIGKILL)

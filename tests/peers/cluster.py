"""A PostgreSQL server of the check's own, that may be stopped, killed and asked what it was told."""

import contextlib
import glob
import os
import shutil
import signal
import tempfile

from service import Program, free_port, run, until

# What a crash of the machine would lose is of no concern here; the server's own crash loses nothing without it.
SETTINGS = {"fsync": "off", "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "50"}

FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT


def tool(name):
    """The path of one of the programs of the newest PostgreSQL that is installed."""
    found = glob.glob(f"/usr/lib/postgresql/*/bin/{name}") or [shutil.which(name)]
    assert found[-1], f"PostgreSQL is not installed: there is no {name}"
    return max(found, key=lambda path: [int(part) for part in path.split("/") if part.isdigit()])


def as_nobody_special(*command):
    """PostgreSQL does not run as root."""
    switch = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
    return [*(switch if os.geteuid() == 0 else ()), *command]


class Cluster:
    def __init__(self, **settings):
        self.folder = tempfile.mkdtemp()
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self.data = os.path.join(self.folder, "data")
        initdb = (tool("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
        run(*as_nobody_special(*initdb), cwd=self.folder)
        self.port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        self.settings = SETTINGS | {"port": str(self.port)} | settings
        self.start()

    def start(self):
        settings = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command = as_nobody_special(tool("postgres"), "-D", self.data, *settings)
        self.server = Program(command, cwd=self.folder)
        self.server.wait_for("database system is ready to accept connections")

    def end(self, how):
        """As `pg_ctl stop` does, fast or immediate."""
        self.server.signal(how)
        until(lambda: self.server.process.poll() is not None, self.server.said)

    def ask(self, sql):
        return run(tool("psql"), "-X", "-A", "-t", "-c", sql, self.url).strip()


@contextlib.contextmanager
def cluster(**settings):
    server = Cluster(**settings)
    try:
        yield server
    except BaseException:
        print(server.server.said()[-4000:])
        raise
    finally:
        if server.server.process.poll() is None:
            server.end(IMMEDIATE)
        shutil.rmtree(server.folder, ignore_errors=True)

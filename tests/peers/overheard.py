"""What is asked of a provider that others wrote: it passes through here as it is, and is judged by OpenAI's description."""

import contextlib
import re
import socket
import threading

from service import curl, stand_in


class Overheard:
    """Stands in front of the provider at this address. `url` is the address to ask instead."""

    def __init__(self, url):
        host, port = re.fullmatch(r"http://([\w.]+):(\d+)", url).groups()
        self.behind = (host, int(port))
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                provider = socket.create_connection(self.behind)
                for one in (client, provider):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                bytes_asked = bytearray()
                self.asked.append(bytes_asked)
                for ways in ((client, provider, bytes_asked), (provider, client, None)):
                    threading.Thread(target=pass_on, args=ways, daemon=True).start()

    def requests(self):
        """Line and body of each request."""
        found = []
        for asked in self.asked:
            rest = bytes(asked)
            while b"\r\n\r\n" in rest:
                head, _, rest = rest.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                length = int(length.group(1)) if length else 0
                found.append((head.split(b"\r\n")[0].decode(), rest[:length].decode()))
                rest = rest[length:]
        return found


def pass_on(source, target, kept):
    """Passes on what comes, until one of the two ends; then both do."""
    with contextlib.suppress(OSError):
        while received := source.recv(65536):
            if kept is not None:
                kept += received
            target.sendall(received)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def overheard(url):
    """The address to ask instead of this one. What was asked there is judged in the end: a simulator, which is judged
    itself, is asked the same. Whatever it answers."""
    front = Overheard(url)
    try:
        yield front.url
    finally:
        front.listener.close()
    asked = front.requests()
    assert asked, "it was asked nothing"
    for line, body in asked:
        method, path, _ = line.split(" ")
        target = stand_in().base_url.removesuffix("/v1") + path
        if body:
            curl("-X", method, "-H", "content-type: application/json", "-d", body, target)

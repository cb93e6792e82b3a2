"""A provider that is reached as real ones are: over TLS, with HTTP/2."""

import concurrent.futures
import contextlib
import os
import tempfile

from service import environment, post, run, running, serving, simulating

PROVIDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tls_provider.mjs")
CHATS = 48
AT_ONCE = 16


def authority(folder):
    """A certificate authority, and a server's key and certificate of it."""
    def path(name):
        return os.path.join(folder, name)

    make = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    run(*make, "-keyout", path("ca.key"), "-out", path("ca.pem"), "-subj", "/CN=authority")
    run(*make, "-keyout", path("key.pem"), "-out", path("cert.pem"), "-subj", "/CN=provider", "-CA", path("ca.pem"),
        "-CAkey", path("ca.key"), "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE")
    return path("ca.pem"), path("key.pem"), path("cert.pem")


@contextlib.contextmanager
def provided(folder):
    """The authority's certificate, the provider, and its address."""
    ca, key, certificate = authority(folder)
    with simulating() as simulator:
        target = simulator.base_url.removesuffix("/v1")
        with running(["node", PROVIDER, key, certificate, target]) as provider:
            url = provider.wait_for(r"listening on (https://\S+)").group(1)
            yield ca, provider, f"{url}/v1"


def check_many_requests_share_one_connection_over_http_2():
    with tempfile.TemporaryDirectory() as folder, provided(folder) as (ca, provider, url):
        with serving(env=environment(OPENAI_BASE_URL=url, OPENAI_API_KEY="sk-test", SSL_CERT_FILE=ca)) as service:
            # The first one finds out what the provider speaks; the others have no reason to connect anew.
            chat = {"message": "hello"}
            answers = [post(f"{service.url}/v1/chat", chat)]
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                answers += pool.map(lambda _: post(f"{service.url}/v1/chat", chat), range(CHATS))
            assert all(status == 200 and "hello" in answer["response"] for status, answer in answers), answers
        said = provider.said()
        assert said.count("connection h2") == 1 == said.count("connection "), said
        assert said.count("request 2.0 /v1/chat/completions") == CHATS + 1, said


def check_a_provider_of_an_unknown_authority_is_not_spoken_to():
    with tempfile.TemporaryDirectory() as folder, provided(folder) as (_, provider, url):
        with serving(env=environment(OPENAI_BASE_URL=url, OPENAI_API_KEY="sk-test")) as service:
            status, refused = post(f"{service.url}/v1/chat", {"message": "hello"})
            reason = refused["error"]["details"][0]["reason"]
            assert (status, reason) == (503, "MODEL_UNAVAILABLE"), refused
            assert "certificate" in service.said(), service.said()
            assert "sk-test" not in service.said()
        assert "request" not in provider.said()

"""@connectrpc/connect-web's gRPC-Web transport under Node."""

import os
import tempfile

from service import NODE_MODULES, ROOT, run, serving

HERE = os.path.dirname(os.path.abspath(__file__))


def generated():
    """JavaScript classes of the contract, where the packages of package.json are found."""
    into = tempfile.mkdtemp(dir=os.path.dirname(NODE_MODULES))
    template = os.path.join(into, "buf.gen.yaml")
    plugin = os.path.join(NODE_MODULES, ".bin", "protoc-gen-es")
    with open(template, "w") as file:
        file.write(f"version: v2\nplugins:\n  - local: {plugin}\n    out: {into}\n    opt: [target=js, import_extension=js]\n")
    run("buf", "generate", "--template", template, "--include-imports", cwd=ROOT)
    return into


def check_connect_web_under_node():
    into = generated()
    script = os.path.join(into, "check.mjs")
    with open(os.path.join(HERE, "web.mjs")) as source, open(script, "w") as copy:
        copy.write(source.read())
    with open(os.path.join(into, "package.json"), "w") as file:
        file.write('{"type": "module"}')
    with serving() as service:
        said = run("node", script, service.url)
        assert "unary, stream, binary errors: fine" in said, said

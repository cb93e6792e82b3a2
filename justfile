# What is done often. `just` without a name lists it all.

_default:
    @just --list

# Serve on 127.0.0.1:8000.
run *arguments:
    cargo run --release -- {{arguments}}

# Everything that needs nothing else.
test:
    cargo test

# Formatting, lints, the contract, licences.
lint:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings
    buf lint
    buf format -d --exit-code
    cargo deny check bans licenses sources

# What continuous integration does: tests, lints, real clients and servers.
ci:
    bash .ci/run

# 200 deaths by `kill -9` at every step of a run on each store; another seed, other moments.
soak seed="1":
    cargo build
    cd tests/peers && CRASH_ROUNDS=200 CRASH_SEED={{seed}} python3 -c "import crashes; crashes.check_a_run_survives_kill_9_at_every_step()"
    cd tests/peers && CRASH_ROUNDS=200 CRASH_SEED={{seed}} python3 -c "import crashes; crashes.check_another_process_goes_on_after_kill_9_at_every_step()"
    PROPTEST_CASES=5000 cargo test --lib whoever_dies

# The figures of docs/benchmarks.md, on this machine. `BENCH_FULL=1` fills the store with 10 million messages.
bench:
    cargo bench --bench speed
    cargo bench --bench runs
    cargo bench --bench models
    cargo bench --bench mcp
    cargo bench -p assistd-doors --bench doors

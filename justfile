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
    cargo clippy --all-targets -- -D warnings
    buf lint
    buf format -d --exit-code
    cargo deny check bans licenses sources

# What continuous integration does: tests, lints, real clients and servers.
ci:
    bash .ci/run

# The figures of docs/benchmarks.md, on this machine.
bench:
    cargo bench --bench speed

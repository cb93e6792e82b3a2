# syntax=docker/dockerfile:1
# Builds the one binary, then leaves everything else behind: the image has no shell and no root.

FROM rust:1.95-slim-bookworm AS build
# SQLite and ring are compiled from C.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY migrations migrations
COPY benches benches
COPY tests/it/main.rs tests/it/main.rs
COPY src src
RUN cargo build --locked --profile dist --bin assistd && mkdir /data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/dist/assistd /assistd
COPY --from=build --chown=nonroot:nonroot /data /data
ENV ASSISTD_LISTEN=0.0.0.0:8000 \
    ASSISTD_DATA_DIR=/data \
    ASSISTD_NO_SIMULATOR=true \
    ASSISTD_LOG_FORMAT=json
VOLUME /data
EXPOSE 8000
USER nonroot
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/assistd", "health"]
ENTRYPOINT ["/assistd"]
CMD ["serve"]

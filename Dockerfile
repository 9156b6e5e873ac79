# The static binary in an empty image. Builds with BuildKit and with the classic builder, for the
# architecture of the machine that builds:
#
#   docker build -t highwater --target app .           the image: TLS and the store in PostgreSQL, without the embedded broker
#   docker build -t highwater --target app --build-arg FEATURES= .    the smallest: no TLS, no PostgreSQL
#   docker build -t highwater --target app --build-arg FEATURES=postgres,tls,schemas .    with JSON Schemas of payloads
#   docker build -t highwater-eventlog --target app --build-arg FEATURES=eventlog,tls .    with the event log
#   docker build -t highwater-tests --target tests .   the tests, built, with all that they need

# --- the toolchain, and the dependencies' sources ------------------------------------------------
FROM rust:1.95-slim-bookworm AS toolchain
# musl-tools compiles the C in lz4 and zstd.
RUN apt-get update \
 && apt-get install -y --no-install-recommends musl-tools \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /highwater
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY crates/kafka/Cargo.toml crates/kafka/Cargo.toml
COPY crates/kafka-broker/Cargo.toml crates/kafka-broker/Cargo.toml
COPY crates/net/Cargo.toml crates/net/Cargo.toml
COPY crates/table/Cargo.toml crates/table/Cargo.toml
COPY crates/web/Cargo.toml crates/web/Cargo.toml
COPY crates/commerce/Cargo.toml crates/commerce/Cargo.toml
COPY crates/eventlog/Cargo.toml crates/eventlog/Cargo.toml
# Empty programs in the places that the manifests name, so that what follows depends on these alone.
RUN mkdir -p src/bin tests/unit tests/integration tests/chaos crates/kafka/tests/simulation \
 && touch src/lib.rs \
 && for file in build.rs src/main.rs src/bin/bootstrap.rs tests/unit/main.rs tests/integration/main.rs tests/chaos/main.rs \
      crates/kafka/tests/simulation/main.rs; do \
      echo 'fn main() {}' >"$file"; done \
 && for crate in crates/*; do mkdir "$crate/src" && touch "$crate/src/lib.rs" && echo 'fn main() {}' >"$crate/build.rs"; done \
 && cargo fetch --locked

# --- the binary ----------------------------------------------------------------------------------
FROM toolchain AS build
ARG FEATURES=postgres,tls
# Or `fastest`, which is larger.
ARG PROFILE=image
# No lines of the level TRACE, which HTTP/2 has many of.
ARG LEVELS=log/release_max_level_debug,tracing/release_max_level_debug
RUN cargo build -p highwater --offline --locked --profile "$PROFILE" --no-default-features --features "$FEATURES,$LEVELS" --target "$(uname -m)-unknown-linux-musl"
COPY build.rs build.rs
COPY docs/openapi docs/openapi
COPY crates crates
COPY src src
# Their times are older than the empty programs'. Where a crate has no build.rs, the empty one does nothing.
RUN touch build.rs src/lib.rs src/main.rs crates/*/build.rs crates/*/src/lib.rs \
 && cargo build -p highwater --offline --locked --profile "$PROFILE" --no-default-features --features "$FEATURES,$LEVELS" --target "$(uname -m)-unknown-linux-musl" \
 && mkdir -p /image/etc/ssl/certs \
 && cp "target/$(uname -m)-unknown-linux-musl/$PROFILE/highwater" /image/highwater \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && echo 'highwater:x:10001:10001::/:/sbin/nologin' >/image/etc/passwd

# --- the image -----------------------------------------------------------------------------------
FROM scratch AS app
LABEL org.opencontainers.image.title="highwater" \
      org.opencontainers.image.description="Events in over REST, through Kafka, stored each once, out over REST" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /
USER 10001:10001
# activity, users, orders, the event log; the healthcheck asks whichever the container runs.
EXPOSE 8000 5001 5002 5003
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["/highwater", "healthcheck"]
ENTRYPOINT ["/highwater"]

# --- the tests, which `cargo test` in here runs without network -----------------------------------
FROM toolchain AS tests
RUN cargo test --offline --locked --no-run
ENV CARGO_NET_OFFLINE=true
COPY . .
RUN touch build.rs src/lib.rs src/main.rs crates/*/build.rs crates/*/src/lib.rs tests/unit/main.rs tests/integration/main.rs \
      crates/kafka/tests/simulation/main.rs \
 && cargo test --offline --locked --no-run
CMD ["cargo", "test"]

# --- what is built where no stage is named (the classic builder builds all stages before it) --------
FROM app

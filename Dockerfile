# syntax=docker/dockerfile:1
FROM rust:1.95-slim-trixie AS build
WORKDIR /src
# jemalloc is built with make, which the image lacks.
RUN apt-get update \
 && apt-get install -y --no-install-recommends make \
 && rm -rf /var/lib/apt/lists/*
# .cargo has the settings of jemalloc. The manifest does not parse without benches/, clab/runner and fuzz.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
COPY benches benches
COPY clab/runner clab/runner
COPY fuzz fuzz
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin perouter && cp target/release/perouter /perouter

FROM debian:trixie-slim
# Without frr-pythontools: perouter needs no Python.
RUN apt-get update \
 && apt-get install -y --no-install-recommends frr \
 && rm -rf /var/lib/apt/lists/* /etc/frr/daemons \
 # Mount points for the directories of the daemons: the root file system may be read-only.
 && mkdir -p /run/frr /run/netns /run/perouter /etc/frr /var/tmp
COPY --from=build /perouter /usr/bin/perouter
# Namespaces, links and FRR's sockets need root with NET_ADMIN, NET_RAW, NET_BIND_SERVICE and SYS_ADMIN in the initial
# user namespace; FRR's daemons drop to the user frr themselves. The other subcommands run as any user.
ENTRYPOINT ["/usr/bin/perouter"]
CMD ["run"]

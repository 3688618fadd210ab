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
RUN cargo build --locked --release --bin perouter && mv target/release/perouter /perouter && rm -rf target

FROM debian:trixie-slim
# FRR comes from forky with the three libraries that trixie lacks. Everything else is trixie's, which has security updates and is
# smaller than forky. Without frr-pythontools: perouter needs no Python. systemd-standalone-sysusers stands in for systemd,
# of which FRR's package needs nothing else.
ARG FRR=10.7.*
COPY image/forky.sources /etc/apt/sources.list.d/
COPY image/forky.pref /etc/apt/preferences.d/
RUN apt-get update \
 && apt-get install -y --no-install-recommends "frr=$FRR" systemd-standalone-sysusers \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /etc/frr/daemons \
 # No file gives its user other rights than it has.
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 # Mount points for the directories of the daemons: the root file system may be read-only.
 && mkdir -p /run/frr /run/netns /run/perouter /etc/frr /var/tmp /var/log/frr \
 && chown frr:frr /var/log/frr
COPY --from=build /perouter /usr/bin/perouter
# Namespaces, links and FRR's sockets need root with NET_ADMIN, NET_RAW, NET_BIND_SERVICE and SYS_ADMIN in the initial
# user namespace; FRR's daemons drop to the user frr themselves. The other subcommands run as any user.
ENTRYPOINT ["/usr/bin/perouter"]
CMD ["run"]

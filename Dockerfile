# One small image per program, none of which runs as root or holds a key or a password.
# Keeps to what both of Docker's builders know: no RUN --mount, no here-documents, no COPY --chmod.
# The stages stand in the order that suits the older builder, which builds every stage above the
# one asked for: the workspace is compiled once, for all programs together.

FROM debian:trixie-slim AS runtime
# One user for all images, because node and template-provider hand on a cookie that only its
# owner may read. Volumes take over the owner of the folder that they are first mounted on.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin adit \
 && mkdir -p /data /rpc /keys/template-provider /keys/pool-sv2 \
 && chown adit:adit /data /rpc /keys/template-provider /keys/pool-sv2
WORKDIR /data

FROM runtime AS node
# The backports come from whichever mirror the base image takes trixie from.
RUN mirror=$(apt-get indextargets --no-release-info --format '$(REPO_URI) $(RELEASE)' \
      | sed -n 's/ trixie$//p' | head -n 1) \
 && signed=/usr/share/keyrings/debian-archive-keyring.gpg \
 && echo "deb [signed-by=$signed] $mirror trixie-backports main" \
      > /etc/apt/sources.list.d/trixie-backports.list \
 && apt-get update \
 && apt-get install --yes --no-install-recommends -t trixie-backports bitcoin-knots \
 && rm -rf /var/lib/apt/lists/*
USER adit
ENTRYPOINT ["bitcoind"]

FROM rust:1.95-slim-trixie AS build
WORKDIR /src
# First the manifests with empty crates, so that the dependencies stay cached until one changes.
COPY Cargo.toml Cargo.lock ./
COPY shared/mining/Cargo.toml shared/mining/
COPY shared/pages/Cargo.toml shared/pages/
COPY shared/service/Cargo.toml shared/service/
COPY shared/rpc/Cargo.toml shared/rpc/
COPY shared/testkit/Cargo.toml shared/testkit/
COPY shared/wire/Cargo.toml shared/wire/
COPY pool-sv2/Cargo.toml pool-sv2/
COPY template-provider/Cargo.toml template-provider/
COPY translator-v1/Cargo.toml translator-v1/
COPY tests/Cargo.toml tests/
COPY tools/cpu-miner/Cargo.toml tools/cpu-miner/
COPY tools/demo/Cargo.toml tools/demo/
COPY tools/load/Cargo.toml tools/load/
# Cargo wants to see the benchmarks that a manifest names.
COPY shared/mining/benches shared/mining/benches
COPY shared/wire/benches shared/wire/benches
COPY pool-sv2/benches pool-sv2/benches
RUN for manifest in */Cargo.toml */*/Cargo.toml; do \
      mkdir -p "${manifest%/*}/src" \
   && echo 'fn main() {}' > "${manifest%/*}/src/main.rs" \
   && echo '' > "${manifest%/*}/src/lib.rs"; \
    done \
 && cargo build --release --locked \
      -p template-provider -p pool-sv2 -p translator-v1 -p cpu-miner
COPY shared shared
COPY template-provider template-provider
COPY pool-sv2 pool-sv2
COPY translator-v1 translator-v1
COPY tools tools
# Sources carry the time of the checkout: touched, so that cargo takes none for the empty crate.
RUN find . -path ./target -prune -o -name '*.rs' -exec touch {} + \
 && cargo build --release --locked \
      -p template-provider -p pool-sv2 -p translator-v1 -p cpu-miner

FROM runtime AS template-provider
COPY --from=build /src/target/release/template-provider /usr/local/bin/
USER adit
ENTRYPOINT ["template-provider"]

FROM runtime AS pool-sv2
COPY --from=build /src/target/release/pool-sv2 /usr/local/bin/
USER adit
ENTRYPOINT ["pool-sv2"]

FROM runtime AS translator-v1
COPY --from=build /src/target/release/translator-v1 /usr/local/bin/
USER adit
ENTRYPOINT ["translator-v1"]

FROM runtime AS cpu-miner
COPY --from=build /src/target/release/cpu-miner /usr/local/bin/
USER adit
ENTRYPOINT ["cpu-miner"]

# Last, so that the older builder does not make it for the others.
FROM runtime AS prometheus
RUN apt-get update \
 && apt-get install --yes --no-install-recommends prometheus \
 && rm -rf /var/lib/apt/lists/*
USER adit
ENTRYPOINT ["prometheus"]

# syntax=docker/dockerfile:1
# The image: the binary on a base that has the C library and nothing to run it with but itself. `make image` builds it.
#
# The binary links the C library (libc, libm, its loader) and libgcc_s alone; SQLite, TLS, zstd and the allocator are in it, and it
# reads no file that an image has to bring: no CAs, no time zones, no resolver configuration beyond the pod's. So the base is
# distroless/cc, of the same Debian as the builder. musl was left out: what the tests run is what is shipped, and they run on glibc.
#
# Reproducible with both bases given by digest and SOURCE_DATE_EPOCH: paths are remapped, the lock file decides the dependencies, one
# codegen unit compiles, and what is left of debug information is line tables. The bases are named by tag here, which moves: where this is
# written no registry can be asked what a tag stands for. A release pins them,
#   make image RUST_IMAGE=docker.io/library/rust@sha256:… RUNTIME_IMAGE=gcr.io/distroless/cc-debian12@sha256:…
# and so should whoever builds one for production (`docker buildx imagetools inspect TAG` tells the digests).
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS base
ENV CARGO_HOME=/usr/local/cargo \
    CARGO_TERM_COLOR=never \
    CFLAGS="-ffile-prefix-map=/larder=. -ffile-prefix-map=/usr/local/cargo=cargo" \
    CXXFLAGS="-ffile-prefix-map=/larder=. -ffile-prefix-map=/usr/local/cargo=cargo" \
    RUSTFLAGS="--remap-path-prefix=/larder=. --remap-path-prefix=/usr/local/cargo=cargo"
RUN cargo install cargo-chef --version 0.1.78 --locked
WORKDIR /larder

# What the dependencies are, out of manifests and lock file: the same as long as those are.
FROM base AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json --bin larder

FROM base AS build
# The layer of the dependencies, built anew only when the recipe changes.
COPY --from=plan /larder/recipe.json recipe.json
RUN cargo chef cook --release --locked --recipe-path recipe.json --bin larder
COPY . .
ARG LARDER_COMMIT=unknown
ARG SOURCE_DATE_EPOCH=0
RUN LARDER_COMMIT=${LARDER_COMMIT} cargo build --release --locked --bin larder

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="larder" \
      org.opencontainers.image.source="https://github.com/larder/larder" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build --chmod=0755 /larder/target/release/larder /usr/local/bin/larder
# By number, since Kubernetes cannot tell whether a name is root.
USER 65532:65532
EXPOSE 4001 4002
ENTRYPOINT ["/usr/local/bin/larder"]

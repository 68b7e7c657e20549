# Two images from one build: `app` is the program and nothing else; `web` is nginx with the style sheet and icon under
# the names that this very program writes into its pages. `k8s/images` builds both.
#
# Nothing is compiled under emulation: a foreign architecture is cross-compiled. With BINARY=prebuilt the program comes
# from outside, and the build context is a folder that holds it (`make images PREBUILT=1`).
ARG BINARY=compiled

FROM --platform=$BUILDPLATFORM rust:1.95-slim-trixie AS native
ENV SQLX_OFFLINE=true
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .sqlx .sqlx
COPY tests/Cargo.toml tests/
# The tests are a member of the workspace, so cargo wants a package there; nothing of it is compiled. Their sources stay
# out of the build: a changed test changes no image.
RUN sed -i '/^\[\[/,/^$/d' tests/Cargo.toml && mkdir tests/src && touch tests/src/lib.rs
COPY app app
# Cargo goes by times, and a file of an older commit is older than what the cache holds of a newer one. So our own
# files are made new; what they depend on stays as it was.
RUN --mount=type=cache,id=triptych-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=triptych-target,target=/src/target,sharing=locked \
    find app -type f -exec touch {} + \
    && cargo build --locked --release -p triptych \
    && cp target/release/triptych /triptych \
    && /triptych assets /static

FROM native AS compiled
ARG BUILDARCH
ARG TARGETARCH
RUN --mount=type=cache,id=triptych-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=triptych-target,target=/src/target,sharing=locked \
    set -eu; \
    if [ "$TARGETARCH" = "$BUILDARCH" ]; then exit 0; fi; \
    case $TARGETARCH in \
        amd64) rust=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu package=x86-64-linux-gnu ;; \
        arm64) rust=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu package=aarch64-linux-gnu ;; \
        *) echo "Triptych is built for amd64 and arm64, not for $TARGETARCH." >&2; exit 1 ;; \
    esac; \
    apt-get update -qq; \
    apt-get install -y -qq --no-install-recommends "gcc-$package" "libc6-dev-$TARGETARCH-cross"; \
    rustup target add "$rust"; \
    find app -type f -exec touch {} +; \
    linker=CARGO_TARGET_$(echo "$rust" | tr a-z- A-Z_)_LINKER; \
    env "$linker=$gnu-gcc" "CC_$(echo "$rust" | tr - _)=$gnu-gcc" cargo build --locked --release -p triptych --target "$rust"; \
    cp "target/$rust/release/triptych" /triptych

# Runs on the libraries of the image to come: a program built on a newer system fails here, and says why.
FROM gcr.io/distroless/cc-debian13:nonroot AS prebuilt
USER 0
COPY triptych /triptych
RUN ["/triptych", "assets", "/static"]

FROM ${BINARY} AS binary

FROM nginxinc/nginx-unprivileged:1.30.6-alpine-slim AS web
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="triptych-web" \
      org.opencontainers.image.description="The web server in front of Triptych, an image board: nginx with its assets" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# The configuration comes with the chart.
COPY --from=binary /static /usr/share/nginx/html/static
USER 101

FROM gcr.io/distroless/cc-debian13:nonroot AS app
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="triptych" \
      org.opencontainers.image.description="An image board whose replicas always show the same thing" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=binary /triptych /usr/local/bin/triptych
# Blocks of 128 KiB and more go back to the system as soon as they are free. Left to itself, glibc raises this size to
# that of the largest block it has seen, and keeps what an upload took: a replica grows to twice its budget of uploads.
ENV GLIBC_TUNABLES=glibc.malloc.mmap_threshold=131072
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/usr/local/bin/triptych"]
CMD ["serve"]

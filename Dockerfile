# The image of a deployment: `docker build --build-arg COMMIT=$(git rev-parse --short HEAD) -t guildhall .`
# One binary, as nobody, on a system that has little else; every subcommand of it can be run there.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
ARG COMMIT=unknown
ENV GUILDHALL_COMMIT=$COMMIT
# libpq and OpenSSL are built in. None of the features that only tests and `make run` have is on.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --features vendored-openssl --bin guildhall && cp target/release/guildhall /guildhall

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 65532 guildhall \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir / --shell /usr/sbin/nologin guildhall
COPY --from=build /guildhall /usr/local/bin/guildhall
WORKDIR /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["guildhall"]
CMD ["serve"]

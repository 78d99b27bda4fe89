# The executor's image, built from source: zuwai builds it with
#   zuwai build --context dir://. --dockerfile Dockerfile --destination REGISTRY/zuwai:TAG
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin zuwai

FROM debian:bookworm-slim
# The names by which kaniko's image is called.
COPY --from=build /src/target/release/zuwai /kaniko/executor
ENV HOME=/root \
    USER=root \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/kaniko \
    SSL_CERT_DIR=/kaniko/ssl/certs \
    DOCKER_CONFIG=/kaniko/.docker/
WORKDIR /workspace
ENTRYPOINT ["/kaniko/executor"]

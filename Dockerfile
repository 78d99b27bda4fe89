# zuwai's own image: the executor in the places and with the environment of kaniko's.
#
#   --target=executor     the last stage: everything from source, on the official Rust image
#   --target=debug        the same with busybox in /busybox and as /bin/sh, for GitLab and Jenkins
#   --target=host         from files made on the machine; hack/image.sh builds this and the next,
#   --target=host-debug   with zuwai itself and without a registry
#
# Where kaniko or zuwai builds it, --ignore-var-run=false keeps the link that /var/run is.

FROM scratch AS environment
ENV HOME=/root \
    USER=root \
    PATH=/usr/local/bin:/kaniko \
    SSL_CERT_DIR=/kaniko/ssl/certs \
    DOCKER_CONFIG=/kaniko/.docker/
WORKDIR /workspace
ENTRYPOINT ["/kaniko/executor"]

FROM environment AS debug-environment
ENV PATH=/usr/local/bin:/kaniko:/busybox

# The context of these two is what `hack/image.sh --files` makes.
FROM debug-environment AS host-debug
COPY executor /
COPY debug /

FROM environment AS host
COPY executor /

FROM rust:1.95-bookworm AS source
WORKDIR /src
COPY . .
RUN hack/image.sh --files /files

FROM debug-environment AS debug
COPY --from=source /files/executor /
COPY --from=source /files/debug /

FROM environment AS executor
COPY --from=source /files/executor /

ARG DEBIAN=12
FROM --platform=$BUILDPLATFORM debian:$DEBIAN AS build
WORKDIR /src
COPY go.* ./
RUN make deps
COPY --chown=build:build . .
RUN <<SCRIPT
#!/bin/sh
make
SCRIPT
FROM debian AS unused
RUN false
FROM trigger
ARG VERSION
ENV NAME=service VERSION=$VERSION
LABEL version=$VERSION
ADD --chmod=0644 data.tar /data/
COPY --from=build /src/service /usr/bin/
COPY <<EOT /etc/service.conf
name=$NAME
EOT
USER service
WORKDIR /var/lib/service
RUN service --check
EXPOSE 80 443/udp
HEALTHCHECK --interval=30s CMD service --ping
ENTRYPOINT ["service"]

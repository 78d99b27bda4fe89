#!/bin/sh
# run.sh DIRECTORY DESTINATION [ARGUMENT…]: builds a directory with Docker's own credentials, in a
# container as Docker makes it: no privileges, and no access to Docker's socket. With `--no-push` as
# an argument nothing is pushed. On gVisor: RUNTIME=runsc run.sh … --tracker=walk
#   run.sh . registry.example.com/team/app:v1
set -eu
directory=$(cd "$1" && pwd) destination=$2
shift 2
exec docker run --rm --runtime="${RUNTIME:-runc}" \
  --volume "$directory:/workspace:ro" \
  --volume "${DOCKER_CONFIG:-$HOME/.docker}/config.json:/kaniko/.docker/config.json:ro" \
  registry.example.com/zuwai:latest \
  --context=dir:///workspace --destination="$destination" "$@"

#!/bin/sh
# kubectl-run.sh DIRECTORY DESTINATION: builds a directory of this machine in the cluster, without a
# volume: its files come on standard input. Needs the Secret of registry-secret.yaml.
#   kubectl-run.sh . registry.example.com/team/app:v1
set -eu
directory=$1 destination=$2
tar -czf - -C "$directory" . |
  kubectl run zuwai --rm --stdin --restart=Never --image=registry.example.com/zuwai:latest \
    --overrides='{
      "apiVersion": "v1",
      "spec": {
        "automountServiceAccountToken": false,
        "containers": [{
          "name": "zuwai",
          "image": "registry.example.com/zuwai:latest",
          "stdin": true,
          "stdinOnce": true,
          "args": ["--context=tar://stdin", "--dockerfile=Dockerfile", "--destination='"$destination"'"],
          "volumeMounts": [{"name": "regcred", "mountPath": "/kaniko/.docker", "readOnly": true}]
        }],
        "volumes": [{
          "name": "regcred",
          "secret": {
            "secretName": "regcred",
            "items": [{"key": ".dockerconfigjson", "path": "config.json"}]
          }
        }]
      }
    }'

#!/bin/sh
# hack/schemas.sh: prints where check-jsonschema is, which has the JSON schemas of GitHub's, GitLab's
# and Google's pipelines in it. The types of Tekton's pipelines lie in its folder, as Tekton's authors have
# published them for Python: those of v1beta1, from which v1 differs in little. Both are installed where
# missing, from Python's package index into ~/.cache/zuwai; without a network this ends with an error.
# Installs python3-venv from Debian.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
version=0.39.0
tekton=0.2.0
place=${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/check-jsonschema-$version
program=$place/bin/check-jsonschema
if ! [ -x "$program" ]; then
  need_packages python3-venv
  rm -rf "$place.new"
  /usr/bin/python3 -m venv "$place.new"
  "$place.new/bin/python" -m pip install --quiet --disable-pip-version-check \
    --target "$place.new/packages" "check-jsonschema==$version" >&2
  printf '#!/bin/sh\nPYTHONPATH=%s exec %s -m check_jsonschema "$@"\n' \
    "$place/packages" "$place/bin/python" >"$place.new/bin/check-jsonschema"
  chmod +x "$place.new/bin/check-jsonschema"
  rm -rf "$place"
  mv "$place.new" "$place"
fi
types=$place/tekton-$tekton
if ! [ -d "$types" ]; then
  rm -rf "$types.new"
  # Its sources are read and not run: they need no other packages.
  "$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --target "$types.new" "tekton-pipeline==$tekton" >&2
  mv "$types.new" "$types"
fi
ln -sfn "tekton-$tekton/tekton_pipeline/models" "$place/tekton"
echo "$program"

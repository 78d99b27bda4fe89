#!/bin/sh
# hack/context-servers.sh [DIRECTORY [ADDRESS]]: runs what contexts come from on a loopback address,
# until standard input ends or Ctrl-C. For trials, and for what the tests' own servers cannot show:
# that the real programs agree.
#
#   port   what it is
#   5500   S3 (moto): bucket `contexts`, any key; also Amazon's services that give roles and tokens
#          for registries
#   5501   Google Cloud Storage (gcp-storage-emulator): bucket `contexts`
#   443    Azure (Azurite, TLS) on 127.0.55.1: account `devstoreaccount1`, container `contexts`
#   5503   git http-backend behind nginx
#   5504   the same with basic authentication: robot, hunter2
#
# Each has `context.tar.gz`, the files of the repository `app.git` on 5503 and 5504, which has the
# submodule `lib.git`. Prints a command for each; everything is in DIRECTORY (~/.cache/zuwai/contexts
# by default).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/packages.sh"
need_packages curl fcgiwrap git nginx-light openssl perl python3-venv >&2
# Machines have their own one, which Debian's does not go with.
command -v npm >/dev/null || need_packages npm >&2

directory=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/contexts}
address=${2:-127.0.0.1}
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
cd "$directory"

[ -x python/bin/moto_server ] || {
  python3 -m venv python
  python/bin/pip install --quiet 'moto[server,s3]' gcp-storage-emulator azure-storage-blob >&2
}
[ -x node_modules/.bin/azurite-blob ] || npm install --silent --no-audit azurite >&2

# The repositories, and the archive of the first one's files.
rm -rf repositories work
mkdir -p repositories work/lib work/app
identity='-c user.name=zuwai -c user.email=zuwai@example.invalid -c init.defaultBranch=main'
# commit NAME: makes repositories/NAME.git of work/NAME.
commit() {
  git -C "work/$1" $identity init --quiet
  git -C "work/$1" add --all
  git -C "work/$1" $identity commit --quiet --message=first
  git clone --quiet --bare "work/$1" "repositories/$1.git"
  git -C "repositories/$1.git" update-server-info
}
echo 'from the submodule' >work/lib/text
commit lib
printf 'FROM scratch\nCOPY . /src/\n' >work/app/Dockerfile
echo 'hello from the context' >work/app/hello
git -C work/app $identity init --quiet
git -C work/app -c protocol.file.allow=always submodule --quiet add "$directory/repositories/lib.git" lib
git -C work/app config --file .gitmodules submodule.lib.url ../lib.git
commit app
tar --exclude=.git -czf context.tar.gz -C work/app .

# Azure's contexts are known by their host, so the stand-in gets its name, in a hosts file for it.
azure=devstoreaccount1.blob.core.windows.net azure_address=127.0.55.1
azure_key='Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='
openssl req -x509 -newkey rsa:2048 -nodes -keyout azure.key -out azure.pem -days 3650 \
  -subj "/CN=$azure" -addext "subjectAltName=DNS:$azure" \
  -addext basicConstraints=critical,CA:FALSE 2>/dev/null
printf '127.0.0.1 localhost\n%s %s\n' "$azure_address" "$azure" >hosts
perl -e 'print "robot:", crypt("hunter2", "\$1\$zuwaizuw\$"), "\n"' >htpasswd

# git_server PORT MORE: one server of nginx.
git_server() {
  cat <<SERVER
  server {
    listen $address:$1;
    $2
    location / {
      include /etc/nginx/fastcgi_params;
      fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param GIT_PROJECT_ROOT $directory/repositories;
      fastcgi_param GIT_PROTOCOL \$http_git_protocol;
      fastcgi_param PATH_INFO \$uri;
      fastcgi_param REMOTE_USER \$remote_user;
      fastcgi_pass unix:$directory/fcgi.socket;
    }
  }
SERVER
}
mkdir -p nginx
{
  echo "daemon off; pid $directory/nginx/pid; error_log $directory/nginx/error.log;"
  [ "$(id -u)" != 0 ] || echo "user root;"
  echo "events {} http { access_log off; client_body_temp_path $directory/nginx/body;"
  echo "fastcgi_temp_path $directory/nginx/fastcgi; proxy_temp_path $directory/nginx/proxy;"
  echo "uwsgi_temp_path $directory/nginx/uwsgi; scgi_temp_path $directory/nginx/scgi;"
  git_server 5503 ""
  git_server 5504 "auth_basic zuwai; auth_basic_user_file $directory/htpasswd;"
  echo "}"
} >nginx.conf

running=
# run NAME COMMAND…: starts a server in the background.
run() {
  name=$1
  shift
  "$@" >"$name.log" 2>&1 </dev/null &
  running="$running $!"
}
trap 'kill $running 2>/dev/null || true; wait 2>/dev/null || true' EXIT INT TERM
rm -f fcgi.socket
run fcgi fcgiwrap -c 4 -s "unix:$directory/fcgi.socket"
run nginx nginx -c "$directory/nginx.conf"
run moto python/bin/moto_server -H "$address" -p 5500
run gcs python/bin/gcp-storage-emulator start --host="$address" --port=5501 --in-memory \
  --default-bucket=contexts
run azurite node_modules/.bin/azurite-blob --blobHost "$azure_address" --blobPort 443 \
  --inMemoryPersistence --cert azure.pem --key azure.key --skipApiVersionCheck --disableTelemetry

# put URL FLAG…: sends the archive, until the server is there.
put() {
  url=$1
  shift
  for _ in $(seq 100); do
    curl --silent --fail --output put.log "$@" "$url" && return 0
    sleep 0.2
  done
  echo "error: $url does not take the archive; see $directory/*.log" >&2
  return 1
}
put "http://$address:5500/contexts" -X PUT
put "http://$address:5500/contexts/context.tar.gz" -T context.tar.gz
put "http://$address:5501/upload/storage/v1/b/contexts/o?uploadType=media&name=context.tar.gz" \
  -X POST -H 'content-type: application/gzip' --data-binary @context.tar.gz
until python/bin/python -W ignore - "$azure_address" "$azure_key" <<'PYTHON' 2>azure.log; do
import sys
from azure.storage.blob import BlobServiceClient
account = {"account_name": "devstoreaccount1", "account_key": sys.argv[2]}
url = f"https://{sys.argv[1]}/devstoreaccount1"
service = BlobServiceClient(url, credential=account, connection_verify=False, retry_total=0)
with open("context.tar.gz", "rb") as archive:
    service.create_container("contexts").upload_blob("context.tar.gz", archive)
PYTHON
  kill -0 "${running##* }" || { cat azurite.log >&2; exit 1; }
  sleep 1
done

cat <<TEXT
S3_ENDPOINT=http://$address:5500 S3_FORCE_PATH_STYLE=true AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b executor --context=s3://contexts/context.tar.gz
AWS_ENDPOINT_URL_ECR=http://$address:5500 AWS_ENDPOINT_URL_STS=http://$address:5500 AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b executor doctor --registry=123456789012.dkr.ecr.us-east-1.amazonaws.com/app
STORAGE_EMULATOR_HOST=http://$address:5501 executor --context=gs://contexts/context.tar.gz
unshare --mount sh -c 'mount --bind $directory/hosts /etc/hosts; SSL_CERT_FILE=$directory/azure.pem AZURE_STORAGE_ACCESS_KEY=$azure_key executor --context=https://$azure/contexts/context.tar.gz'
GIT_PULL_METHOD=http executor --context=git://$address:5503/app.git#refs/heads/main --git=recurse-submodules=true
GIT_PULL_METHOD=http GIT_USERNAME=robot GIT_PASSWORD=hunter2 executor --context=git://$address:5504/app.git
ready
TEXT
cat >/dev/null

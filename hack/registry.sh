#!/bin/sh
# hack/registry.sh [DIRECTORY [ADDRESS]]: runs Debian's docker-registry on a loopback address, plain
# and behind nginx, until standard input ends or Ctrl-C. For trials and for the tests.
#
#   port   what it is
#   5000   plain HTTP
#   5001   plain HTTP, basic authentication: robot, hunter2
#   5002   plain HTTP, read-only
#   5443   TLS with a certificate of an own authority (DIRECTORY/ca.pem)
#   5444   the same, and clients must show DIRECTORY/client.pem with DIRECTORY/client.key
#   5445   TLS and basic authentication
#   5446   TLS, and nginx takes no more than 1 MB at once
#
# All of them serve the same images, kept in DIRECTORY/data (~/.cache/zuwai/registry by default).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/packages.sh"
need_packages docker-registry nginx-light openssl >&2

directory=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/registry}
address=${2:-127.0.0.1}
mkdir -p "$directory/data" "$directory/nginx"
directory=$(cd "$directory" && pwd)
cd "$directory"

# certificate NAME SUBJECT EXTENSION: makes NAME.key and NAME.pem, signed by the authority.
certificate() {
  openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -subj "/CN=$2" 2>/dev/null |
    openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -out "$1.pem" \
      -extfile /dev/fd/3 3<<EXTENSION 2>/dev/null
$3
EXTENSION
}

openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650 \
  -subj "/CN=zuwai test authority" 2>/dev/null
certificate server "$address" "subjectAltName=IP:$address,DNS:localhost"
certificate client robot "extendedKeyUsage=clientAuth"

# The registry only knows bcrypt, which Debian's crypt has.
perl -e 'print "robot:", crypt("hunter2", "\$2y\$05\$zuwaizuwaizuwaizuwaizu"), "\n"' >htpasswd

# config PORT MORE…: makes PORT.yml.
config() {
  cat >"$1.yml" <<CONFIG
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $directory/data}
  delete: {enabled: true}
  maintenance: {uploadpurging: {enabled: false}, readonly: {enabled: $2}}
http: {addr: "$address:$1", relativeurls: true}
$3
CONFIG
}
config 5000 false ""
config 5001 false "auth: {htpasswd: {realm: zuwai, path: $directory/htpasswd}}"
config 5002 true ""

# server PORT UPSTREAM MORE: one nginx server.
server() {
  cat <<SERVER
  server {
    listen $address:$1 ssl;
    ssl_certificate $directory/server.pem;
    ssl_certificate_key $directory/server.key;
    $3
    location / {
      proxy_pass http://$address:$2;
      proxy_set_header Host \$http_host;
      proxy_set_header X-Forwarded-Proto \$scheme;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_buffering off;
    }
  }
SERVER
}
cat >nginx.conf <<NGINX
daemon off;
worker_processes 1;
pid $directory/nginx/pid;
error_log stderr crit;
events {}
http {
  access_log off;
  client_body_temp_path $directory/nginx/body;
  proxy_temp_path $directory/nginx/proxy;
  fastcgi_temp_path $directory/nginx/fastcgi;
  uwsgi_temp_path $directory/nginx/uwsgi;
  scgi_temp_path $directory/nginx/scgi;
$(server 5443 5000 "client_max_body_size 0;")
$(server 5444 5000 "client_max_body_size 0; ssl_verify_client on; ssl_client_certificate $directory/ca.pem;")
$(server 5445 5001 "client_max_body_size 0;")
$(server 5446 5000 "client_max_body_size 1m;")
}
NGINX

children=
trap 'trap - EXIT; kill $children 2>/dev/null || true; wait' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for port in 5000 5001 5002; do
  docker-registry serve "$port.yml" </dev/null >"$port.log" 2>&1 &
  children="$children $!"
done
# nginx warns at the start that it cannot write its usual log where it is not root.
/usr/sbin/nginx -p "$directory/nginx" -c "$directory/nginx.conf" </dev/null >nginx.log 2>&1 &
children="$children $!"

for port in 5000 5001 5002 5443 5444 5445 5446; do
  tries=0
  until perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new($ARGV[0])' "$address:$port"; do
    tries=$((tries + 1))
    if [ "$tries" -ge 100 ]; then
      echo "error: nothing listens on $address:$port" >&2
      tail -n 5 ./*.log >&2
      exit 1
    fi
    sleep 0.1
  done
done
echo "registry is ready on $address, files are in $directory"
cat >/dev/null

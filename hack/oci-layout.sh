#!/bin/sh
# hack/oci-layout.sh ROOTFS LAYOUT TAG [CMD]
# Packs a directory as a one-layer image in an OCI layout, with nothing but tar, gzip and sha256sum,
# so that a base image owes nothing to the program it is used to test.
set -eu
rootfs=$1 layout=$2 tag=$3 cmd=${4:-/bin/sh}
case $(uname -m) in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) architecture=$(uname -m) ;;
esac

rm -rf "$layout.new"
mkdir -p "$layout.new/blobs/sha256"
blobs=$layout.new/blobs/sha256

tar --create --sort=name --numeric-owner --xattrs --xattrs-include='*' --format=posix \
  --pax-option='delete=atime,delete=ctime' --one-file-system \
  --directory "$rootfs" --file "$blobs/layer.tar" .
diff_id=$(sha256sum "$blobs/layer.tar" | cut -d' ' -f1)
gzip -n -6 "$blobs/layer.tar"

# name_blob FILE: renames a blob to its digest and prints "DIGEST SIZE".
name_blob() {
  digest=$(sha256sum "$1" | cut -d' ' -f1)
  size=$(stat -c %s "$1")
  mv "$1" "$blobs/$digest"
  echo "$digest $size"
}

layer=$(name_blob "$blobs/layer.tar.gz")
cat >"$blobs/config" <<JSON
{"architecture":"$architecture","os":"linux","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["$cmd"]},"rootfs":{"type":"layers","diff_ids":["sha256:$diff_id"]},"history":[{"created_by":"hack/bases.sh $tag"}]}
JSON
config=$(name_blob "$blobs/config")
cat >"$blobs/manifest" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:${config% *}","size":${config#* }},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:${layer% *}","size":${layer#* }}]}
JSON
manifest=$(name_blob "$blobs/manifest")
printf '{"imageLayoutVersion":"1.0.0"}' >"$layout.new/oci-layout"
cat >"$layout.new/index.json" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:${manifest% *}","size":${manifest#* },"annotations":{"org.opencontainers.image.ref.name":"$tag"}}]}
JSON
rm -rf "$layout"
mv "$layout.new" "$layout"

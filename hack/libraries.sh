# Sourced by the other scripts: programs of this machine for a tree that is the root of another one, with
# all that they need there.

# with_libraries TREE FILE…: copies programs and libraries into a tree, each in its own place, and what
# they are linked with.
with_libraries() {
  into=$1
  shift
  for file in "$@"; do
    for needed in $file $(ldd "$file" 2>/dev/null | grep -o '/[^ ]*' || true); do
      [ -e "$into$needed" ] || install -D "$needed" "$into$needed"
    done
  done
}

# with_python TREE: copies Debian's python3, whichever comes first in the path, and its library.
with_python() {
  standard=$(/usr/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
  with_libraries "$1" "$(readlink -f /usr/bin/python3)"
  ln -s "$(readlink -f /usr/bin/python3)" "$1/usr/bin/python3"
  mkdir -p "$1$standard"
  tar -c -C "$standard" --exclude=__pycache__ --exclude=test --exclude=dist-packages \
    --exclude='config-*' --exclude=lib2to3 --exclude=idlelib . | tar -x -C "$1$standard"
  with_libraries "$1" "$standard"/lib-dynload/*.so
}

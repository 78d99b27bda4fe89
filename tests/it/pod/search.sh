# Run by a RUN. Looks for the marker wherever a command can, and says what it could open.
# The brackets keep the patterns from finding themselves.
pattern='PATTERNS'
found() { grep -qE "$pattern" && echo "FOUND $1"; }
echo "SEARCH by $(id -u)"
# Something that can be found, for the search must be able to.
half=redteam
env -i DECOY="${half}marker" sleep 1000 &
for place in /* /dev/shm /kaniko/* /kaniko/.[!.]*; do
  # The test's own places, and the executor's program, which is large.
  case $place in
    /proc | /sys | /dev | /bases | /shared | /broker | /kaniko | /kaniko/executor) continue ;;
  esac
  grep -rlE "$pattern" "$place" 2>/dev/null | while read -r file; do echo "FOUND file $file"; done
done
env | found "own environment"
for process in /proc/[0-9]*; do
  pid=${process#/proc/}
  [ "$pid" = $$ ] && continue
  name=$(cat "$process/comm" 2>/dev/null) || continue
  echo "NEIGHBOUR $name"
  found "$name cmdline" 2>/dev/null < "$process/cmdline"
  for file in environ maps auxv; do
    if cat "$process/$file" > /tmp/taken 2>/dev/null && [ -s /tmp/taken ]; then
      echo "OPEN $name $file"
      found "$name $file" < /tmp/taken
    fi
  done
  for directory in root cwd; do
    ls "$process/$directory/" > /dev/null 2>&1 && echo "OPEN $name $directory"
  done
  # Root may list their numbers, but not follow them.
  for directory in fd map_files "task/$pid/fd"; do
    for link in "$process/$directory"/*; do
      if readlink "$link" > /dev/null 2>&1 || (exec 3< "$link") 2> /dev/null; then
        echo "OPEN $name $directory"
        break
      fi
    done
  done
  (exec 3< "$process/mem") 2>/dev/null && echo "OPEN $name mem"
done
/attack neighbours
[ -z "${SOCKET-}" ] || /attack ask "$SOCKET" "GET /claim" "GET /v2/" "GET /v2/team/app/tags/list" \
  "GET /v2/team/app/manifests/v1" "GET /v2/other/manifests/v1" "POST /v2/team/app/blobs/uploads/" \
  "DELETE /v2/team/app/blobs/uploads/0" "GET http://169.254.169.254/latest/meta-data/"
echo "SEARCH ended"

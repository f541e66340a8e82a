#!/bin/sh
# Assembles examples/hello without a Dockerfile: each step is an ordinary command on a working container.
#
#   step-by-step.sh [BASE-IMAGE [DESTINATION]]     e.g. step-by-step.sh localhost/base oci:/tmp/hello:latest
#
# The commands and flags are Buildah's, so `GABION=buildah step-by-step.sh` does the same.
set -eu

gabion=${GABION:-gabion}
base=${1:-localhost/base}
destination=${2:-}
here=$(dirname "$0")

# A working container is a writable layer over the base image.
container=$("$gabion" from "$base")
trap '"$gabion" rm "$container" >/dev/null' EXIT

# Change it: by a command inside, by copying files in, by its mounted root.
"$gabion" run "$container" -- sh -c 'echo hello:x:1000:1000::/usr/share/hello:/bin/sh >> /etc/passwd'
"$gabion" copy -q --chmod 0755 "$container" "$here/hello/hello.sh" /usr/bin/hello
root=$("$gabion" mount "$container")
mkdir -p "$root/usr/share/hello"
echo 'Hello, step by step!' > "$root/usr/share/hello/greeting"
echo "built on $(uname -sm)" > "$root/usr/share/hello/built"
"$gabion" umount "$container" >/dev/null

# Say how the image is to be run.
"$gabion" config --env HELLO_DIR=/usr/share/hello --user hello --workingdir /usr/share/hello --cmd hello \
    --label org.opencontainers.image.title=hello "$container"

# Make an image of it, and pass it on.
"$gabion" commit -q "$container" localhost/hello-by-steps
if [ -n "$destination" ]; then
    "$gabion" push localhost/hello-by-steps "$destination"
fi

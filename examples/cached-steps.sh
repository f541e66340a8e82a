#!/bin/sh
# An image by a script of steps that are not done again while what they depend on is the same.
#
#   cached-steps.sh [BASE-IMAGE [IMAGE]]
#
# Run twice, the second run executes nothing; after a change of hello/hello.sh it copies that file and runs what
# comes behind it.
set -eu

gabion=${GABION:-gabion}
base=${1:-localhost/base}
image=${2:-localhost/hello-cached}
here=$(dirname "$0")

container=$("$gabion" from "$base")
trap '"$gabion" rm "$container" >/dev/null' EXIT

# Each of these steps gets a layer of its own, as RUN and COPY in a Dockerfile do.
"$gabion" run --cached --network none "$container" -- \
    sh -c 'echo hello:x:1000:1000::/usr/share/hello:/bin/sh >> /etc/passwd; mkdir -p /usr/share/hello'
"$gabion" copy --cached -q --chmod 0755 --contextdir "$here/hello" "$container" hello.sh /usr/bin/hello
# What a command sees is part of what it depends on.
"$gabion" config --env HELLO_DIR=/usr/share/hello "$container"
"$gabion" run --cached --network none "$container" -- \
    sh -c 'echo "Hello from a cached step!" > "$HELLO_DIR/greeting"; echo "built on $(uname -sm)" > "$HELLO_DIR/built"'

"$gabion" config --user hello --workingdir /usr/share/hello --cmd hello "$container"
"$gabion" commit -q "$container" "$image"

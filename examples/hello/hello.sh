#!/bin/sh
# Says what is in the image it was built into.
cat "$HELLO_DIR/greeting"
echo "I am $(id -un), in $PWD; I was $(cat "$HELLO_DIR/built")."

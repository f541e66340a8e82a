"""Greets whom its arguments name."""

import os
import sys

import six

with open("/etc/app/settings.conf") as file:
    settings = dict(line.rstrip("\n").split("=", 1) for line in file)
with open("/app/built-with") as file:
    built_with = file.read().strip()
print(settings["greeting"] + ", " + " ".join(sys.argv[1:]) + "!")
print("user", os.getuid(), "six", six.__version__, "built with", built_with)

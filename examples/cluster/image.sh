#!/bin/sh
# The demonstration's images differ by what they say of themselves.
date -u +%Y-%m-%dT%H:%M:%S >/etc/made

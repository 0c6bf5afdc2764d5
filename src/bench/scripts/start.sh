#!/bin/sh
# Nothing: what is measured is how long it takes to get here and back.
echo "size a command that does nothing"

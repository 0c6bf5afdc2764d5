#!/bin/sh
# Runs in the image's root while it is built: GROMACS's tutorials and reference manuals stay out.
set -eu
rm -rf /usr/share/gromacs/template /usr/share/doc/gromacs*
gmx -quiet --version >/dev/null

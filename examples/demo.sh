#!/bin/sh
# The demonstration: installs what is needed, builds WNoDeS, builds an image with GROMACS in it, and
# runs a molecular dynamics simulation of a box of water in a VM. Input and result are files of this
# host's examples/gromacs directory.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
build=${BUILD:-build}
image=demo
work=$top/examples/gromacs
report=$work/report.json

say() {
	printf '\n== %s\n' "$*"
}

say "1/4 what is needed"
tools/install-dependencies build run
command -v jq >/dev/null || tools/install-dependencies test

say "2/4 building WNoDeS"
make --no-print-directory
wnodes=$top/$build/wnodes

say "3/4 building the image '$image': Debian with GROMACS"
if "$wnodes" image list --quiet | grep -qx "$image:latest"; then
	echo "there already (wnodes image remove $image makes this step run again)"
else
	"$wnodes" image build debian --name "$image" --packages gromacs --script "$work/slim.sh"
fi

say "4/4 a simulation in a VM: $work/simulate.sh"
cd "$work"
rm -f result.edr result.gro result.log report.json
"$wnodes" run --image "$image" --memory 1G --report "$report" -- ./simulate.sh

say "done"
echo "ran:       ./simulate.sh ($(sed -n 's/^ *nsteps *= *//p' md.mdp) steps of $(sed -n 2p result.gro | tr -d ' ') atoms)"
echo "in:        a VM of $(jq -r '.image.name + ":" + .image.tag + " (" + .image.digest[0:12] + "), " + .accel + ", " + (.cpus|tostring) + " CPU, " + (.memory_bytes/1048576|tostring) + " MiB"' "$report")"
echo "input:     $work/md.mdp, topol.in"
echo "result:    $work/result.gro, written in the VM, owned by $(stat -c %U result.gro) here"
echo "phases:    $(jq -r '[.phases[] | .phase + " " + ((.duration_s*100|round)/100|tostring) + " s"] | join(", ")' "$report")"

# A Slurm cluster for a file of tests: load cluster (after helpers)

SLURM_USER=wnodestest

# Starts one of two nodes with the build's plugin and job starter, or says in $WHY_NOT why there can be none:
# cluster_setup NAME [OPTIONS of up.sh]. Its directory is $SLURM_TOP, which is the home of its $SLURM_USER.
cluster_setup() {
	export SLURM_TOP SLURM_CONF WHY_NOT
	local plugin=$WNODES_BUILD/src/lrms/slurm/plugin/wnodes_slurm.so name=$1 lines status=0
	shift
	if [ ! -e "$plugin" ]; then
		WHY_NOT="built without the headers of Slurm (tools/install-dependencies slurm)"
		return
	elif nm -D "$plugin" | grep -q __asan_init; then
		WHY_NOT="Slurm's own programs cannot load a sanitized plugin"
		return
	fi
	SLURM_TOP=$(mktemp -d "/tmp/wnodes-$name-test.XXXXXX")
	chmod 755 "$SLURM_TOP"
	install -m 755 "$plugin" "$SLURM_TOP/wnodes_slurm.so"
	lines=$("$BATS_TEST_DIRNAME/../slurm/up.sh" --state "$SLURM_TOP/state" --cpus 4 --memory 6000 \
		--plugin "$SLURM_TOP/wnodes_slurm.so bait=$WNODES_BUILD/wnodes-bait" \
		--user "$SLURM_USER:$TEST_UID:$SLURM_TOP" "$@" 2>"$SLURM_TOP/up.log") || status=$?
	if [ $status -eq 77 ]; then
		WHY_NOT="no Slurm cluster here: $(sed -n 's/^slurm: //p' "$SLURM_TOP/up.log" | tail -1)"
		return
	fi
	[ $status -eq 0 ] || { cat "$SLURM_TOP/up.log" && return 1; }
	eval "$lines"
}

cluster_teardown() {
	if [ -n "${SLURM_TOP:-}" ]; then
		"$BATS_TEST_DIRNAME/../slurm/down.sh" --state "$SLURM_TOP/state"
		rm -rf "$SLURM_TOP"
	fi
}

# A command on a host of the cluster, as root: on HOST COMMAND...
on() {
	"$BATS_TEST_DIRNAME/../slurm/on.sh" --state "$SLURM_TOP/state" "$@"
}

# A command of a user of the cluster, who has a home of its own: as UID COMMAND...
as() {
	local uid=$1 home=$SLURM_TOP/home
	shift
	mkdir -p "$home" && chown "$uid:$uid" "$home"
	# shellcheck disable=SC2016 # for the shell inside
	(cd "$home" && unshare --mount --propagation slave sh -ec '
		for file in hosts passwd group; do mount --bind "$0/etc/$file" "/etc/$file"; done
		exec "$@"' "$SLURM_TOP/state" setpriv --reuid="$uid" --regid="$uid" --clear-groups \
		env -i HOME="$home" PATH="$PATH" SLURM_CONF="$SLURM_CONF" SLURM_EXIT_ERROR=255 "$@")
}

no_job() {
	[ -z "$(squeue -h -j "$1" 2>/dev/null)" ]
}

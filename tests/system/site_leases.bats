#!/usr/bin/env bats
# 64 nodes take leases in blocks and give them back at two controllers on one PostgreSQL, which are killed at
# random, all three. SITE_LEASES_SECONDS makes it longer, SITE_LEASES_SEED has the same killed again.

load helpers

@test "leases: none is held twice or lost, whoever is killed" {
	[ -x "$WNODES_BUILD/wnodes-controller" ] || skip "the controller was not built"
	chmod 711 "$WORK" # the database's server is another user's
	local seconds=${SITE_LEASES_SECONDS:-12} status=0
	timeout $((seconds + 240)) python3 "$BATS_TEST_DIRNAME/site_leases.py" "$WORK/site" "$seconds" 64 >result 2>err ||
		status=$?
	[ $status -ne 77 ] || skip "there is no PostgreSQL server"
	cat result err
	[ $status -eq 0 ] || tail -n 20 "$WORK"/site/*/controller.err || true
	[ $status -eq 0 ]
	jq -e '.pairs > 50 and .retries > 0 and .kills.controller > 0 and .kills.database > 0' result
}

# An image's next version, from `wnodes image refresh` to the nodes of a site: real VMs, controller, daemon and porter.

bats_require_minimum_version 1.5.0
load helpers
load daemon
load site
load site_catalogue
load repository

@test "refresh: the next version is pending at the site, and what the name stands for when it was approved" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "set WNODES_TEST_SLOW=1: some minutes"
	start_site
	own_config '[site]' "controllers = unix:$SITE/socket"
	mkdir -p data
	copy_store "$TEST_STORE" data
	repository /usr/share/wnodes-new
	run -0 "$WNODES" image publish --site --reason first debian
	old=$("$WNODES" image show --json debian | jq -r .digest)
	approve "$old"
	# What a timer would run.
	run -0 --separate-stderr timeout 500 "$WNODES" image refresh --json --publish --mirror "$mirror" --tag next debian
	jq -e '.changed and (.checks | all(.passed))' <<<"$output"
	new=$(jq -r .digest <<<"$output")
	[ "$new" != "$old" ]
	site GET "/v1/images/$new" >image.json
	jq -e '(.state == "pending" or .state == "endorsed") and .name == "debian"' image.json
	start_node
	ask $ONE debian >ask.out
	[ "$(tail -1 ask.out | jq -r .digest)" = "$old" ]
	is_refused "$new"
	approve "$new" || change "$new" approve
	follows
	ask $ONE debian >ask.out
	[ "$(tail -1 ask.out | jq -r .digest)" = "$new" ]
	# The way back is the tag.
	site PUT /v1/tags/debian:latest -H 'If-Match: *' -d "{\"digest\":\"$old\",\"reason\":\"back\"}" | jq -e .digest
	follows
	ask $ONE debian >ask.out
	[ "$(tail -1 ask.out | jq -r .digest)" = "$old" ]
}

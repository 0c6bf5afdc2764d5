# The site's policies: which job gets a VM. Nothing is started here.

bats_require_minimum_version 1.5.0
load helpers

# Writes a file of policies: site LINE...
site() {
	printf '%s\n' "$@" >site.conf
}

# The decision as JSON, in $output: decide [OPTION...]
decide() {
	run -0 --separate-stderr "$WNODES" policy test --file site.conf --json "$@"
}

# Holds an expression of jq for $output?
says() {
	jq -e "$1" <<<"$output" >/dev/null || { echo "not so: $1"; echo "$output"; return 1; }
}

@test "policy: the first rule whose conditions all hold decides, and each says why" {
	site '[policy admins]' 'group = wheel*' '[policy long]' 'partition = long, short-*' \
		'vm = force' 'image = el9:2026' 'memory = 8G' '[policy rest]'
	decide --user alice --group users --partition short-1
	says '.decision == "vm" and .policy == "long"'
	says '.policies[0] | .looked_at and (.matches | not) and .why == "no group (users) is one of wheel*"'
	says '.policies[1].matches and (.policies[2].looked_at | not)'
	says '[.values[] | select(.from == "the policy").key] == ["image", "memory"]'
	says '.values[] | select(.key == "memory").value == 8589934592'
	decide --user alice --group wheel-2 --partition short-1
	says '.decision == "bare" and .policy == "admins"'
	decide --user alice --group users
	says '.decision == "bare" and .policy == "rest"'
	says '.policies[1].why == "no partition is known, and the rule asks for long, short-*"'
}

@test "policy: the job's own wishes win unless the rule locks the value" {
	site '[policy a]' 'image = el9' 'network = none' 'cpus = 4' 'env = A=1' 'locked = image, network'
	decide --image debian --network user --cpus 7 --env B=2
	says '[.values[] | select(.overruled).key] == ["image", "network"]'
	says '.values | map({(.key): .value}) | add | .image == "el9" and .network == "none" and .cpus == 7'
	says '.values[] | select(.key == "env").value == ["A=1", "B=2"]'
	run -0 "$WNODES" policy test --file site.conf --image debian
	[[ "$output" == *"The job runs in a VM: the policy 'a' allows VMs, and the job asks for one."* ]]
	[[ "$output" == *"el9"*"the policy, which locks it"* ]]
}

@test "policy: a forbidden VM is refused with the rule's name and message" {
	site '[policy io]' 'partition = io' 'vm = forbid' 'message = ask the operators'
	decide --partition io --vm
	says '.decision == "refused"'
	says '.reason == "the site'\''s policy '\''io'\'' forbids VMs here: ask the operators"'
	decide --partition io --scratch 0
	says '.decision == "refused"'
	decide --partition io
	says '.decision == "bare"'
}

@test "policy: a regular expression on the job's name" {
	site '[policy a]' 'job-name = ^(vm|virtual)-[0-9]+$' 'vm = force'
	decide --job-name virtual-12
	says '.decision == "vm"'
	decide --job-name my-virtual-12
	says '.decision == "bare"'
	says '.policies[0].why == "job name '\''my-virtual-12'\'' does not match ^(vm|virtual)-[0-9]+$"'
}

@test "policy: groups come from the account database unless they are given" {
	site '[policy a]' 'group = root' 'vm = force'
	decide --user root
	says '.decision == "vm" and .subject.groups[0] == "root"'
	decide --user root --group users
	says '.decision == "bare"'
	run -125 --separate-stderr "$WNODES" policy test --file site.conf --user no-such-user
	[[ "$stderr" == *"give them with --group"*"no user 'no-such-user'"* ]]
	decide --user no-such-user --group root
	says '.decision == "vm"'
}

@test "policy: without policies only who asks for a VM gets one" {
	site '[run]' 'image = el8'
	decide
	says '.decision == "bare" and .policy == null and .policies == []'
	decide --cpus 2
	says '.decision == "vm"'
	says '.values[] | select(.key == "image") | .value == "el8" and .from == "[run]"'
	says '.values[] | select(.key == "memory") | .value == null and .from == "the job'\''s allocation"'
}

@test "policy: mistakes are told with file and line, by every verb that reads the file" {
	site '[policy a]' 'job-name = a(b'
	run -125 --separate-stderr "$WNODES" policy test --file site.conf
	[[ "$stderr" == "wnodes: site.conf:2: job-name: 'a(b' is no regular expression"* ]]
	run -125 --separate-stderr "$WNODES" policy list --file site.conf
	[[ "$stderr" == *"site.conf:2: "* ]]
	run -125 --separate-stderr "$WNODES" policy list --file not-there
	[[ "$stderr" == *"'not-there': No such file"* ]]
}

@test "policy: a user's own file cannot have any" {
	mkdir -p "$WORK/config/wnodes"
	printf '%s\n' '[policy mine]' 'vm = allow' >"$WORK/config/wnodes/wnodes.conf"
	XDG_CONFIG_HOME=$WORK/config run -125 --separate-stderr "$WNODES" run -- true
	[[ "$stderr" == *"wnodes.conf:1: [policy mine]: policies are the site's: only the system's"* ]]
	XDG_CONFIG_HOME=$WORK/config run -0 "$WNODES" policy list --quiet
	[[ "$output" != *mine* ]]
}

# In a mount namespace of its own: the host's /etc stays as it is.
@test "policy: the system's file counts, for wnodes run too" {
	skip_unless_root
	grep -q '"/etc/wnodes"' "$WNODES_BUILD/config.h" || skip "built for another place than /etc"
	unshare --mount --propagation private true 2>/dev/null || skip "needs a mount namespace"
	mkdir etc
	with_site() {
		unshare --mount --propagation private sh -c '
			mount -t tmpfs tmpfs /mnt && cp -a /etc /mnt/etc && rm -rf /mnt/etc/wnodes &&
			cp -a etc /mnt/etc/wnodes && mount --rbind /mnt/etc /etc && exec "$@"' sh "$@"
	}
	printf '%s\n' '[policy all]' 'vm = force' 'image = el9' >etc/wnodes.conf
	run -0 with_site "$WNODES" policy test
	[[ "$output" == *"the policy 'all' puts every job into a VM"* ]]
	printf '%s\n' '[policy all]' 'vm = fore' >etc/wnodes.conf
	run -125 with_site "$WNODES" run -- true
	[[ "$output" == *"/etc/wnodes/wnodes.conf:2: vm: 'fore' is not one of allow|force|forbid"* ]]
}

# A VM of an ordinary user; root is not asked.
@test "share: the site says which directories VMs have, and which they only read" {
	skip_unless_root
	grep -q '"/etc/wnodes"' "$WNODES_BUILD/config.h" || skip "built for another place than /etc"
	unshare --mount --propagation private true 2>/dev/null || skip "needs a mount namespace"
	skip_unless_user
	mkdir -p etc data/here other
	chmod 755 . data data/here other
	chmod 777 data
	ln -s "$WORK/other" data/link
	as_user true # makes its home
	printf '%s\n' '[share home]' "path = $WORK/user" '[share data]' "path = $WORK/data" 'access = ro' >etc/wnodes.conf
	with_site() {
		unshare --mount --propagation private bash -c '
			mount -t tmpfs tmpfs /mnt && cp -a /etc /mnt/etc && rm -rf /mnt/etc/wnodes &&
			cp -a etc /mnt/etc/wnodes && mount --rbind /mnt/etc /etc && shift && exec "$@"' bash "$@"
	}
	export -f as_user
	export TEST_UID TEST_HOME BATS_TEST_DIRNAME
	site_run() {
		with_site - bash -c 'as_user "$@"' - "$WNODES" run --image debian "$@"
	}

	run -0 --separate-stderr site_run --mount "$WORK/data" -- sh -c "ls $WORK/data; touch $WORK/data/x || true; touch \$HOME/y"
	[[ "$output" == *here* ]]
	[[ "$stderr" == *"'$WORK/data' can only be read in the VM"* ]]
	[ ! -e data/x ] && [ -e user/y ]

	run -125 --separate-stderr site_run --mount "$WORK/other" -- true
	[[ "$stderr" == *"the site lets no VM have the directory '$WORK/other'"* ]]
	# Where a link leads counts, not where it is.
	run -125 --separate-stderr site_run --mount "$WORK/data/link:/in" -- true
	[[ "$stderr" == *"the site lets no VM have the directory '$WORK/other'"* ]]
}

@test "policy: list shows the rules in their order" {
	site '[policy b]' 'user = u' 'vm = force' 'image = x' 'locked = image' '[policy a]' 'vm = forbid'
	run -0 "$WNODES" policy list --file site.conf --quiet
	[ "$output" = $'b\na' ]
	run -0 "$WNODES" policy list --file site.conf
	[[ "${lines[1]}" == "b "*"user=u"*"force"*"image=x (locked)"* ]]
	run -0 "$WNODES" policy list --file site.conf --json
	says '.[0] | .conditions.user == ["u"] and .values.image == "x" and .locked == ["image"] and .line == 1'
}

@test "policy: the example file, as it is and with its comments taken off, is one that can be read" {
	"$WNODES" config >site.conf
	run -0 "$WNODES" policy list --file site.conf --quiet
	[ -z "$output" ]
	sed -i -n -e 's/^#\(\[policy \)NAME/\1example/p' -e 's/^#\(vm =\)/\1/p' site.conf
	run -0 "$WNODES" policy list --file site.conf --quiet
	[ "$output" = example ]
}

@test "policy: a shared object that decides needs nothing but libc and libinih" {
	local module=$WNODES_BUILD/tests/system/libpolicy_module.so needed
	[ -e "$module" ] || skip "built with sanitizers, which need more"
	needed=$(readelf -d "$module" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort | tr '\n' ' ')
	echo "$needed"
	[ "$needed" = "libc.so.6 libinih.so.1 " ]
	[ "$(nm -D --defined-only "$module" | awk '{print $3}' | tr '\n' ' ')" = "policy_module_decide " ]
}

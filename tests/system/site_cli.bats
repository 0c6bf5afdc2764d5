# The site from the command line, with a real controller on SQLite. What only nodes tell, VMs and
# records, is written into its database.

bats_require_minimum_version 1.5.0
load helpers
load controller

setup() {
	command -v sqlite3 >/dev/null || skip "sqlite3 is not installed"
	setup_controller
	own_config 'munge = none'
	export XDG_CONFIG_HOME=$WORK/config TZ=UTC
	mkdir -p "$XDG_CONFIG_HOME/wnodes"
	at_site "unix:$SOCKET"
	start_controller
}

# The site's controllers for `wnodes`: at_site ADDRESS...
at_site() {
	{
		echo '[site]'
		printf 'controllers = %s\n' "$@"
	} >"$XDG_CONFIG_HOME/wnodes/wnodes.conf"
}

sql() {
	sqlite3 -cmd '.timeout 10000' "$STATE/site.db" "$@"
}

# A node that has joined: add_node NAME
add_node() {
	sql "INSERT INTO node (name, hostgroup, state, reason, version, status_json, vms, memory_bytes, cpus,
		joined, seen, state_since, autonomous, config_seen, revision) VALUES ('$1', '', 'up', '', '0.1.0', '{}', 3,
		1073741824, 8, 1795283460000000, strftime('%s', 'now') * 1000000, 1795283460000000, 0, '', 1)"
}

# add_vms COUNT
add_vms() {
	sql "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $1)
		INSERT INTO vm (id, name, node, state, username, uid, job, image, digest, cpus, memory_bytes, started,
		updated) SELECT printf('00000000-0000-4000-8000-%012d', i), printf('vm-%08x', i), 'wn' || (i % 10), 'run',
		'u' || (i % 5), 1000 + i % 5, 'slurm.' || i, 'el9:latest', 'ab', 4, 4294967296, 1795283460000000,
		1795283460000000 FROM n"
}

# A record that has come: add_record NUMBER USER ACCOUNT
add_record() {
	local id body
	id=$(printf '00000000-0000-4000-8000-%012d' "$1")
	body=$(printf '{"schema":1,"id":"%s","vm":"vm-%d","node":"wn1","job":{"system":"slurm","id":"%d","step":"0","partition":"long","account":"%s"},"user":"%s","uid":1001,"gid":100,"image":{"name":"el9","tag":"latest","digest":"ab"},"shape":{"cpus":2,"memory_bytes":1073741824},"started":"2026-11-21T17:51:00Z","ended":"2026-11-21T18:51:00Z","usage":{"cpu_user_s":3000.5,"cpu_system_s":99.5}}' "$id" "$1" "$1" "$3" "$2")
	sql "INSERT INTO record (id, sequence, received, ended, started, month, node, username, account, image, job,
		wall_us, cpu_us, cpus, memory_bytes, body_json) VALUES ('$id', $1, 1, 1795287060000000, 1795283460000000,
		'2026-11', 'wn1', '$2', '$3', 'el9:latest', 'slurm.$1', 3600000000, 3100000000, 2, 1073741824, '$body')"
}

says() {
	[[ $output == *"$1"* ]] || { echo "not said: $1"; echo "$output"; return 1; }
}

@test "site: who answers, and who one is" {
	run -0 "$WNODES" site status --json
	jq -e --arg user "$(id -un)" '.controllers[0].status == "ok" and .whoami.name == $user and .whoami.how == "socket"' <<<"$output"
	# By HTTPS, with the site's own authority and a token.
	run -0 "$WNODES" token create --expires 1h
	(umask 077 && echo "$output" >token)
	"$WNODES" site ca >ca.pem
	at_site "$URL"
	printf 'ca = %s\ntoken_file = %s\n' "$WORK/ca.pem" "$WORK/token" >>"$XDG_CONFIG_HOME/wnodes/wnodes.conf"
	run -0 "$WNODES" site status --json
	jq -e '.whoami.how == "token"' <<<"$output"
	run -125 "$WNODES" token create
	says "a token makes no tokens"
}

@test "site: what is not reached is told, with what was tried" {
	at_site unix:"$WORK/nowhere" https://127.0.0.1:1
	run -125 "$WNODES" node list
	says "tried were unix:$WORK/nowhere, https://127.0.0.1:1 ([site] controllers in wnodes.conf)"
	run -125 "$WNODES" record export
	says "--local reads this machine's files"
	run -125 "$WNODES" site status
	says unreached
	at_site unix:"$WORK/nowhere" unix:"$SOCKET"
	run -0 "$WNODES" node list
}

@test "site: nodes and host groups" {
	skip_unless_root
	add_node wn1
	run -0 "$WNODES" node list --quiet
	[ "$output" = wn1 ]
	run -0 "$WNODES" group create gpu --description 'with GPUs'
	run -0 "$WNODES" group add gpu wn1
	run -0 "$WNODES" node list --group gpu --state up --json
	jq -e 'length == 1 and .[0].hostgroup == "gpu" and .[0].memory_bytes == 1073741824' <<<"$output"
	run -125 "$WNODES" group remove gpu
	run -0 "$WNODES" node drain --node wn1 'memory module'
	run -0 "$WNODES" node show wn1
	says 'memory module'
	run -0 "$WNODES" node resume --node wn1
	run -125 "$WNODES" node drain --node nosuch why
	says "there is no node 'nosuch'"
	run -0 "$WNODES" node remove wn1
	says 'its 3 VMs are not known any more'
	run -125 "$WNODES" node remove wn1
	run -0 "$WNODES" group remove gpu
	run -0 "$WNODES" event list --kind node.changed,node.removed --json
	[ "$(jq -sr 'map(.kind) | join(" ")' <<<"$output")" = "node.changed node.changed node.changed node.removed" ]
}

@test "site: pools and leases" {
	skip_unless_root
	grid=(grid --vlan 12 --hosts 'wn-%04d' --first 10.1.0.1 --count 3 --prefix 16 --nameserver 10.1.0.250)
	run -0 "$WNODES" pool create "${grid[@]}"
	run -0 "$WNODES" pool create "${grid[@]}"
	run -125 "$WNODES" pool create other --hosts x
	says 'a pool needs --first'
	run -0 "$WNODES" pool grow grid --count 5
	run -0 "$WNODES" pool show grid --json
	jq -e '.size == 5 and .used == 0 and .nameservers == ["10.1.0.250"]' <<<"$output"
	run -125 "$WNODES" pool grow grid --count 4
	id=00000000-0000-4000-8000-00000000000a
	echo '{"pool":"grid"}' | "$WNODES_BUILD/wnodes-call" PUT /v1/leases/$id
	run -0 "$WNODES" lease list --pool grid --quiet
	[ "$output" = $id ]
	run -125 "$WNODES" pool remove grid
	run -0 "$WNODES" lease return $id
	says 'wn-0001 (10.1.0.1) is back in the pool'
	run -125 "$WNODES" lease return $id
	run -0 "$WNODES" pool remove grid
	says 'with its 5 places'
}

@test "site: tokens, roles and certificates" {
	skip_unless_root
	run -0 --separate-stderr "$WNODES" token create --join --expires 1h
	[[ $output == wnodes_join_* ]]
	run -125 "$WNODES" token create --join --user alice
	run -0 "$WNODES" token create --user alice --id alice-laptop
	run -0 "$WNODES" token revoke alice-laptop
	run -125 "$WNODES" token create --user alice --node wn1
	run -0 "$WNODES" group create gpus
	run -0 "$WNODES" token create --user alice --role administrator --group gpus --id alice-gpus
	run -0 "$WNODES" token revoke alice-gpus
	run -0 "$WNODES" group remove gpus
	run -0 "$WNODES" token list --kind join --quiet
	run -0 "$WNODES" token revoke "$output"
	run -0 "$WNODES" role grant alice administrator
	run -0 "$WNODES" role grant @ops endorser
	run -0 "$WNODES" role list
	says '@ops'
	run -125 "$WNODES" role grant alice king
	run -0 "$WNODES" role revoke alice administrator
	run -125 "$WNODES" role revoke alice administrator
	says 'not granted'
	run -0 "$WNODES" certificate list --json
	run -125 "$WNODES" certificate revoke 12 stolen
}

@test "site: the configuration of nodes, with mistakes and with two who edit" {
	skip_unless_root
	printf '[node]\nvms = 8\n' >site.conf
	run -0 "$WNODES" config set site.conf
	run -125 "$WNODES" config set - <<<$'[node]\nvms = many'
	says 'line 2'
	add_node wn1
	EDITOR="sed -i '\$ar = 1'" run -125 "$WNODES" config edit </dev/null
	says 'your text is in'
	EDITOR="sed -i 's/8/9/'" run -0 "$WNODES" config edit
	run -0 "$WNODES" config show
	[ "$output" = $'[node]\nvms = 9' ]
	EDITOR=true run -0 "$WNODES" config edit
	[ "$output" = 'nothing was changed' ]
	# Somebody else is faster.
	EDITOR="'$WNODES' config set site.conf && sed -i 's/9/10/'" TMPDIR=$WORK run -125 "$WNODES" config edit </dev/null
	says 'changed by somebody else'
	[ "$(cat wnodes-*.conf)" = $'[node]\nvms = 10' ]
	"$WNODES" config set --node wn1 - <<<$'[node]\nqueue = 5'
	run -0 "$WNODES" config show --node wn1 --joined
	says 'queue = 5'
	says 'vms = 8'
}

@test "site: a list of many VMs comes whole, in little memory" {
	add_vms 20000
	run -0 "$WNODES" vm list --all --quiet --node wn7
	skip_unless_root # others see their own
	[ "${#lines[@]}" -eq 2000 ]
	# A sanitizer's shadow takes all the addresses that there are.
	(nm -D "$WNODES" 2>/dev/null | grep -q __asan_init || ulimit -v 200000; "$WNODES" vm list --all --json) >vms.json
	jq -e 'length == 20000 and (map(.id) | unique | length) == 20000' vms.json
	[ "$("$WNODES" vm list --all | wc -l)" -eq 20001 ]
	"$WNODES" vm list --all | head -1 >/dev/null
	run -125 "$WNODES" vm list --user alice
	says 'give --all too'
}

@test "site: events are followed while controllers go and come" {
	skip_unless_root
	"$WNODES" event list --follow --for 60s --json >followed 2>told 3>&- &
	follower=$!
	"$WNODES" group create one
	wait_for 20 grep -q group:one followed
	stop_controller
	wait_for 30 grep -q retrying told
	start_controller
	"$WNODES" group create two
	wait_for 30 grep -q group:two followed
	kill "$follower"
	[ "$(jq -r .subject followed)" = $'group:one\ngroup:two' ]
}

@test "site: records of all nodes are exported and summed up" {
	skip_unless_root
	add_record 1 alice physics
	add_record 2 bob physics
	add_record 3 alice chemistry
	run -0 "$WNODES" record export --user alice
	[ "${#lines[@]}" -eq 3 ]
	run -0 "$WNODES" record export --format jsonl --account physics
	[ "$(jq -s 'length' <<<"$output")" -eq 2 ]
	run -125 "$WNODES" record export --format apel-job
	says 'set [record] site in wnodes.conf'
	run -0 "$WNODES" record export --format apel-job --site-name EXAMPLE --output queue
	says '3 records in 1 messages'
	[ "$(grep -c '^LocalJobId: [123]\.0@wn1$' queue/*/*)" -eq 3 ]
	run -0 "$WNODES" record summary --by user --json
	jq -e 'length == 2 and .[0] == {"user": "alice", "vms": 2, "wall_s": 7200.0, "core_s": 14400.0, "cpu_s": 6200.0}' <<<"$output"
	run -0 "$WNODES" record summary --by month,account
	says 'physics'
	run -0 "$WNODES" record list --site --job 2 --json
	jq -e 'length == 1 and .[0].user == "bob"' <<<"$output"
	# The same from a file.
	"$WNODES" record export --format jsonl --output all.jsonl
	run -0 "$WNODES" record summary --by user --json --file all.jsonl
	jq -e 'length == 2 and .[1].user == "bob" and .[1].core_s == 7200' <<<"$output"
}

# A record as a node's daemon writes it: line_of NUMBER NAME
line_of() {
	jq -cn --argjson i "$1" --arg name "$2" '{schema: 1, id: "00000000-0000-4000-8000-\(100000000000 + $i)",
		vm: "vm-\($i)", node: "wn1", job: {system: "slurm", id: "\($i)", account: $name}, user: $name, uid: 1001,
		gid: 100, image: {name: "el9", tag: "latest"}, shape: {cpus: 2}, started: "2026-11-21T17:51:00Z",
		ended: "2026-11-21T18:51:00Z", usage: {}}'
}

@test "site: files of records become messages of a thousand, and a file as a whole" {
	line_of 7 $'a\n%%\nSite: OTHER, "x"' >records
	for i in {1..2500}; do
		echo "{\"schema\":1,\"id\":\"$(printf '00000000-0000-4000-8000-%012d' "$i")\",\"job\":{\"id\":\"$i\"},\"started\":\"2026-11-21T17:51:00Z\",\"ended\":\"2026-11-21T18:51:00Z\"}"
	done >>records
	# The same once more, one that was cut off, and one that no accounting takes.
	head -1 records >>records
	echo '{"schema":1,"id":"00000000-0000-4000-8000-200000000000","ended":"2026-11-21T18:51:00Z"}' >>records
	head -c 50 <(head -1 records) >>records
	"$WNODES" record export --file records --format apel-cloud --site-name S --output queue 2>told
	grep -q '2501 records in 3 messages' told
	grep -q 'does not say when its VM started' told
	[ "$(cat queue/*/* | grep -c '^%%$')" -eq 2501 ]
	for message in queue/*/*; do
		[[ $message =~ ^queue/[0-9a-f]{8}/[0-9a-f]{14}$ ]]
		[ "$(head -1 "$message")" = 'APEL-cloud-message: v0.4' ]
		[ "$(grep -c '^%%$' "$message")" -le 1000 ]
		[ "$(grep -c '^SiteName: S$' "$message")" -eq "$(grep -c '^%%$' "$message")" ]
	done
	"$WNODES" record export --file records --output out.csv
	python3 -c 'import csv, sys
rows = list(csv.DictReader(open("out.csv", newline="")))
assert len(rows) == 2502 and rows[0]["user"] == "a\n%%\nSite: OTHER, \"x\"", rows[0]'
	# What fails leaves what was there.
	before=$(sha256sum out.csv)
	run -125 "$WNODES" record export --file nosuch --output out.csv
	[ "$before" = "$(sha256sum out.csv)" ]
	run -125 "$WNODES" record export --file records --output queue
	says 'is a directory'
	! ls ./*.tmp
}

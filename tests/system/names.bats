#!/usr/bin/env bats
# The examples of [node] name_hook, with the name servers that they are for: names_test.c has when they are called.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	setup_work
	examples=$BATS_TEST_DIRNAME/../../examples/dns
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	# shellcheck disable=SC2034 # helpers' teardown() ends it
	server=
}

need() {
	local program
	for program in "$@"; do
		command -v "$program" >/dev/null || skip "$program is not installed"
	done
}

# What the name server says: resolves NAME TYPE ANSWER
resolves() {
	[ "$(dig +short +time=1 +tries=1 @127.0.0.1 -p "$port" "$1" "$2")" = "$3" ]
}

answers() {
	dig +time=1 +tries=1 @127.0.0.1 -p "$port" nothing.example.org
}

@test "names: a name server that takes updates has a VM's name while the VM is there" {
	need named nsupdate dig tsig-keygen
	tsig-keygen wnodes >dns.key
	cat >named.conf <<-EOF
		include "$WORK/dns.key";
		options { directory "$WORK"; pid-file none; session-keyfile none; recursion no; dnssec-validation no;
			listen-on port $port { 127.0.0.1; }; listen-on-v6 { none; }; };
		controls { };
		zone "grid.example.org" { type primary; file "forward"; update-policy { grant wnodes zonesub A AAAA; }; };
		zone "2.0.192.in-addr.arpa" { type primary; file "backward"; update-policy { grant wnodes zonesub PTR; }; };
	EOF
	# shellcheck disable=SC2016
	printf '%s\n' '$TTL 60' '@ SOA ns.grid.example.org. root.grid.example.org. 1 60 60 60 60' '@ NS ns.grid.example.org.' |
		tee forward >backward
	echo 'ns A 127.0.0.1' >>forward
	named -g -c named.conf >named.log 2>&1 3>&- &
	# shellcheck disable=SC2034
	server=$!
	wait_for 20 resolves ns.grid.example.org A 127.0.0.1 || { cat named.log; false; }
	export DNS_PORT=$port DNS_KEY=$WORK/dns.key
	hook=("$examples/dns-nsupdate" add vm-0001.grid.example.org 192.0.2.10 52:54:07:00:00:0a 2001:db8::a)
	"${hook[@]}"
	"${hook[@]}"
	resolves vm-0001.grid.example.org A 192.0.2.10
	resolves vm-0001.grid.example.org AAAA 2001:db8::a
	resolves 10.2.0.192.in-addr.arpa PTR vm-0001.grid.example.org.
	hook[1]=remove
	"${hook[@]}"
	"${hook[@]}"
	resolves vm-0001.grid.example.org A ''
	resolves 10.2.0.192.in-addr.arpa PTR ''
	# Without the key nothing changes, and the daemon is told.
	tsig-keygen wnodes >other.key
	DNS_KEY=$WORK/other.key run ! "$examples/dns-nsupdate" add vm-0002.grid.example.org 192.0.2.11 52:54:07:00:00:0b
	resolves vm-0002.grid.example.org A ''
}

@test "names: dnsmasq has a VM's name while the VM is there" {
	need dnsmasq dig
	mkdir -p names/hosts names/dhcp
	chmod 755 "$WORK"
	dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --port="$port" --listen-address=127.0.0.1 \
		--bind-interfaces --user="$(id -un)" --group= --pid-file= --hostsdir="$WORK/names/hosts" >dnsmasq.log 2>&1 3>&- &
	# shellcheck disable=SC2034
	server=$!
	export NAMES_DIRECTORY=$WORK/names
	hook=("$examples/dns-dnsmasq" add vm-0001.grid.example.org 192.0.2.10 52:54:07:00:00:0a 2001:db8::a)
	wait_for 20 answers || { cat dnsmasq.log; false; }
	"${hook[@]}"
	"${hook[@]}"
	wait_for 10 resolves vm-0001.grid.example.org A 192.0.2.10 || { cat dnsmasq.log; false; }
	resolves vm-0001.grid.example.org AAAA 2001:db8::a
	resolves 10.2.0.192.in-addr.arpa PTR vm-0001.grid.example.org.
	[ "$(cat names/dhcp/192.0.2.10)" = 52:54:07:00:00:0a,192.0.2.10,vm-0001 ]
	hook[1]=remove
	"${hook[@]}"
	"${hook[@]}"
	wait_for 10 resolves vm-0001.grid.example.org A ''
	[ -z "$(find names -type f)" ]
}

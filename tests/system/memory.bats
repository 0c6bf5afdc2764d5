# A job that was given some memory is never killed for what its VM takes beside its guest, and one that
# takes more than it was given is killed in its VM, not with it. See docs/memory.md.
#
# One shape; with WNODES_TEST_SLOW=1, from 256 MiB to 8 GiB with 1, 2 and 4 CPUs as far as the host has
# the memory (`make check-memory`), which takes up to an hour.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	setup_work
	make_cgroup
	mkdir load a b
	cp "$WNODES_BUILD/tests/system/memory-load" load/
}

teardown() {
	[ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
	[ -z "${cgroup:-}" ] || remove_cgroup
	cd /
	rm -rf "$WORK"
}

# Makes $cgroup, with a memory controller of version 1 or 2.
make_cgroup() {
	local root
	skip_unless_root
	root=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ {print $2; exit}' /proc/mounts)
	limit_file=memory.limit_in_bytes oom_file=memory.oom_control
	if [ -z "$root" ]; then
		root=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
		grep -qw memory "$root/cgroup.subtree_control" 2>/dev/null || skip "no memory cgroup can be made here"
		limit_file=memory.max oom_file=memory.events
	fi
	cgroup=$root/wnodes-test.$$
	mkdir "$cgroup" 2>/dev/null || skip "no memory cgroup can be made here"
	[ -e "$cgroup/$limit_file" ] || skip "memory cgroups cannot be limited here"
}

remove_cgroup() {
	local pid
	while read -r pid; do
		kill -9 "$pid" 2>/dev/null || true
	done <"$cgroup/cgroup.procs"
	wait_for 10 rmdir "$cgroup" || true
}

# How often the host's kernel has killed something in the group.
oom_kills() {
	awk '$1 == "oom_kill" {print $2}' "$cgroup/$oom_file"
}

# A server that sends back what it gets; its port is in $port.
serve() {
	python3 -c 'import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(65536):
                self.request.sendall(data)
        except OSError:
            pass
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 256
server = Server(("127.0.0.1", 0), Echo)
print(server.server_address[1], flush=True)
server.serve_forever()' >port 3>&- &
	server=$!
	wait_for 10 test -s port
	port=$(cat port)
}

# A guest of this shape does all at once that costs the host memory, in the cgroup of what a job needs for
# it: run_shape MIB CPUS SECONDS RESERVE_MIB
run_shape() {
	local allocation
	allocation=$("$WNODES_BUILD/tests/system/overhead" "$1" "$2" 3)
	echo "$allocation" >"$cgroup/$limit_file"
	run -0 sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$cgroup" "$WNODES" run --report report.json \
		--memory "$1M" --cpus "$2" --scratch 1G --network user --mount none --mount "$WORK/load:/load" \
		--mount "$WORK/a:/a" --mount "$WORK/b:/b" -- /load/memory-load "$3" "$4" --code 24 \
		--connect "10.0.2.2:$port" /scratch /var/tmp /a /b
	echo "$1 MiB, $2 CPUs, $((allocation >> 20)) MiB given: $output"
	[ "$(oom_kills)" -eq 0 ]
	# All of it was done.
	[[ "$output" =~ filled\ ([0-9]+)\ MiB.*files\ ([0-9]+)\ MiB,\ network\ ([0-9]+)\ MiB,\ code\ ([0-9]+) ]]
	[ "${BASH_REMATCH[1]}" -ge $(($1 / 4)) ]
	[ "${BASH_REMATCH[2]}" -gt 0 ] && [ "${BASH_REMATCH[3]}" -gt 0 ] && [ "${BASH_REMATCH[4]}" -gt 0 ]
}

@test "memory: a guest that fills its memory and does I/O everywhere is not killed on the host" {
	serve
	run_shape 384 2 15 40
}

@test "memory: the same for all shapes from 256 MiB to 8 GiB" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "takes up to an hour; make check-memory"
	serve
	for mib in 256 512 1024 2048 4096 8192; do
		[ "$(awk '/MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)" -gt $((mib * 3 / 2 + 1024)) ] || continue
		for cpus in 1 2 4; do
			run_shape $mib $cpus $((20 + mib / 100)) $((mib <= 256 ? 40 : 80))
			echo "# $mib MiB, $cpus CPUs: $output" >&3
		done
	done
}

@test "memory: a job that takes more than it was given is killed in its VM, and that is told" {
	"$WNODES_BUILD/tests/system/overhead" 256 1 1 >"$cgroup/$limit_file"
	run -137 --separate-stderr sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$cgroup" "$WNODES" run \
		--report report.json --memory 256M --network user --scratch 64M --mount none --mount "$WORK/load:/load" -- \
		/load/memory-load 60 0
	[ "$(oom_kills)" -eq 0 ]
	[[ "$stderr" == *"the command was killed because the VM's memory, 256 MiB, was full; ask for more"* ]]
	jq -e '.exit_status == 137 and .usage.guest_oom_kills >= 1' report.json
	jq -e '.reason | startswith("the command was killed because the VM'\''s memory")' report.json
	assert_nothing_left
}

# The test of the tests: that the host's kernel does kill where the formula is not kept.
@test "memory: with less than the formula says, the host would kill" {
	echo $((300 << 20)) >"$cgroup/$limit_file"
	run ! sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$cgroup" "$WNODES" run --memory 384M \
		--network none --mount none --mount "$WORK/load:/load" -- /load/memory-load 10 40
	[ "$(oom_kills)" -gt 0 ]
}

# Shared by the tests of the controller: one of their own, on SQLite, with a socket and a port.

setup() {
	setup_controller
}

setup_controller() {
	setup_work
	CONTROLLER=$WNODES_BUILD/wnodes-controller
	[ -x "$CONTROLLER" ] || skip "the controller was not built"
	SOCKET=$WORK/controller/socket STATE=$WORK/controller/state
	PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	URL=https://localhost:$PORT
	controller=
	# The leak sanitizer needs ptrace(2), which the controller may not use.
	export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
	own_config
}

# A configuration with these lines for [controller].
# shellcheck disable=SC2120
own_config() {
	printf '%s\n' '[controller]' "listen = 127.0.0.1:$PORT" "socket = $SOCKET" "state = $STATE" "user = root" \
		"database = ${DATABASE:-sqlite:$STATE/site.db}" "$@" >"$WORK/controller.conf"
}

start_controller() {
	: >"$WORK/controller.err"
	"$CONTROLLER" --config "$WORK/controller.conf" 2>>"$WORK/controller.err" </dev/null 3>&- &
	controller=$!
	wait_for 20 grep -q "listens on $SOCKET" "$WORK/controller.err"
}

# With SIGTERM it ends by itself, within some seconds.
stop_controller() {
	kill -"${1:-TERM}" "$controller"
	wait_for 15 is_gone "$controller"
	wait "$controller" || true
	controller=
}

is_gone() {
	! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status"
}

# As root, on the socket: local METHOD PATH [CURL OPTION...]. The body comes first, then a line with the status.
local_call() {
	local method=$1 path=$2
	shift 2
	curl -sS --max-time 20 --unix-socket "$SOCKET" -X "$method" -w '\n%{http_code}\n' "$@" "http://controller$path"
}

# The same by HTTPS.
remote_call() {
	local method=$1 path=$2
	shift 2
	curl -sS --max-time 20 --cacert "$STATE/ca.pem" -X "$method" -w '\n%{http_code}\n' "$@" "$URL$path"
}

# Puts a JSON body: put PATH BODY [CURL OPTION...]
put() {
	local path=$1 body=$2
	shift 2
	local_call PUT "$path" -H 'Content-Type: application/json' -d "$body" "$@"
}

# The last line of the output is this status: has_status STATUS OUTPUT
has_status() {
	[ "$(tail -1 <<<"$2")" = "$1" ] || { echo "not $1: $2"; return 1; }
}

# For what is written in python: controller_py NAME [ARGUMENT...]
controller_py() {
	timeout 120 python3 "$BATS_TEST_DIRNAME/controller.py" "$@"
}

teardown() {
	teardown_controller
}

teardown_controller() {
	[ -z "${controller:-}" ] || kill -KILL "$controller" 2>/dev/null || true
	[ ! -e "$WORK/controller.err" ] || tail -12 "$WORK/controller.err" | sed 's/^/controller: /'
	cd /
	[ -z "${WORK:-}" ] || rm -rf "$WORK"
}

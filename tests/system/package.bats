# The Debian packages, in a fresh Debian with systemd: installed, used, upgraded under a running VM, removed.
# `make check-deb` builds them; the tests go on from each other.
load helpers
load container

PACKAGES="wnodes wnodes-guest wnodes-hypervisor wnodes-controller wnodes-slurm"

setup_file() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	[ -n "$(ls "$WNODES_BUILD"/deb/*.deb "$WNODES_BUILD"/deb-next/*.deb 2>/dev/null)" ] ||
		skip "no packages in $WNODES_BUILD: make check-deb builds them"
	command -v systemd-nspawn mmdebstrap >/dev/null || skip "systemd-nspawn or mmdebstrap is missing"
	make_debian base systemd,man-db,logrotate || skip "a fresh Debian needs the network: see $CACHE/base.log"
	start_container
}

teardown_file() {
	stop_container
}

setup() {
	WORK=$(mktemp -d /tmp/wnodes-test.XXXXXX)
	hold=
}

teardown() {
	[ -z "$hold" ] || exec {hold}>&-
	rm -rf "$WORK"
}

node_is_up() {
	inside wnodes node list | grep -w up
}

record_is_at_site() {
	sqlite3 -readonly "$CONTAINER/var/lib/wnodes-controller/site.db" 'SELECT body_json FROM record' | grep -w alice
}

# Prints mode, owner and name of all that the packages of a directory hold, but for debug symbols.
contents() {
	local package
	for package in $PACKAGES; do
		dpkg-deb --contents "$(echo "$1/${package}"_*.deb)" | awk -v p="$package" '{print p, $1, $2, $6}'
	done
}

@test "package: files are root's, nobody else's to write, and nothing is set-uid" {
	contents "$WNODES_BUILD/deb" >"$WORK/contents"
	[ -z "$(grep -v ' root/root ' "$WORK/contents")" ]
	[ -z "$(awk '$2 !~ /^l/ && $2 ~ /^.....w|^........w|[sStT]/' "$WORK/contents")" ]
	grep -q '^wnodes -rwxr-xr-x root/root ./usr/bin/wnodes$' "$WORK/contents"
	grep -q '^wnodes -rwxr-xr-x root/root ./usr/libexec/wnodes/wnodes-bait$' "$WORK/contents"
	grep -q '^wnodes-guest -rwxr-xr-x root/root ./usr/libexec/wnodes/wnodes-guest$' "$WORK/contents"
	grep -q '^wnodes-guest -rw-r--r-- root/root ./usr/libexec/wnodes/wnodes-guest.service$' "$WORK/contents"
	grep -q '^wnodes-hypervisor -rwxr-xr-x root/root ./usr/sbin/wnodes-hypervisor$' "$WORK/contents"
	grep -q '^wnodes-slurm -rw-r--r-- root/root ./usr/lib/x86_64-linux-gnu/wnodes/wnodes_slurm.so$' "$WORK/contents"
}

@test "package: another version has the same files" {
	diff <(contents "$WNODES_BUILD/deb") <(contents "$WNODES_BUILD/deb-next")
}

@test "package: the agent depends on nothing" {
	[ -z "$(dpkg-deb --field "$(echo "$WNODES_BUILD"/deb/wnodes-guest_*.deb)" Depends Pre-Depends)" ]
}

@test "package: lintian finds no error" {
	local root=$CACHE/lintian
	make_debian lintian lintian || skip "needs the network: see $CACHE/lintian.log"
	unpack_debian lintian "$root"
	mkdir "$root/packages"
	cp "$WNODES_BUILD"/deb/wnodes* "$root/packages"
	# That is for what is new in Debian itself.
	run unshare --mount --pid --fork --kill-child sh -c 'mount -t proc proc "$1/proc" &&
		exec chroot "$1" sh -c "lintian --allow-root --fail-on error,warning \
			--suppress-tags initial-upload-closes-no-bugs --tag-display-limit 0 /packages/*.changes"' - "$root"
	rm -rf "$root"
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "package: they install in a fresh Debian" {
	# A port that nobody else on the machine has: the container has the machine's network.
	mkdir -p "$CONTAINER/etc/wnodes"
	printf '[controller]\nlisten = 127.0.0.1:%s\n' "$(/usr/bin/python3 -c \
		'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')" \
		>"$CONTAINER/etc/wnodes/controller.conf"
	install_inside -o DPkg::Options::=--force-confold curl $(packages_in /packages)
	[ -z "$(inside dpkg --audit)" ]
	# shellcheck disable=SC2086
	[ "$(inside dpkg --verify $PACKAGES)" = "??5?????? c /etc/wnodes/controller.conf" ]
	inside wnodes --version | grep -q '^wnodes '
	inside wnodes help | grep -q '^  run '
	inside man -w wnodes wnodes-run wnodes.conf wnodes-hypervisor wnodes-controller controller.conf
	inside bash -n /usr/share/bash-completion/completions/wnodes
	inside sh -c 'zcat -f /usr/share/doc/wnodes/examples/wnodes.conf.example' | grep -q '^\[run\]'
	inside test -f /usr/share/doc/wnodes/copyright
}

@test "package: all libraries are there" {
	# shellcheck disable=SC2016,SC2086
	run inside sh -c 'dpkg -L "$@" | while read -r f; do [ ! -f "$f" ] || ldd "$f" 2>/dev/null; done; true' - $PACKAGES
	[ "$status" -eq 0 ]
	[[ $output == *libsystemd* ]]
	[[ $output != *"not found"* ]]
}

@test "package: the daemon's accounts have no rights" {
	inside id -nG wnodes | grep -qx 'wnodes kvm'
	inside id -nG wnodes-courier | grep -qx wnodes-courier
	inside getent passwd wnodes wnodes-courier | grep -c ':/usr/sbin/nologin$' | grep -qx 2
	inside id -nG wnodes-controller | grep -qx wnodes-controller
}

@test "package: systemd has started the daemon, in its sandbox" {
	inside systemd-analyze verify wnodes-hypervisor.service
	inside systemd-analyze security --no-pager --threshold=35 wnodes-hypervisor.service >"$WORK/security" || {
		cat "$WORK/security"
		return 1
	}
	inside systemctl is-enabled wnodes-hypervisor
	inside systemctl is-active wnodes-hypervisor
	inside wnodes node check
	inside systemctl reload wnodes-hypervisor
	inside systemctl is-active wnodes-hypervisor
}

@test "package: systemd has started the controller, which has no rights" {
	inside systemd-analyze verify wnodes-controller.service
	inside systemd-analyze security --no-pager --threshold=15 wnodes-controller.service >"$WORK/security" || {
		cat "$WORK/security"
		return 1
	}
	inside systemctl is-active wnodes-controller
	inside sh -c 'cat "/proc/$(systemctl show --property=MainPID --value wnodes-controller)/status"' >"$WORK/status"
	grep -E '^Cap(Eff|Prm|Bnd|Amb)' "$WORK/status" | grep -vc '0000000000000000$' | grep -qx 0
	[ "$(inside stat -c '%U:%G %a' /etc/wnodes/controller.conf)" = "root:wnodes-controller 640" ]
	[ "$(inside stat -c '%U %a' /var/lib/wnodes-controller)" = "wnodes-controller 700" ]
	inside wnodes site status
	inside curl --silent --insecure "https://$(sed -n 's/^listen = //p' "$CONTAINER/etc/wnodes/controller.conf")/healthz" | grep '"ok"'
	inside systemctl reload wnodes-controller
	inside systemctl is-active wnodes-controller
	inside setpriv --reuid=wnodes-controller --regid=wnodes-controller --clear-groups wnodes-controller check
}

@test "package: the node joins the site; its courier has an account of its own" {
	local port
	port=$(sed -n 's/^listen = .*://p' "$CONTAINER/etc/wnodes/controller.conf")
	inside wnodes group create old
	# From the socket, on which root is known, to HTTPS, on which a token says who it is.
	inside sh -c 'umask 077; mkdir -p /root/.config/wnodes; wnodes token create --expires 1h >/root/token &&
		printf "%s\n" "[site]" "token_file = /root/token" >/root/.config/wnodes/wnodes.conf'
	inside wnodes site ca >"$WORK/ca"
	inside wnodes token create --join --expires 1h >"$WORK/token"
	inside wnodes node join --token-file - --ca-fingerprint \
		"$(openssl x509 -noout -fingerprint -sha256 <"$WORK/ca" | cut -d= -f2)" "https://localhost:$port" <"$WORK/token"
	printf '[site]\ncontrollers = https://localhost:%s\nca = /var/lib/wnodes/site/ca.pem\n' "$port" \
		>>"$CONTAINER/etc/wnodes/wnodes.conf"
	inside systemctl restart wnodes-hypervisor
	wait_for 60 node_is_up || { inside journalctl --no-pager -u wnodes-hypervisor; inside wnodes node list; return 1; }
	inside sh -c 'awk "/^Uid/ {print \$2, \$3, \$4}" "$(grep -l wnodes-courier /proc/[0-9]*/comm | head -1 | sed s/comm/status/)"' |
		grep -qx "$(inside id -u wnodes-courier | sed 's/.*/& & &/')"
}

@test "package: logrotate takes the records' rule" {
	inside logrotate --debug /etc/logrotate.d/wnodes-hypervisor 2>&1 | tee "$WORK/rotate" | grep -q records.jsonl
	[ -z "$(grep -i error "$WORK/rotate")" ]
}

@test "package: srun has the plugin's options" {
	install_inside slurm-client
	inside sh -c 'printf "%s\n" ClusterName=test SlurmctldHost=localhost >/etc/slurm/slurm.conf'
	inside srun --help >"$WORK/help"
	grep -q vm-image "$WORK/help"
}

@test "package: a user's job runs in a VM that the daemon has lent, and then in a clone" {
	mkdir -p "$CONTAINER/var/lib/wnodes"
	cp -al "$TEST_STORE"/{blobs,names} "$CONTAINER/var/lib/wnodes/" 2>/dev/null ||
		cp -a "$TEST_STORE"/{blobs,names} "$CONTAINER/var/lib/wnodes/"
	inside useradd --create-home alice
	printf '# ours\n[run]\nnetwork = none\n' >>"$CONTAINER/etc/wnodes/wnodes.conf"
	inside systemctl reload wnodes-hypervisor
	run inside_as alice wnodes run -- sh -c 'id -un; exit 7'
	echo "$output"
	[ "$status" -eq 7 ]
	[[ $output == *alice* ]]
	wait_for 30 sh -c "grep -q '\"source\": *\"both\"' $CONTAINER/var/lib/wnodes/records.jsonl"
	wait_for 60 record_is_at_site
	# Its template is made by the account wnodes, in the unit's sandbox.
	wait_for 120 sh -c "ls -d $CONTAINER/var/lib/wnodes/templates/*/"
	inside_as alice wnodes run --start clone -- true
}

@test "package: an upgrade leaves a VM running" {
	local before next
	living_inside alice
	before=$(daemon_pid)
	next=$(dpkg-deb --field "$(echo "$WNODES_BUILD"/deb-next/wnodes_*.deb)" Version | sed 's/-1$//')
	install_inside $(packages_in /packages-next)
	inside wnodes --version | grep -qx "wnodes $next"
	inside /usr/libexec/wnodes/wnodes-guest --version | grep -qx "wnodes-guest $next"
	inside systemctl is-active wnodes-hypervisor
	[ "$(daemon_pid)" != "$before" ]
	grep -q '^# ours$' "$CONTAINER/etc/wnodes/wnodes.conf"
	inside systemctl is-active wnodes-controller
	# On the socket, where root is its administrator: wnodes has a token here, which is a user's.
	inside curl --silent --fail --unix-socket /run/wnodes-controller/socket http://localhost/v1/groups | grep -w old
	wait_for 60 node_is_up
	[ "$(inside stat -c '%U:%G %a' /etc/wnodes/controller.conf)" = "root:wnodes-controller 640" ]
	# The new program speaks with the old one's VM.
	inside_as alice wnodes vm list >"$WORK/list"
	grep -q ' run ' "$WORK/list"
	end_living_inside
	wait_for 30 sh -c "tail -1 $CONTAINER/var/lib/wnodes/records.jsonl | grep '\"exit_status\": *7' | grep '\"both\"'"
	wait_for 30 sh -c "[ -z \"\$(ls $CONTAINER/var/lib/wnodes/loans)\" ]"
}

@test "package: removal leaves a VM to its user, and nothing else running" {
	living_inside alice
	# shellcheck disable=SC2086
	inside apt-get -qq -y remove $PACKAGES
	[ "$(inside systemctl is-active wnodes-hypervisor wnodes-controller | sort -u)" = inactive ]
	end_living_inside
	[ -z "$(inside sh -c 'cat /proc/[0-9]*/comm' 2>/dev/null | grep -E 'wnodes|qemu')" ]
	[ -e "$CONTAINER/etc/wnodes/wnodes.conf" ]
	[ -e "$CONTAINER/etc/wnodes/controller.conf" ]
	[ -e "$CONTAINER/var/lib/wnodes/records.jsonl" ]
}

@test "package: purge leaves records, images and the site's database, and says so" {
	# shellcheck disable=SC2086
	inside apt-get -qq -y purge $PACKAGES 2>&1 | tee "$WORK/purge"
	grep -q '/var/lib/wnodes stays' "$WORK/purge"
	grep -q '/var/lib/wnodes-controller stays' "$WORK/purge"
	[ -s "$CONTAINER/var/lib/wnodes-controller/site.db" ]
	[ -s "$CONTAINER/var/lib/wnodes/records.jsonl" ]
	[ -d "$CONTAINER/var/lib/wnodes/blobs" ]
	[ ! -e "$CONTAINER/var/lib/wnodes/templates" ]
	[ ! -e "$CONTAINER/etc/wnodes" ]
}

@test "package: purge leaves nothing where there is nothing to keep" {
	inside rm -r /var/lib/wnodes /run/wnodes /var/lib/wnodes-controller
	install_inside $(PACKAGES="wnodes wnodes-guest wnodes-hypervisor wnodes-slurm" packages_in /packages)
	inside systemctl is-active wnodes-hypervisor
	# shellcheck disable=SC2046
	inside apt-get -qq -y purge $(echo $PACKAGES | sed 's/wnodes-controller//')
	run inside find / -xdev -not -path '/packages*' -not -path '/var/cache/apt/archives/*' \
		-not -path '/var/log/*' -not -path '/var/cache/man/*' -not -path '/home/*' -not -path '/root/*' -name '*wnodes*'
	echo "$output"
	[ -z "$output" ]
}

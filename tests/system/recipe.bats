# Recipes, and the life of the images made by them: check, refresh, the way back.

bats_require_minimum_version 1.5.0
load helpers
load repository

# A store of the test's own, with the same image in it.
own_store() {
	mkdir -p "$WORK/data"
	copy_store "$TEST_STORE" "$WORK/data"
	export XDG_DATA_HOME=$WORK/data
	blobs=$(ls "$XDG_DATA_HOME/wnodes/blobs")
}

refresh() {
	timeout 300 "$WNODES" image refresh debian --mirror "$mirror" "$@"
}

tags() {
	"$WNODES" image list --json | jq -r '.[] | select(.name == "debian") | .tag' | sort | tr '\n' ' '
}

# No part of what was begun and not finished is left.
nothing_half() {
	"$WNODES" image gc >/dev/null
	[ -z "$(ls "$XDG_DATA_HOME/wnodes/tmp")" ]
	[ "$(ls "$XDG_DATA_HOME/wnodes/blobs")" = "$blobs" ]
}

@test "recipe: files, edits and the script are in the image, and the recipe is kept with it" {
	run -0 "$WNODES" run --network none --mount none -- sh -c \
		'stat -c "%a %U:%G" /etc/wnodes-recipe/file; tail -1 /etc/login.defs; ls /usr/local/bin/rootsh; ! ls /wnodes* 2>/dev/null'
	[ "$output" = "$(printf '640 root:daemon\n# by a recipe\n/usr/local/bin/rootsh')" ]
	run -0 "$WNODES" image show --json debian
	jq -e '.recipe | contains("run =\n| #!/bin/sh\n") and contains("|   indented\n")' <<<"$output"
}

@test "recipe: check runs the image's own checks and looks for what nobody may get" {
	run -0 "$WNODES" image check debian
	grep -qE '^passed +check +umask$' <<<"$output"
	for policy in authorized-keys passwords host-keys package-list; do
		grep -qE "^passed +policy +$policy\$" <<<"$output"
	done
	[ "$(wc -l <<<"$output")" -eq 6 ]
}

@test "recipe: mistakes are told with file and line before anything is done" {
	printf '[image]\nsuite = bookworm\n[file etc/motd]\ncontent = x\n' >bad.recipe
	run -125 "$WNODES" image build x --recipe bad.recipe
	[[ "$output" == *"bad.recipe:3: [file etc/motd]: a file of the image is named by its whole path"* ]]
	printf '[image]\npackage = bc\n' >bad.recipe
	run -125 "$WNODES" image build x --recipe bad.recipe
	[[ "$output" == *"bad.recipe:2: unknown key 'package' in [image]; did you mean 'packages'?"* ]]
	printf '[services]\nenable = ssh\n' >bad.recipe
	run -125 "$WNODES" image build x --recipe bad.recipe
	[[ "$output" == *"need init = systemd"* ]]
	run -125 "$WNODES" image build x --recipe none
	[[ "$output" == *"cannot read the recipe 'none'"* ]]
	run -125 "$WNODES" image build x --recipe bad.recipe --packages bc
	[[ "$output" == *"--packages does not go with --recipe"* ]]
}

@test "refresh: nothing to upgrade is said, and nothing is made" {
	own_store
	repository ""
	run -0 refresh
	[ "$output" = "debian:latest: nothing to upgrade" ]
	[ "$(tags)" = "latest " ]
	nothing_half
	assert_nothing_left
}

@test "refresh: an upgrade is tried, named, taken, and taken back" {
	own_store
	repository /usr/share/wnodes-new
	old=$("$WNODES" image show --json debian | jq -r .digest)
	run -0 refresh --json --tag next --publish --depot "$WORK/depot"
	jq -e '.changed and .tag == "next" and (.checks | length == 6 and all(.passed)) and
		(.upgraded | length == 1) and (.upgraded[0] | endswith(" 99991231"))' <<<"$output"
	test -e "depot/manifest/$(jq -r .digest <<<"$output").json"
	[ "$(tags)" = "latest next " ]
	[ "$("$WNODES" image show --json debian | jq -r .digest)" = "$old" ]
	# The parts that need not change are the same, and so is nearly all of the disk.
	parts() { "$WNODES" image show --json "$1" | jq -r '.parts[] | "\(.kind) \(.digest)"' | sort; }
	[ "$(comm -12 <(parts debian) <(parts debian:next) | cut -d' ' -f1 | tr '\n' ' ')" = "initrd kernel " ]
	disk() { echo "$XDG_DATA_HOME/wnodes/blobs/$(parts "$1" | sed -n 's/^disk //p')"; }
	e2fsck -fn "$(disk debian:next)"
	changed=$(cmp -l "$(disk debian)" "$(disk debian:next)" 2>/dev/null | awk '{ b[int($1 / 65536)] } END { print length(b) }')
	echo "$changed blocks of 64 KiB differ"
	[ "$changed" -lt 400 ]
	# Nothing of the VM that made it is in it.
	run -0 debugfs -R 'ls /boot' "$(disk debian:next)"
	[[ "$output" != *vmlinuz* ]]
	[ -z "$(debugfs -R 'cat /etc/machine-id' "$(disk debian:next)" 2>/dev/null)" ]
	[ "$(debugfs -R 'cat /etc/hostname' "$(disk debian:next)" 2>/dev/null)" = localhost ]
	# The way there and back, by tags.
	"$WNODES" image tag debian debian:previous
	"$WNODES" image tag debian:next debian
	run -0 "$WNODES" run --network none --mount none -- test -e /usr/share/wnodes-new
	"$WNODES" image tag debian:previous debian
	run -1 "$WNODES" run --network none --mount none -- test -e /usr/share/wnodes-new
	assert_nothing_left
}

@test "refresh: a new version that fails a check gets no name, and the log is named" {
	own_store
	repository /usr/share/wnodes-bad
	run -1 refresh
	[[ "$output" == *"1 of 6 checks failed, first 'good': exit status 1 instead of 0"* ]]
	log=$(sed -n 's/.*(log: \(.*\))$/\1/p' <<<"$output" | head -1)
	grep -q 'there is a bad file' "$log"
	[ "$(tags)" = "latest " ]
	nothing_half
}

@test "refresh: a repository that does not answer is a failure with a log" {
	own_store
	mirror="deb [trusted=yes] http://10.0.2.2:1 ./"
	run -125 refresh
	[[ "$output" == *"the list of packages cannot be fetched"*"(log: "* ]]
	[ "$(tags)" = "latest " ]
	nothing_half
}

# What the killed one's own children still hold is theirs until they have noticed.
@test "refresh: killed at any moment it leaves nothing half, and the image as it was" {
	own_store
	repository /usr/share/wnodes-new
	for moment in 0.3 3; do
		"$WNODES" image refresh debian --mirror "$mirror" >/dev/null 2>&1 3>&- &
		pid=$!
		wait_for 30 bash -c "[ -n \"\$(ls '$XDG_DATA_HOME/wnodes/tmp')\" ]"
		sleep $moment
		kill -KILL $pid
		wait $pid || true
		wait_for 30 nothing_half
	done
	wait_for 10 no_vm
	[ "$(tags)" = "latest " ]
	run -0 "$WNODES" image verify debian
}

@test "refresh: what cannot be refreshed is refused" {
	own_store
	digest=$("$WNODES" image show --json debian | jq -r .digest)
	run -125 "$WNODES" image refresh "$digest"
	[[ "$output" == *"is a digest"* ]]
	run -125 "$WNODES" image refresh debian --tag latest
	[[ "$output" == *"cannot have the old one's tag"* ]]
	run -125 "$WNODES" image refresh nosuch
	# Of an image that is older than recipes there is none.
	export XDG_DATA_HOME=$WORK/none
	run -125 env WNODES_SYSTEM_STORE="$WORK/data/wnodes" "$WNODES" image refresh debian
	[[ "$output" == *"'debian' is the machine's"* ]]
}

@test "refresh: an image is built again from the recipe that is kept with it" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "takes minutes; set WNODES_TEST_SLOW=1"
	own_store
	run -0 "$WNODES" image refresh debian --rebuild --tag next
	recipe() { "$WNODES" image show --json "$1" | jq .recipe; }
	[ "$(recipe debian:next)" = "$(recipe debian)" ]
	run -0 "$WNODES" run --network none --mount none --image debian:next -- test -u /usr/local/bin/rootsh
}

@test "check: an image with services, and with what nobody may get" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "takes minutes; set WNODES_TEST_SLOW=1"
	export XDG_DATA_HOME=$WORK/data
	cat >bad.recipe <<-'END'
		[image]
		init = systemd
		syslog = udp://10.0.2.2:1514
		packages = cron
		run =
		| mkdir -m 700 /root/.ssh
		| echo 'ssh-ed25519 AAAA someone' >/root/.ssh/authorized_keys
		| echo root:secret | chpasswd
		| useradd -m -s /bin/sh guest && passwd -d guest
		[services]
		enable = cron
		disable = apt-daily.timer
		[check services]
		command =
		| for i in $(seq 30); do systemctl -q is-active cron rsyslog && break; sleep 2; done
		| systemctl is-active cron rsyslog && ! systemctl is-enabled apt-daily.timer
		timeout = 2m
	END
	run -0 "$WNODES" image build bad --recipe bad.recipe
	run -1 --separate-stderr "$WNODES" image check bad
	[ "$(sed -n 's/^passed *[a-z]* *//p' <<<"$output" | tr '\n' ' ')" = "services host-keys package-list " ]
	grep -q '^FAILED *policy *authorized-keys: .*/root/.ssh/authorized_keys' <<<"$output"
	grep -q '^FAILED *policy *passwords: .*: root guest' <<<"$output"
	[[ "$stderr" == *"not all checks have passed (log: "* ]]
}

# An image of others, as far as it is looked at: a disk with a boot loader, of 1 MiB.
foreign_image() {
	head -c 1M /dev/zero >disk.raw
	printf '\x55\xaa' | dd of=disk.raw bs=1 seek=510 conv=notrunc status=none
	export XDG_DATA_HOME=$WORK/foreign
	"$WNODES" image import --name foreign disk.raw
}

# Stands in for virt-customize: keeps what it was called with, and changes the disk: stand_in [STATUS]
stand_in() {
	mkdir -p bin
	cat >bin/virt-customize <<-END
		#!/bin/bash
		printf '%s\n' "\$LIBGUESTFS_BACKEND" "\$@" >$WORK/arguments
		while [ \$# -gt 0 ]; do
			case \$1 in
			--add) disk=\$2 ;;
			--run) cp "\$2" $WORK/script ;;
			esac
			shift
		done
		printf changed | dd of="\$disk" bs=1 seek=4096 conv=notrunc status=none
		echo "virt-customize: error: no such luck" >&2
		exit ${1:-0}
	END
	chmod 755 bin/virt-customize
	export PATH=$WORK/bin:$PATH
}

worker_recipe() {
	cat >worker.recipe <<-'END'
		[image]
		packages = bc, gcc
		modules = nfs
		[file /etc/motd]
		content = changed
		[services]
		enable = chronyd
		[check it]
		command = true
	END
}

@test "customize: a changed copy of an imported image, with its recipe" {
	foreign_image
	worker_recipe
	stand_in
	old=$("$WNODES" image show --json foreign | jq -r .digest)
	run -0 "$WNODES" image customize --recipe worker.recipe --tag worker foreign
	[[ "$output" == "foreign:worker "* ]]
	[ "$(tr '\n' ' ' <arguments | sed 's|/[^ ]*/upload-[^ ]*|DISK|')" = \
		"direct --format raw --add DISK --install bc --install gcc --run wnodes-script --selinux-relabel --no-logfile " ]
	grep -q "write '/etc/modules-load.d/wnodes.conf'" script
	grep -q "units 'enable' 'chronyd'" script
	run -0 "$WNODES" image show --json foreign:worker
	jq -e '.recipe | contains("[check it]")' <<<"$output"
	grep -q changed "$XDG_DATA_HOME/wnodes/blobs/$(jq -r '.parts[0].digest' <<<"$output")"
	[ "$("$WNODES" image show --json foreign | jq -r .digest)" = "$old" ]
	# Without a tag, the name is the changed one's from now on, and that is said.
	run -0 "$WNODES" image customize --recipe worker.recipe foreign
	[[ "$output" == *"foreign:latest was the image ${old:0:12} until now"* ]]
}

@test "customize: what fails or makes no sense leaves the image as it was" {
	foreign_image
	worker_recipe
	run -125 env PATH="/usr/bin:/bin" "$WNODES" image customize --recipe worker.recipe foreign
	[[ "$output" == *"virt-customize"*"is not installed; apt-get install libguestfs-tools"* ]]
	stand_in 3
	run -125 "$WNODES" image customize --recipe worker.recipe --tag worker foreign
	[[ "$output" == *"virt-customize failed with status 3"*"no such luck"*"(log: "* ]]
	printf '[image]\nsuite = bookworm\n' >built.recipe
	run -125 "$WNODES" image customize --recipe built.recipe foreign
	[[ "$output" == *"built.recipe: suite is for images that are built"* ]]
	[ "$("$WNODES" image list --json | jq length)" -eq 1 ]
	[ -z "$(ls "$XDG_DATA_HOME/wnodes/tmp")" ]
	own_store
	run -125 "$WNODES" image customize --recipe worker.recipe debian
	[[ "$output" == *"'debian' was built by WNoDeS: build it again"* ]]
}

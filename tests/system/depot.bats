# Depots: what is published is whole, is read by casync, and nothing half is ever seen.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	setup_work
	export XDG_DATA_HOME=$WORK/data
	depot=$WORK/depot
}

needs() {
	local tool
	for tool; do
		command -v "$tool" >/dev/null || skip "$tool is missing"
	done
}

# Bytes that look random, the same ones each time: noise SEED BYTES
noise() {
	openssl enc -aes-128-ctr -K "$(printf '%032x' "$1")" -iv "$(printf '%032x' 0)" -nosalt </dev/zero 2>/dev/null | head -c "$2"
}

# Imports a disk that is read from standard input: import NAME
import() {
	cat >disk.raw
	printf '\x55\xaa' | dd of=disk.raw bs=1 seek=510 conv=notrunc status=none
	truncate -s %4096 disk.raw
	"$WNODES" image import --name "$1" disk.raw >/dev/null
}

# A disk of 17 MiB with text, noise and zeros.
first_disk() {
	noise 1 5M
	head -c 4M /dev/zero
	cat "$WNODES" | head -c 3M
	seq 700000 | head -c 4M
	noise 2 1M
}

# Each part of the image as casync makes it of the depot, against the store's: assert_extracted NAME [STORE]
assert_extracted() {
	local name=$1 where=${2:-$depot} kind blob
	"$WNODES" image show --json "$name" | jq -r '.parts[] | .kind + " " + .digest' >parts
	while read -r kind blob; do
		rm -f "out.$kind"
		casync extract --seed-output=no --store="$where/chunks" "$where/index/$blob.caibx" "out.$kind"
		[ "$(openssl dgst -sha256 -r "out.$kind")" = "$blob *out.$kind" ]
	done <parts
}

# No name in the depot is of a file that is not whole.
assert_sound() {
	local file index
	find "$depot/chunks" -name '*.cacnk' | while read -r file; do
		[ "$(zstd -dc <"$file" | sha256sum)" = "$(basename "$file" .cacnk)  -" ] || { echo "damaged: $file"; return 1; }
	done
	for index in "$depot"/index/*.caibx; do
		[ -e "$index" ] || continue
		casync extract --seed-output=no --store="$depot/chunks" "$index" out
		[ "$(sha256sum <out)" = "$(basename "$index" .caibx)  -" ]
		rm out
	done
}

@test "depot: casync extracts what is published, byte for byte" {
	needs casync
	XDG_DATA_HOME=$TEST_HOME/data
	run -0 --separate-stderr "$WNODES" image publish --depot "$depot" --json debian
	[ "$(jq -r .digest <<<"$output")" = "$("$WNODES" image show --json debian | jq -r .digest)" ]
	jq -e '.name == "debian" and (.parts | length) == 3 and .new_chunks > 100 and .new_file_bytes < .new_bytes' <<<"$output"
	# The release says which SHA-256 each index has.
	jq -r '.parts[] | .index + "  index/" + .digest + ".caibx"' <<<"$output" | (cd "$depot" && sha256sum --check --quiet)
	assert_extracted debian
	[ "$(sha256sum <"$(echo "$depot"/manifest/*.json)")" = "$(basename "$depot"/manifest/*.json .json)  -" ]
	run -0 "$WNODES" depot list "$depot"
	[[ "$output" == *"Debian GNU/Linux 12"* ]]
}

@test "depot: casync extracts from a web server that knows nothing of it" {
	needs casync
	first_disk | import first
	"$WNODES" image publish --depot "$depot" first
	(cd "$depot" && exec python3 -u -m http.server --bind 127.0.0.1 0) >served 2>&1 3>&- &
	# shellcheck disable=SC2034 # teardown ends it
	server=$!
	wait_for 10 grep -q "port" served
	assert_extracted first "http://127.0.0.1:$(sed -n 's/.* port \([0-9]*\) .*/\1/p' served)"
}

@test "depot: an index of casync's own has the format of ours" {
	needs casync
	first_disk | import first
	"$WNODES" image publish --depot "$depot" first
	casync make --digest=sha256 --chunk-size=16384:81920:262144 --store=theirs theirs.caibx disk.raw
	# All but the flags, which are of directories: sizes, markers, and where the tail says the table is.
	head -c 64 theirs.caibx | xxd -s 24 >theirs.head
	head -c 64 "$(echo "$depot"/index/*)" | xxd -s 24 >ours.head
	diff theirs.head ours.head
	tail -c 16 theirs.caibx | head -c 1 | xxd >/dev/null
	[ "$(tail -c 8 theirs.caibx | xxd)" = "$(tail -c 8 "$(echo "$depot"/index/*)" | xxd)" ]
}

@test "depot: of a second version only what is new is written" {
	first_disk | import first
	"$WNODES" image publish --depot "$depot" first
	# Everything has moved, and 64 KiB are new in the middle.
	{
		noise 3 40960
		first_disk | head -c 14M
		noise 4 65536
		first_disk | tail -c +$((14 * 1024 * 1024 + 1))
	} | import second
	run -0 --separate-stderr "$WNODES" image publish --depot "$depot" --json second
	jq -e '.new_chunks > 0 and .new_chunks < 20 and .new_bytes < 2000000' <<<"$output"
	run -0 --separate-stderr "$WNODES" image publish --depot "$depot" --json second
	jq -e '.new_chunks == 0' <<<"$output"
	[ "$("$WNODES" depot list --quiet "$depot" | wc -l)" -eq 2 ]
}

@test "depot: files never change, are for all to read, and threads make no difference" {
	first_disk | import first
	(umask 077 && "$WNODES" image publish --threads 1 --depot "$depot" first)
	[ -z "$(find "$depot" -type f ! -perm 0444 ! -name lock)" ]
	(cd "$depot" && find . -type f -printf '%p %i %T@\n' | sort) >before
	"$WNODES" image publish --depot "$depot" first
	(cd "$depot" && find . -type f -printf '%p %i %T@\n' | sort) >after
	diff before after
	"$WNODES" image publish --threads 7 --depot "$depot.2" first
	diff -r "$depot" "$depot.2"
}

@test "depot: a publisher that is killed at any moment leaves it sound, and the next goes on" {
	needs casync
	first_disk | import first
	local i pid
	for i in 05 10 20 40 80; do
		"$WNODES" image publish --depot "$depot" first >/dev/null 3>&- &
		pid=$!
		sleep "0.$i"
		kill -9 $pid 2>/dev/null || true
		wait $pid || true
		assert_sound
		# It is all there, or not there at all.
		[ -z "$("$WNODES" depot list --quiet "$depot")" ] || break
	done
	"$WNODES" image publish --depot "$depot" first
	[ -z "$(ls "$depot/tmp")" ]
	assert_sound
	[ "$("$WNODES" depot list --quiet "$depot" | wc -l)" -eq 1 ]
}

@test "depot: killed at any system call, it is sound" {
	needs casync strace
	{ noise 5 400K; head -c 1M /dev/zero; } | import small
	local call n
	for call in renameat:1 renameat:4 syncfs:1 syncfs:2 fsync:1 fsync:3 write:3 mkdirat:6; do
		n=${call#*:}
		rm -rf "$depot"
		strace -f -o trace -e trace="${call%:*}" -e inject="${call%:*}:signal=SIGKILL:when=$n" "$WNODES" image publish --threads 1 --depot "$depot" small >/dev/null 2>&1 && continue
		assert_sound
		[ -z "$("$WNODES" depot list --quiet "$depot")" ]
		"$WNODES" image publish --depot "$depot" small >/dev/null
		assert_sound
	done
}

@test "depot: a full disk is told, and when there is room it goes on" {
	needs casync
	skip_unless_root
	first_disk | import first
	mkdir "$depot"
	mount -t tmpfs -o size=3M none "$depot"
	run -125 "$WNODES" image publish --depot "$depot" first
	[[ "$output" == *"No space left on device"* || "$output" == *"make room and publish again"* ]]
	[[ "$output" == *"make room"* ]]
	assert_sound
	[ -z "$(ls "$depot/tmp")$(ls "$depot/index")$("$WNODES" depot list --quiet "$depot")" ]
	mount -o remount,size=100M "$depot"
	"$WNODES" image publish --depot "$depot" first
	assert_extracted first
	umount "$depot"
}

@test "depot: gc takes what no image needs, and nothing else" {
	needs casync
	first_disk | import first
	{ first_disk; noise 6 2M; } | import second
	"$WNODES" image publish --depot "$depot" first
	"$WNODES" image publish --depot "$depot" second
	digest=$("$WNODES" image show --json second | jq -r .digest)
	run -0 "$WNODES" depot gc --older-than 0 "$depot"
	[[ "$output" == "removed 0 files"* ]]
	"$WNODES" depot remove "$depot" "${digest:0:12}"
	# What is younger than a day stays, unless it is asked for.
	run -0 "$WNODES" depot gc "$depot"
	[[ "$output" == "removed 0 files"* ]]
	run -0 "$WNODES" depot gc --older-than 0 --dry-run "$depot"
	[[ "$output" == "would remove "*"MiB" ]]
	run -0 "$WNODES" depot gc --older-than 0 "$depot"
	[[ "$output" == "removed "*"MiB" ]]
	assert_sound
	assert_extracted first
	"$WNODES" depot remove "$depot" "$("$WNODES" depot list --quiet "$depot")"
	"$WNODES" depot gc --older-than 0 "$depot"
	[ -z "$(find "$depot/chunks" "$depot/index" "$depot/manifest" -mindepth 1)" ]
}

@test "depot: gc removes nothing while it cannot know what is needed" {
	first_disk | import first
	"$WNODES" image publish --depot "$depot" first
	index=$(echo "$depot"/index/*)
	chmod 644 "$index"
	truncate -s -1 "$index"
	find "$depot/chunks" -type f | sort >before
	run -125 "$WNODES" depot gc --older-than 0 "$depot"
	[[ "$output" == *"nothing is removed"*"$index"* ]]
	find "$depot/chunks" -type f | sort | diff before -
	# Publishing again mends it.
	"$WNODES" image publish --depot "$depot" first
	"$WNODES" depot gc --older-than 0 "$depot"
}

@test "depot: mistakes are told" {
	noise 1 1M | import first
	run -125 "$WNODES" image publish first
	[[ "$output" == *"--depot"* ]]
	run -125 "$WNODES" image publish --depot "$depot" none
	[[ "$output" == *"there is no image 'none'"*"first:latest"* ]]
	[ ! -e "$depot" ]
	run -125 "$WNODES" depot list "$WORK"
	[[ "$output" == *"cannot read"* ]]
	run -125 "$WNODES" depot gc "$WORK/nothing"
	[[ "$output" == *"cannot open the depot"* ]]
	run -125 "$WNODES" depot gc "$WORK"
	[ ! -e "$WORK/chunks" ]
	"$WNODES" image publish --depot "$depot" first
	run -125 "$WNODES" depot remove "$depot" ffffff
	[[ "$output" == *"no images of the depot"* ]]
	touch "$WORK/file"
	run -125 "$WNODES" image publish --depot "$WORK/file" first
	[[ "$output" == *"Not a directory"* ]]
}

@test "depot: what is damaged or missing is told, with the images that cannot be had" {
	local chunk gone index
	first_disk | import first
	"$WNODES" image publish --depot "$depot" first
	{ noise 5 65536; first_disk; } | import second
	"$WNODES" image publish --depot "$depot" second
	run -0 "$WNODES" depot verify --whole "$depot"
	[[ "$output" == "2 images, 2 indexes and "*" 0 files are damaged, 0 missing, 0 foreign" ]]
	# Files of others, which nobody looks at.
	touch "$depot/chunks/README" "$depot/index/index.html"
	run -0 "$WNODES" depot verify --json "$depot"
	jq -e '.foreign == 2 and .damaged == 0 and .chunks > 50 and .bytes > 4000000 and .images == []' <<<"$output"
	rm "$depot/chunks/README" "$depot/index/index.html"
	# One that only the second has: it is in no index of the first.
	second=$("$WNODES" image show --json second | jq -r .digest)
	rm -rf "$WORK/alone"
	"$WNODES" image publish --depot "$WORK/alone" first
	gone=$(cd "$depot/chunks" && find . -name '*.cacnk' | while read -r chunk; do
		[ -e "$WORK/alone/chunks/$chunk" ] || echo "$chunk"
	done | head -1)
	mv "$depot/chunks/$gone" gone
	run -1 "$WNODES" depot verify --json "$depot"
	jq -e --arg path "chunks/${gone#./}" --arg digest "$second" '.missing == 1 and .damaged == 0 and .broken == 1 and
		.flaws[0].path == $path and .flaws[0].flaw == "missing" and .images[0].digest == $digest' <<<"$output"
	mv gone "$depot/chunks/$gone"
	# A byte that has changed in one that both have; it is found without their indexes, too.
	chunk=$(cd "$WORK/alone" && find chunks -name '*.cacnk' -size +8k | sort | head -1)
	chmod u+w "$depot/$chunk"
	printf '\xaa' | dd of="$depot/$chunk" bs=1 seek=4000 conv=notrunc status=none
	run -1 "$WNODES" depot verify "$depot"
	[[ "$output" == *"damaged: $chunk: "* ]]
	[ "$(grep -c "^image .* cannot be had: " <<<"$output")" -eq 2 ]
	# What it says to do: the damaged file goes, and the image is published again.
	rm -f "$depot/$chunk"
	"$WNODES" image publish --depot "$depot" first
	run -0 "$WNODES" depot verify --quiet "$depot"
	[ -z "$output" ]
}

@test "depot: an index that leads to another file is found, and an image whose index is gone" {
	local index
	first_disk | import first
	"$WNODES" image publish --depot "$depot" first
	index=$(echo "$depot"/index/*.caibx)
	chmod u+w "$index"
	# The ids of two chunks of one size change places: each file is right for itself.
	python3 - "$index" <<-'END'
		import struct, sys
		data = bytearray(open(sys.argv[1], "rb").read())
		rows = [(struct.unpack_from("<Q", data, at)[0], at) for at in range(64, len(data) - 40, 40)]
		sizes = {}
		for number, (end, at) in enumerate(rows):
		    size = end - (rows[number - 1][0] if number else 0)
		    other = sizes.setdefault(size, at)
		    if data[other + 8:other + 40] != data[at + 8:at + 40]:
		        data[other + 8:other + 40], data[at + 8:at + 40] = data[at + 8:at + 40], data[other + 8:other + 40]
		        break
		else:
		    sys.exit("no two chunks of one size")
		open(sys.argv[1], "wb").write(data)
	END
	run -0 "$WNODES" depot verify "$depot"
	run -1 "$WNODES" depot verify --whole "$depot"
	[[ "$output" == *"damaged: index/"*".caibx: its chunks make another file"* ]]
	# A length that is not the chunk's is seen without that.
	printf '\x01' | dd of="$index" bs=1 seek=65 conv=notrunc status=none
	run -1 "$WNODES" depot verify "$depot"
	[[ "$output" == *"damaged: index/"* ]]
	rm "$index"
	run -1 "$WNODES" depot verify "$depot"
	[[ "$output" == *"missing: index/"* && "$output" == *"cannot be had: 1 of its files is "* ]]
	run -125 "$WNODES" depot verify "$WORK"
	run -125 "$WNODES" depot verify "$WORK/nothing"
}

# Signed lists of images: who is believed, what is brought, what goes. openssl(1) is the other end; no VM starts.

bats_require_minimum_version 1.5.0
load helpers
load controller

AUTHORITY=$BATS_TEST_DIRNAME/../imagelist/authority.sh
ALICE='/DC=org/DC=example/CN=Alice Endorser'
CA='/DC=org/DC=example/CN=Example CA'
ID=76fdee70-8119-5d33-aaaa-3c57e1c60df1

setup_file() {
	export PKI=$BATS_FILE_TMPDIR/pki
	"$AUTHORITY" "$PKI" init "$CA"
	"$AUTHORITY" "$PKI" issue alice "$ALICE"
	"$AUTHORITY" "$PKI" issue bob '/DC=org/DC=example/CN=Bob'
	"$AUTHORITY" "$PKI" crl
	"$AUTHORITY" "$BATS_FILE_TMPDIR/other" init "$CA"
	"$AUTHORITY" "$BATS_FILE_TMPDIR/other" issue alice "$ALICE"
}

setup() {
	setup_work
	export XDG_DATA_HOME=$WORK/data XDG_CONFIG_HOME=$WORK/config WNODES_SYSTEM_STORE=$WORK/none
	mkdir www
	disk www/one.raw one
	python3 "$BATS_TEST_DIRNAME/imagelist.py" "$WORK/www" "$WORK/requests" "$WORK/port" >server.log 2>&1 3>&- &
	export server=$! # which teardown ends
	wait_for 10 test -s port
	URL=http://127.0.0.1:$(cat port)
	OURS=$XDG_STATE_HOME/wnodes/imagelists/egi
}

teardown() {
	[ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
	wait_for 10 all_killed
	teardown_controller
}

# A disk of 2 MiB with a boot sector, that tells itself from others: disk FILE WORD
disk() {
	head -c 2097152 /dev/zero >"$1"
	printf '\x55\xaa%s' "$2" | dd of="$1" bs=1 seek=510 conv=notrunc status=none
}

# An image of a list, as JSON: image IDENTIFIER FILE TITLE [VERSION]
image() {
	jq -n --arg id "$1" --arg uri "$URL/$2" --arg title "$3" --arg version "${4:-1.0}" \
		--argjson size "$(stat -c %s "www/${2##*/}")" \
		--arg sha512 "$(sha512sum "www/${2##*/}" | cut -d' ' -f1)" '{"hv:image": {
		"dc:identifier": $id, "dc:title": $title, "dc:description": "", "hv:hypervisor": "QEMU,KVM",
		"hv:format": "RAW", "hv:size": $size, "hv:uri": $uri, "hv:version": $version, "sl:arch": "x86_64",
		"sl:checksum:sha512": $sha512, "sl:comments": "", "sl:os": "Linux", "sl:osname": "Test Linux",
		"sl:osversion": "6.0", "ad:mpuri": "https://appdb.example.net/"}}'
}

# A list of the images on stdin, changed by a filter of jq: list [FILTER]
list() {
	jq -s --arg created "$(date -u -d '-1 hour' +%FT%TZ)" --arg expires "$(date -u -d '+1 day' +%FT%TZ)" \
		--arg dn "$ALICE" --arg ca "$CA" --arg id "$ID" --arg uri "$URL/image.list" '{"hv:imagelist": {
		"dc:date:created": $created, "dc:date:expires": $expires, "dc:identifier": $id, "dc:title": "VO images",
		"dc:description": "", "dc:source": "https://example.net/", "hv:uri": $uri, "hv:version": "100",
		"hv:endorser": {"hv:x509": {"dc:creator": "Alice", "hv:ca": $ca, "hv:dn": $dn, "hv:email": "a@example.net"}},
		"hv:images": .}}' | jq "${1:-.}"
}

# Signs as hepixvmitrust does: sign [NAME [OPTIONS...]], from stdin to the list that is served.
sign() {
	local name=${1:-alice}
	[ $# -eq 0 ] || shift
	openssl smime -sign -in /dev/stdin -signer "$PKI/$name.pem" -inkey "$PKI/$name.key" -text -md sha256 \
		-out www/image.list "$@"
}

one() {
	image c0482bc2-bf41-5d49-aaaa-a750174a186b one.raw 'Image One [SL/6.0]' "$@"
}

subscribe() {
	"$WNODES" imagelist subscribe egi "$URL/image.list" --ca "$PKI/trust" --endorser "$ALICE" --issuer "$CA" "$@"
}

# shellcheck disable=SC2120 # `run` gives it arguments
update() {
	"$WNODES" imagelist update "$@"
}

# The subscription is as it was: no list was ever taken, no image is here.
nothing_taken() {
	[ "$("$WNODES" imagelist show egi --json | jq -r '"\(.version) \(.image_count)"')" = "null 0" ]
	[ -z "$("$WNODES" image list -q)" ]
}

# A program with a sanitizer stops for ever under it.
needs_faketime() {
	command -v faketime >/dev/null || skip "needs faketime"
	! nm -D "$WNODES" | grep -q __asan_init || skip "not with the address sanitizer"
}

# An update ends with this status and says this: refused STATUS TEXT [ARGUMENTS...]
refused() {
	local status=$1 text=$2
	shift 2
	run "-$status" update "$@"
	[[ "$output" == *"$text"* ]] || { echo "does not say '$text'"; return 1; }
}

@test "imagelist: a good list that openssl has signed brings its image" {
	one | list | sign
	subscribe
	[ "$("$WNODES" imagelist list -q)" = egi ]
	run -0 update --dry-run
	[[ "$output" == *"new      egi-image-one-sl-6.0:latest 1.0"* ]]
	nothing_taken
	run -0 --separate-stderr update
	[[ "$output" == *"version 100, endorsed by $ALICE"* ]]
	[[ "$output" == *"new      egi-image-one-sl-6.0:latest 1.0"* ]]
	run -0 "$WNODES" image show egi-image-one-sl-6.0 --json
	[ "$(jq -r '"\(.os)|\(.origin)|\(.size)"' <<<"$output")" = "Test Linux 6.0|$URL/one.raw|2097152" ]
	cmp www/one.raw "$XDG_DATA_HOME/wnodes/blobs/$(jq -r '.parts[0].digest' <<<"$output")"
	# What is here is not downloaded again, and a timer is silent about it.
	run -0 update --quiet
	[ -z "$output" ]
	[ "$(grep -c one.raw requests)" -eq 1 ]
	[ -z "$(ls "$OURS/partial")" ]
	run -0 "$WNODES" imagelist show egi
	[[ "$output" == *"current"*"egi-image-one-sl-6.0:latest"* ]]
	[ "$(stat -c %a "$OURS")" = 700 ]
}

@test "imagelist: JSON says what happened" {
	one | list '."hv:imagelist"."hv:images" += [{"hv:image": {"dc:title": "Half"}}]' | sign
	subscribe
	run -0 --separate-stderr update --json
	[ "$(jq -r '.[0] | "\(.status) \(.exit_status) \(.version) \(.previous_version) \(.images[0].action) \(.images | length)"' <<<"$output")" = \
		"taken 0 100 null new 1" ]
	[[ "$(jq -r '.[0].warnings[0]' <<<"$output")" == *"Half"*"dc:identifier"* ]]
	[ "$(jq -r '.[0].images[0].digest' <<<"$output")" = "$("$WNODES" image show --json egi-image-one-sl-6.0 | jq -r .digest)" ]
	"$WNODES" imagelist list --json | jq -e '.[0] | .state == "current" and .image_count == 1 and .crl'
	cp www/image.list good
	sed 's/VO images/VO Images/' good >www/image.list
	run -11 --separate-stderr update --json
	jq -e '.[0] | .status == "signature" and .exit_status == 11 and (.error | test("signature"))' <<<"$output"
	"$WNODES" imagelist list --json | jq -e '.[0] | .state == "failing" and (.failure | test("signature"))'
}

@test "imagelist: signatures that do not count" {
	one | list | sign
	subscribe
	cp www/image.list good
	# Tampered with.
	sed 's/"hv:version": "1.0"/"hv:version": "1.1"/' good >www/image.list
	refused 11 "signature is not valid"
	# By a certificate of the right name, of somebody else's authority.
	one | list | (PKI=$BATS_FILE_TMPDIR/other && sign)
	refused 11 "signature is not valid"
	# Not signed at all; no list at all.
	one | list >www/image.list
	refused 11 "no signed S/MIME message"
	rm www/image.list
	refused 125 "404"
	nothing_taken
	cp good www/image.list
	run -0 update
}

@test "imagelist: signers who are not the endorser, endorsers who are not ours" {
	subscribe
	one | list | sign bob
	refused 12 "Alice Endorser' (by '$CA') endorses it, but '/DC=org/DC=example/CN=Bob'"
	one | list '."hv:imagelist"."hv:endorser"."hv:x509"."hv:dn" = "/DC=org/DC=example/CN=Bob"' | sign bob
	refused 13 "CN=Bob' (by '$CA') is no endorser of this subscription"
	nothing_taken
	# Until he is.
	subscribe --replace --endorser-certificate "$PKI/bob.pem"
	run -0 update
	[[ "$output" == *"new"* ]]
	# And is not any more: what he endorsed goes.
	subscribe --replace
	refused 13 "is no endorser"
	[[ "$output" == *"removed  egi-image-one-sl-6.0:latest"*"endorser is none of this subscription any more"* ]]
	[ -z "$("$WNODES" image list -q)" ]
}

@test "imagelist: what was signed with a certificate that is revoked goes" {
	cp -a "$PKI" pki
	"$AUTHORITY" pki issue eve '/CN=Eve'
	one | list '."hv:imagelist"."hv:endorser"."hv:x509"."hv:dn" = "/CN=Eve"' | (PKI=$WORK/pki && sign eve)
	"$WNODES" imagelist subscribe egi "$URL/image.list" --ca pki/trust --endorser /CN=Eve --issuer "$CA"
	run -0 update
	"$AUTHORITY" pki revoke eve
	"$AUTHORITY" pki crl
	refused 11 "certificate revoked"
	# Nothing of hers is kept.
	[[ "$output" == *"removed  egi-image-one-sl-6.0:latest"*"has been revoked"* ]]
	[ -z "$("$WNODES" image list -q)" ]
}

@test "imagelist: an authority without a list of revoked certificates has to be told of" {
	one | list | sign
	mkdir bare
	cp "$PKI"/trust/*.0 bare
	subscribe --ca bare
	refused 11 "unable to get certificate CRL"
	subscribe --replace --ca bare --no-crl
	run -0 update
}

@test "imagelist: lists of the future, expired ones, other ones and older ones" {
	subscribe
	one | list ".\"hv:imagelist\".\"dc:date:created\" = \"$(date -u -d '+1 hour' +%FT%TZ)\"" | sign
	refused 33 "made in the future"
	one | list ".\"hv:imagelist\".\"dc:date:expires\" = \"$(date -u -d '-1 minute' +%FT%TZ)\"" | sign
	refused 34 "has expired"
	nothing_taken
	one | list | sign
	run -0 update
	one | list '."hv:imagelist"."dc:identifier" = "another"' | sign
	refused 31 "it is the list 'another', not '$ID'"
	one | list '."hv:imagelist"."hv:version" = "99"' | sign
	refused 35 "version 99, older than 100"
	# The same version, signed anew, is taken; an older signature of it is not.
	one | list | sign
	cp www/image.list old
	run -0 update
	one | list ".\"hv:imagelist\".\"dc:date:created\" = \"$(date -u -d '-2 hours' +%FT%TZ)\"" | sign
	refused 35 "the one that was taken before at"
	# All the time the image stayed.
	[ "$("$WNODES" image list -q)" = egi-image-one-sl-6.0:latest ]
}

@test "imagelist: what was signed is no list" {
	subscribe
	echo 'nonsense' | sign
	refused 37 "not JSON"
	one | list 'del(."hv:imagelist"."hv:version")' | sign
	refused 38 "'hv:version'"
	echo '{}' | sign
	refused 38 "'hv:imagelist'"
	nothing_taken
}

@test "imagelist: nothing new is taken while it is not known who was revoked" {
	needs_faketime
	one | list | sign
	subscribe
	run -0 update
	run -11 faketime '+40 days' "$WNODES" imagelist update
	[[ "$output" == *"CRL has expired"* ]]
}

@test "imagelist: a list that expires takes its images with it, also when its server is gone" {
	needs_faketime
	one | list | sign
	subscribe
	run -0 update
	rm www/image.list
	refused 125 "404"
	[ -n "$("$WNODES" image list -q)" ]
	run -125 faketime '+2 days' "$WNODES" imagelist update
	[[ "$output" == *"expired  egi-image-one-sl-6.0:latest"*"its list has expired"* ]]
	[ -z "$("$WNODES" image list -q)" ]
	run -0 "$WNODES" imagelist show egi
	[[ "$output" == *"egi-image-one-sl-6.0:latest"*"expired"* ]]
	# Comes back without a download, as long as nobody has collected it.
	one | list | sign
	run -0 update
	[ -n "$("$WNODES" image list -q)" ]
	[ "$(grep -c one.raw requests)" -eq 1 ]
}

@test "imagelist: images that are not what the list says are not taken" {
	disk www/two.raw two
	{ one; image two two.raw Two; } >images
	subscribe
	list '."hv:imagelist"."hv:images"[0]."hv:image"."hv:size" = 2097151' <images | sign
	refused 40 "it has more than the 2097151 bytes that the list says"
	[[ "$output" == *"failed   egi-image-one"*"new      egi-two:latest"* ]]
	list '."hv:imagelist"."hv:images"[0]."hv:image"."hv:size" = 2097153' <images | sign
	refused 40 "it has 2097152 bytes, and the list says 2097153"
	list '."hv:imagelist"."hv:images"[0]."hv:image"."sl:checksum:sha512" = ("0" * 128)' <images | sign
	refused 40 "and the list says 0000000000000000..."
	# No disk with a boot loader; not by HTTP.
	head -c 4096 /dev/urandom >www/junk
	{ image junk junk Junk; one; } | list '."hv:imagelist"."hv:images"[1]."hv:image" |= . +
		{"hv:uri": "file:///etc/passwd"}' | sign
	refused 40 "neither http nor https"
	[[ "$output" == *"failed   egi-junk:latest"*"neither a qcow2 image nor a disk with a boot loader"* ]]
	[ "$("$WNODES" image list -q)" = "" ]
	# Nothing is left of them, and in the end all is well.
	list <images | sign
	run -0 update
	[ "$("$WNODES" image list -q | wc -l)" -eq 2 ]
	[ -z "$(ls "$OURS/partial")" ]
}

@test "imagelist: images that lack something or are for others are passed over" {
	disk www/two.raw two
	{ one; image two two.raw Two; image three two.raw Three; image four two.raw Four; } |
		list '."hv:imagelist"."hv:images" |= (
			(.[0]."hv:image" |= (."hv:size" |= tostring) + {"hv:ram_minimum": "512", "hv:core_minimum": 1}) |
			(.[1]."hv:image" |= del(."sl:os")) | (.[2]."hv:image"."sl:arch" = "aarch64") |
			(.[3]."hv:image"."hv:hypervisor" = "VMWare"))
			| ."hv:imagelist"."hv:version" = 100' | sign
	subscribe
	run -0 update
	[[ "$output" == *"(Two) is passed over: it has no 'sl:os'"* ]]
	[[ "$output" == *"skipped  Three 1.0: it is for aarch64"* ]]
	[[ "$output" == *"skipped  Four 1.0: it is for VMWare, not for KVM"* ]]
	[ "$("$WNODES" image list -q)" = egi-image-one-sl-6.0:latest ]
}

@test "imagelist: the old form without an outer key is read, and other addresses are told" {
	one | list '."hv:imagelist" | ."hv:uri" = "https://elsewhere.example.net/image.list"' | sign
	subscribe
	run -0 update
	[[ "$output" == *"old form without 'hv:imagelist'"* ]]
	[[ "$output" == *"the list says that it is at 'https://elsewhere.example.net/image.list'"* ]]
	[ -n "$("$WNODES" image list -q)" ]
}

@test "imagelist: images that change are changed, those that leave lose their names" {
	disk www/two.raw two
	{ one; image two two.raw Two; } | list | sign
	subscribe
	run -0 update
	first=$("$WNODES" image show --json egi-image-one-sl-6.0 | jq -r .digest)
	disk www/one.raw new
	one 2.0 | list '."hv:imagelist"."hv:version" = "101"' | sign
	run -0 update --dry-run
	[[ "$output" == *"removed  egi-two:latest"* ]]
	run -0 update
	[[ "$output" == *"changed  egi-image-one-sl-6.0:latest 2.0"* ]]
	[[ "$output" == *"removed  egi-two:latest"*"in the list no more"* ]]
	[ "$("$WNODES" image list -q)" = egi-image-one-sl-6.0:latest ]
	[ "$("$WNODES" image show --json egi-image-one-sl-6.0 | jq -r .digest)" != "$first" ]
	"$WNODES" imagelist show egi --json | jq -e '.images[] | select(.identifier == "two").gone'
}

@test "imagelist: some images, under names of one's own, and never over somebody else's" {
	disk www/two.raw two
	disk mine.raw mine
	{ one; image two two.raw Two; } | list | sign
	"$WNODES" image import --name mine mine.raw
	subscribe --image two=mine
	refused 40 "'mine:latest' is another image already"
	subscribe --replace --image two=theirs:v1
	run -0 update
	[ "$("$WNODES" image list -q | tr '\n' ' ')" = "mine:latest theirs:v1 " ]
	# A tag that the user has moved is left alone.
	"$WNODES" image tag mine theirs:v1
	refused 40 "'theirs:v1' is another image now"
	"$WNODES" imagelist unsubscribe egi
	[ "$("$WNODES" image list -q | tr '\n' ' ')" = "mine:latest theirs:v1 " ]
	run -125 "$WNODES" imagelist show egi
	[[ "$output" == *"no subscription 'egi'"* ]]
	[ ! -e "$OURS" ]
}

@test "imagelist: the disk of an OVA is made an image" {
	qemu-img convert -f raw -O vmdk -o subformat=streamOptimized www/one.raw one.vmdk
	tar -H ustar -cf www/one.ova one.vmdk
	image one one.ova One | list '."hv:imagelist"."hv:images"[0]."hv:image"."hv:format" = "OVA"' | sign
	subscribe
	run -0 update
	blob=$("$WNODES" image show --json egi-one | jq -r '.parts[0].digest')
	qemu-img compare -f raw www/one.raw -F qcow2 "$XDG_DATA_HOME/wnodes/blobs/$blob"
	run -0 update
	[[ "$output" == *"nothing is new"* ]]
	[ "$(grep -c one.ova requests)" -eq 1 ]
}

@test "imagelist: an update that is killed is gone on with" {
	head -c 2097152 /dev/urandom >www/big.raw
	printf '\x55\xaa' | dd of=www/big.raw bs=1 seek=510 conv=notrunc status=none
	{ one; image big stuck/big.raw Big; } | list | sign
	subscribe
	"$WNODES" imagelist update >out 2>&1 3>&- &
	pid=$!
	wait_for 20 bash -c "[ \$(stat -c %s '$OURS'/partial/* | sort -n | tail -1) -eq 1048576 ]"
	kill -KILL $pid
	wait $pid || true
	[ "$("$WNODES" image list -q)" = egi-image-one-sl-6.0:latest ]
	run -0 update
	[[ "$output" == *"new      egi-big:latest"* ]]
	[ "$(grep -c one.raw requests)" -eq 1 ]
	grep -q '/stuck/big.raw bytes=1048576-' requests
	[ "$("$WNODES" image show --json egi-big | jq -r .size)" = 2097152 ]
	[ -z "$(ls "$OURS/partial")" ]
}

@test "imagelist: of two updates at once the second waits, and has nothing left to do" {
	head -c 2097152 /dev/urandom >www/big.raw
	printf '\x55\xaa' | dd of=www/big.raw bs=1 seek=510 conv=notrunc status=none
	image big slow/big.raw Big | list | sign
	subscribe
	update >first 2>&1 3>&- &
	pid=$!
	wait_for 10 bash -c "ls '$OURS'/partial/* >/dev/null"
	run -0 update
	[[ "$output" == *"waiting for it"* ]]
	[[ "$output" == *"nothing is new"* ]]
	ends_with 0 $pid
	grep -q 'new      egi-big' first
	[ "$(grep -c big.raw requests)" -eq 1 ]
}

@test "imagelist: a list from a file, several subscriptions, and addresses with passwords" {
	one | list | sign
	cp www/image.list local.list
	subscribe
	"$WNODES" imagelist subscribe file local.list --ca "$PKI/trust" --endorser-certificate "$PKI/alice.pem" --tag t1
	rm www/image.list
	run -125 update
	[ "$("$WNODES" image list -q)" = file-image-one-sl-6.0:t1 ]
	run -0 update egi --file local.list
	[ "$("$WNODES" image list -q | wc -l)" -eq 2 ]
	run -125 update --file local.list
	cp local.list www/image.list
	"$WNODES" imagelist subscribe secret "http://token:x-oauth-basic@127.0.0.1:$(cat port)/image.list" \
		--ca "$PKI/trust" --endorser-certificate "$PKI/alice.pem" --image none
	run -0 update secret
	grep -q "Basic $(printf 'token:x-oauth-basic' | base64)" requests
	run -0 "$WNODES" imagelist show secret
	[[ "$output" != *token* ]]
}

@test "imagelist: what is published is verified by openssl, and subscribed to" {
	disk two.raw two
	"$WNODES" image import --name one www/one.raw
	"$WNODES" image import --name two --tag v2 two.raw
	run -0 "$WNODES" imagelist publish www one two:v2 --url "$URL" --title 'Our images' \
		--certificate "$PKI/alice.pem" --key "$PKI/alice.key"
	openssl smime -verify -in www/image.list -CApath "$PKI/trust" -crl_check_all -purpose any -text -out verified
	tr -d '\r' <verified | jq -e '."hv:imagelist" | ."hv:endorser"."hv:x509"."hv:dn" == "'"$ALICE"'" and
		."dc:title" == "Our images" and (."hv:images" | length) == 2'
	cmp <(tr -d '\r' <verified) www/image.json
	export XDG_DATA_HOME=$WORK/data2
	subscribe
	run -0 update
	[ "$("$WNODES" image list -q | tr '\n' ' ')" = "egi-one:latest egi-two-v2:latest " ]
	# The next has a higher version, the same identifiers, and only what is named.
	before=$(jq -r '."hv:imagelist" | "\(."dc:identifier") \(."hv:images"[0]."hv:image"."dc:identifier")"' www/image.json)
	XDG_DATA_HOME=$WORK/data run -0 "$WNODES" imagelist publish www one --url "$URL" --expires 48h --json \
		--certificate "$PKI/alice.pem" --key "$PKI/alice.key"
	[ "$(jq -r '"\(.identifier) \(.images[0].identifier)"' <<<"$output")" = "$before" ]
	[ "$(jq -r '."hv:imagelist"."dc:title"' www/image.json)" = 'Our images' ]
	run -0 update
	[[ "$output" == *"removed  egi-two-v2:latest"* ]]
	[ "$("$WNODES" image list -q)" = egi-one:latest ]
	[ "$(grep -c one-latest requests)" -eq 1 ]
}

@test "imagelist: what cannot be published is refused" {
	"$WNODES" image import --name one www/one.raw
	run -125 "$WNODES" imagelist publish www one --url "$URL" --certificate "$PKI/alice.pem"
	[[ "$output" == *"--key"* ]]
	run -125 "$WNODES" imagelist publish www one --url "$URL" --certificate "$PKI/alice.pem" --key "$PKI/bob.key"
	[[ "$output" == *"not that of the certificate"* ]]
	run -125 "$WNODES" imagelist publish www nosuch --url "$URL" --certificate "$PKI/alice.pem" --key "$PKI/alice.key"
	[[ "$output" == *"no image 'nosuch'"* ]]
	[ ! -e www/image.list ]
	export XDG_DATA_HOME=$TEST_HOME/data
	run -125 "$WNODES" imagelist publish www debian --url "$URL" --certificate "$PKI/alice.pem" --key "$PKI/alice.key"
	[[ "$output" == *"a kernel and an initrd of its own"* ]]
	[ ! -e www/image.list ]
}

@test "imagelist: subscriptions that cannot be are refused" {
	run -125 "$WNODES" imagelist subscribe egi "$URL/image.list" --ca "$PKI/trust"
	[[ "$output" == *"whose signature is trusted"* ]]
	run -125 "$WNODES" imagelist subscribe egi "$URL/image.list" --ca "$PKI/trust" --endorser "$ALICE"
	[[ "$output" == *"needs an --issuer"* ]]
	run -125 "$WNODES" imagelist subscribe ../egi "$URL/image.list" --ca "$PKI/trust" --endorser "$ALICE" --issuer "$CA"
	[[ "$output" == *"not a name for a subscription"* ]]
	run -125 "$WNODES" imagelist subscribe egi "$URL/image.list" --ca /no/such --endorser "$ALICE" --issuer "$CA"
	[[ "$output" == *"'/no/such' (--ca)"* ]]
	run -125 update egi
	[[ "$output" == *"no subscription 'egi'"* ]]
	run -0 update
	[ -z "$output" ]
	subscribe
	run -125 subscribe
	[[ "$output" == *"--replace"* ]]
}

# A site, which root asks by its controller's socket.
a_site() {
	CONTROLLER=$WNODES_BUILD/wnodes-controller
	[ -x "$CONTROLLER" ] || skip "the controller was not built"
	skip_unless_root
	# shellcheck disable=SC2034 # controller.bash uses them
	SOCKET=$WORK/controller/socket STATE=$WORK/controller/state
	mkdir -m 755 controller
	# shellcheck disable=SC2034
	PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	# The leak sanitizer needs ptrace(2), which the controller may not use.
	export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
	own_config 'munge = none'
	mkdir -p "$XDG_CONFIG_HOME/wnodes"
	printf '[site]\ncontrollers = unix:%s\nmunge = no\n' "$SOCKET" >"$XDG_CONFIG_HOME/wnodes/wnodes.conf"
	start_controller
}

# What the site has of an image: at_site DIGEST JQ
at_site() {
	local_call GET "/v1/images/$1" | head -n -1 | jq -r "$2"
}

@test "imagelist: images are published at the site as endorsed, and expire there with the list" {
	a_site
	one | list | sign
	subscribe --site
	run -0 update
	[[ "$output" == *"at the site, published egi-image-one-sl-6.0:latest: endorsed"* ]]
	first=$("$WNODES" image show --json egi-image-one-sl-6.0 | jq -r .digest)
	until=$(jq -r '."hv:imagelist"."dc:date:expires"' <(openssl smime -verify -in www/image.list -noverify -text 2>/dev/null))
	[ "$(at_site "$first" '"\(.name) \(.tag) \(.state) \(.expires[0:19])Z"')" = \
		"egi-image-one-sl-6.0 latest endorsed $until" ]
	[[ "$(local_call GET "/v1/images/$first/history" | head -n -1)" == *"endorsed by $ALICE in version 100 of the list $ID"* ]]
	[ ! -e "$OURS/depot" ]
	# The next list has another end; nothing else is told twice.
	run -0 update --quiet
	[ -z "$output" ]
	one | list ".\"hv:imagelist\".\"dc:date:expires\" = \"$(date -u -d '+3 days' +%FT%TZ)\"" | sign
	run -0 update
	[[ "$output" == *"at the site, limited egi-image-one-sl-6.0:latest"* ]]
	[ "$(at_site "$first" '.expires[0:10]')" = "$(date -u -d '+3 days' +%F)" ]
	# A site that does not answer is told by the next update.
	stop_controller
	disk www/one.raw new
	one 2.0 | list '."hv:imagelist"."hv:version" = "101"' | sign
	refused 41 "the site was not told of all images"
	second=$("$WNODES" image show --json egi-image-one-sl-6.0 | jq -r .digest)
	[ "$second" != "$first" ]
	start_controller
	run -0 update
	[[ "$output" == *"at the site, published"* ]]
	[ "$(at_site "$second" .state)" = endorsed ]
	[ "$(at_site "$first" .state)" = endorsed ]
	# It leaves the list.
	disk www/two.raw two
	image two two.raw Two | list '."hv:imagelist"."hv:version" = "102"' | sign
	run -0 update
	[[ "$output" == *"at the site, expired egi-image-one-sl-6.0:latest"* ]]
	[ "$(at_site "$second" .state)" = expired ]
	two=$("$WNODES" image show --json egi-two | jq -r .digest)
	"$WNODES" imagelist unsubscribe egi
	[ "$(at_site "$two" .state)" = expired ]
}

# What the units of the examples ask of systemd, as far as it can be had without it: the rest of the machine and the
# home are closed to writing, but for what ReadWritePaths names. As root, whose images are the machine's.
in_the_service() {
	unshare -m sh -ec '
		mount --bind "$HOME" "$HOME"
		mount -o remount,bind,ro "$HOME"
		[ ! -d "$HOME/.local/state/wnodes" ] || {
			mount --bind "$KEPT" "$HOME/.local/state/wnodes"
		}
		exec "$@"' - "$@"
}

@test "imagelist: the timer's and cron's examples do what they say" {
	local examples=$BATS_TEST_DIRNAME/../../examples/imagelist line word
	skip_unless_root
	unshare -m true 2>/dev/null || skip "needs mount namespaces"
	one | list | sign
	unset XDG_STATE_HOME
	export XDG_DATA_HOME=$WORK/machine WNODES_SYSTEM_STORE=$WORK/machine/wnodes
	subscribe
	# systemd keeps that place open through the closed home.
	export KEPT=$WORK/kept-state
	cp -a "$HOME/.local/state/wnodes" "$KEPT"
	mkdir units
	for word in service timer; do
		sed "s|/usr/bin/wnodes|$WNODES|" "$examples/wnodes-imagelist.$word" >"units/wnodes-imagelist.$word"
	done
	if command -v systemd-analyze >/dev/null; then
		systemd-analyze verify --man=no units/wnodes-imagelist.service units/wnodes-imagelist.timer 2>verify.err ||
			{ cat verify.err; false; }
		! grep wnodes-imagelist verify.err
		systemd-analyze calendar "$(sed -n 's/^OnCalendar=//p' units/wnodes-imagelist.timer)"
	fi
	sed -n 's/^ExecStart\(Post\)\?=//p' units/wnodes-imagelist.service >commands
	[ "$(wc -l <commands)" -eq 2 ]
	while read -r line; do
		# shellcheck disable=SC2086 # as systemd splits it
		in_the_service $line
	done <commands >first.out
	grep -q 'egi' first.out
	run -0 "$WNODES" image list
	[[ "$output" == *egi-image-one* ]]
	# The next day nothing is new, and cron sends no mail.
	cp -aT "$KEPT" "$HOME/.local/state/wnodes"
	line=$(sed -n 's/^0 5 \* \* \* root sleep [^;]*; //p' "$examples/wnodes-imagelist.cron")
	[[ "$line" == "wnodes imagelist update"* ]]
	run -0 env PATH="$(dirname "$WNODES"):/usr/sbin:/usr/bin:/sbin:/bin" sh -c "$line"
	[ -z "$output" ]
}

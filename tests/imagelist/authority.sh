#!/bin/sh
# A certificate authority for tests, by openssl(1): authority.sh DIRECTORY COMMAND...
#
#   init SUBJECT         makes DIRECTORY/ca.pem, ca.key and trust/, the directory that names them by hash
#   issue NAME SUBJECT   makes DIRECTORY/NAME.pem and NAME.key
#   revoke NAME          revokes it; told by the next `crl`
#   crl [DAYS]           makes a list of what is revoked, good for 30 days (DAYS may be -1: it has expired)
set -eu

directory=$1 command=$2
shift 2
mkdir -p "$directory"
cd "$directory"

key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

# Certificates and lists of revoked ones, by the hash of the authority's name.
publish() {
	mkdir -p trust
	cp "$1" "trust/$(openssl x509 -hash -noout -in ca.pem).$2"
}

case $command in
init)
	cat >ca.cnf <<-END
		[ca]
		default_ca = here
		[here]
		dir = .
		database = index.txt
		serial = serial
		new_certs_dir = .
		certificate = ca.pem
		private_key = ca.key
		default_md = sha256
		default_days = 3650
		policy = any
		unique_subject = no
		x509_extensions = user
		preserve = yes
		[any]
		domainComponent = optional
		commonName = supplied
		emailAddress = optional
		[user]
		basicConstraints = critical,CA:FALSE
		keyUsage = critical,digitalSignature
		subjectAltName = email:endorser@example.org
		[req]
		distinguished_name = none
		[none]
	END
	: >index.txt
	echo 1000 >serial
	# shellcheck disable=SC2086
	openssl req -x509 $key -config ca.cnf -keyout ca.key -out ca.pem -subj "$1" -days 7300 \
		-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
	publish ca.pem 0
	;;
issue)
	# shellcheck disable=SC2086
	openssl req -new $key -config ca.cnf -keyout "$1.key" -out "$1.csr" -subj "$2"
	openssl ca -batch -config ca.cnf -in "$1.csr" -out "$1.pem" -notext ${STARTDATE:+-startdate "$STARTDATE"}
	;;
revoke)
	openssl ca -batch -config ca.cnf -revoke "$1.pem"
	;;
crl)
	days=${1:-30}
	if [ "$days" -lt 0 ]; then
		openssl ca -batch -config ca.cnf -gencrl -crlsec 1 -out crl.pem
		sleep 2
	else
		openssl ca -batch -config ca.cnf -gencrl -crldays "$days" -out crl.pem
	fi
	publish crl.pem r0
	;;
esac >log 2>&1 || { cat log >&2; exit 1; }

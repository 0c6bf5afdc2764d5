# Shared by the tests of images that are upgraded.

# A repository of Debian packages, served to VMs, with one that is newer than the image's: repository FILE
repository() {
	mkdir -p "$WORK/repo" "$WORK/deb/DEBIAN"
	if [ -n "$1" ]; then
		mkdir -p "$WORK/deb$(dirname "$1")"
		touch "$WORK/deb$1"
		printf '%s\n' 'Package: ca-certificates' 'Version: 99991231' 'Architecture: all' \
			'Maintainer: test <test@localhost>' 'Description: test' >"$WORK/deb/DEBIAN/control"
		dpkg-deb --root-owner-group -Znone --build "$WORK/deb" "$WORK/repo/new.deb" >/dev/null
		{
			cat "$WORK/deb/DEBIAN/control"
			echo "Filename: ./new.deb"
			echo "Size: $(stat -c %s "$WORK/repo/new.deb")"
			echo "SHA256: $(sha256sum "$WORK/repo/new.deb" | cut -d' ' -f1)"
		} >"$WORK/repo/Packages"
	else
		: >"$WORK/repo/Packages"
	fi
	python3 -u - "$WORK/repo" >"$WORK/port" 2>/dev/null 3>&- <<-'END' &
		import functools, http.server, sys
		handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
		server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
		print(server.server_port)
		server.serve_forever()
	END
	export server=$!
	wait_for 60 test -s "$WORK/port"
	# 10.0.2.2 is the host, to a VM with the user network.
	mirror="deb [trusted=yes] http://10.0.2.2:$(cat "$WORK/port") ./"
	export mirror
}

# The site of a cluster, of up.sh's --controllers: controllers on hosts of their own, of which each is an
# account without rights, and the files by which nodes and users find them.
# shellcheck disable=SC2154 # variables of up.sh

site_file=/etc/wnodes/ca.pem # the authority's certificate, on nodes and on ctl

site_write() {
	local k directory
	for k in $(seq "$controllers"); do
		directory=$state/controllers/c$k
		mkdir -p "$directory"/{etc,run,lib}
		chmod 700 "$directory/lib"
		chown 64191:64191 "$directory"/{run,lib}
		site_write_controller "c$k" >"$directory/etc/controller.conf"
		chown root:64191 "$directory/etc/controller.conf"
		chmod 640 "$directory/etc/controller.conf"
	done
	install -d -m 700 -o 64191 -g 64191 "${depot:-$state/depot}"
	# A host where people work: settings, and no daemon.
	mkdir -p "$state/nodes/ctl"/{run,lib}
	{
		echo '[site]'
		for k in $(seq "$controllers"); do echo "controllers = https://c$k:8443"; done
		echo "ca = $site_file"
	} >>"$state/etc/wnodes/wnodes.conf"
	cluster_names "$state"
}

site_write_controller() {
	printf '%s\n' '[controller]' "names = $1" "depot = ${depot:-$state/depot}" "munge = $state/socket/munge" 'lost_after = 15s'
	[ -z "$database" ] || echo "database = $database"
}

# The first one makes the tables and the authority, for which the others would only wait.
site_start() {
	local k
	for k in $(seq "$controllers"); do
		keep_running "c$k" controller "$build/wnodes-controller"
		wait_until 20 site_answers "c$k" || return 1
	done
	on_host c1 "$build/wnodes" site ca >"$state/etc/wnodes/${site_file##*/}"
}

site_answers() {
	timeout 5 curl -sf --unix-socket "$state/controllers/$1/run/socket" http://controller/healthz >/dev/null 2>&1
}

# A token serves once. site_join NODE
site_join() {
	(umask 077 && on_host c1 "$build/wnodes" token create --join --expires 1h >"$state/token") || return 1
	on_host "$1" "$build/wnodes" node join --token-file "$state/token" --ca "$site_file" https://c1:8443 \
		>>"$state/log/start.log" 2>&1 || return 1
	rm -f "$state/token"
}

# All nodes are there, and have the site's catalogue of images.
site_is_up() {
	local k
	for k in $(seq "$nodes"); do
		on_host "$(node_name "$k")" timeout 5 "$build/wnodes" node show --json 2>/dev/null |
			jq -e '.site.failure == null and .images.catalogue != null' >/dev/null || return 1
	done
	[ "$(on_host c1 timeout 5 "$build/wnodes" node list --json 2>/dev/null | jq -s 'flatten | map(select(.state == "up")) | length')" \
		-eq "$nodes" ]
}

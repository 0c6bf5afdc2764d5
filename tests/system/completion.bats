# What an interactive bash makes of a line when Tab is pressed, with the real program and the images
# of the tests' store.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
	command -v python3 >/dev/null || skip "python3 is not installed"
}

# Prints what bash shows for "LINE<Tab>" (and a second Tab) on a terminal of its own.
tab() {
	"$WNODES" completion >script
	cat >rc <<-RC
		PS1='> '
		PATH=$(dirname "$WNODES"):\$PATH
		bind 'set bell-style none'
		bind 'set enable-bracketed-paste off'
		. "$WORK/script"
		echo ready
	RC
	python3 - "$1" <<-'PYTHON'
		import os, pty, select, sys, time

		pid, terminal = pty.fork()
		if pid == 0:
		    os.environ["TERM"] = "dumb"
		    os.execvp("bash", ["bash", "--noprofile", "--rcfile", "rc", "-i"])

		def read_until(quiet, wanted=b"", limit=30):
		    text, end = b"", time.monotonic() + limit
		    while time.monotonic() < end:
		        if select.select([terminal], [], [], quiet)[0]:
		            text += os.read(terminal, 65536)
		        elif wanted in text:
		            break
		    return text

		read_until(0.3, b"ready")
		os.write(terminal, sys.argv[1].encode() + b"\t")
		shown = read_until(1.5, sys.argv[1].encode())
		print(shown.decode().replace("\r", "").replace("\a", ""))
		os.kill(pid, 9)
		os.waitpid(pid, 0)
	PYTHON
}

@test "completion: verbs and options" {
	[ "$(tab 'wnodes image bu')" = 'wnodes image build ' ]
	[ "$(tab 'wnodes pool sh')" = 'wnodes pool show ' ]
	[ "$(tab 'wnodes config ed')" = 'wnodes config edit ' ]
	[ "$(tab 'wnodes image build ')" = 'wnodes image build debian ' ]
	[ "$(tab 'wnodes run --net')" = 'wnodes run --network ' ]
	[ "$(tab 'wnodes run --network=u')" = 'wnodes run --network=user ' ]
}

@test "completion: images of the store, with their tags" {
	[ "$(tab 'wnodes run --image deb')" = 'wnodes run --image debian:latest ' ]
	[ "$(tab 'wnodes run --image=debian:l')" = 'wnodes run --image=debian:latest ' ]
	[ "$(tab 'wnodes image show deb')" = 'wnodes image show debian:latest ' ]
}

@test "completion: jobs of the queue" {
	export XDG_CONFIG_HOME=$WORK/config
	mkdir -p "$XDG_CONFIG_HOME/wnodes"
	printf '[lrms]\ntype = local\n' >"$XDG_CONFIG_HOME/wnodes/wnodes.conf"
	"$WNODES" submit --no-vm --memory 1M -- sleep 30
	[ "$(tab 'wnodes cancel ')" = 'wnodes cancel 1 ' ]
	"$WNODES" cancel --signal KILL 1
	"$WNODES" wait 1 || true
}

@test "completion: directories, and the command behind the options" {
	mkdir "a directory"
	touch "a file"
	[ "$(tab 'wnodes run --mount a')" = 'wnodes run --mount a\ directory/' ]
	[ "$(tab 'wnodes run --image debian -- mkfif')" = 'wnodes run --image debian -- mkfifo ' ]
	[ "$(tab 'wnodes run cat a\ f')" = 'wnodes run cat a\ file ' ]
}

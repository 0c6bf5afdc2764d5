#include "hypervisor/volume_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/strv.h"

#define PORTS 1000

/* It gets the listening socket as programs of systemd do, by number 3 and its own pid, and the
 * volume as standard input. One connection at a time: the next one of a client that had lost its
 * network begins when all that came on the one before is done. */
#define SCRIPT \
	"exec 3<&1 1>&2; LISTEN_PID=$$ LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; exec \"$@\""

struct volume_server {
	struct volume_export export;
	sd_event_source *source;
	int pidfd;
	uint64_t port;
	char *directory; /* of its key */
	void (*gone)(struct volume_server *s, void *userdata);
	void *userdata;
};

const struct volume_export *volume_server_export(const struct volume_server *s)
{
	return &s->export;
}

uint64_t volume_server_port(const struct volume_server *s)
{
	return s->port;
}

static int open_socket(uint64_t port)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6,
		.sin6_addr = in6addr_any,
		.sin6_port = htons((uint16_t)port)};
	struct sockaddr_in old = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	autoclose int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool six = fd >= 0;
	int no = 0, yes = 1;

	if (!six)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (six)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	if (bind(fd, six ? (const struct sockaddr *)&address : (const struct sockaddr *)&old,
		    six ? sizeof(address) : sizeof(old)) < 0 ||
		listen(fd, 8) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* That which it had before, as clients try that again; else the next free one. */
static int find_port(struct volume_server *s, uint64_t first, struct error *err)
{
	int fd = s->export.port ? open_socket(s->export.port) : -EADDRINUSE;

	s->port = s->export.port;
	if (fd >= 0 || s->export.port)
		return fd >= 0 ? fd
			       : fail_errno(err, fd, "cannot serve at port %llu again",
					 (unsigned long long)s->port);
	for (s->port = first; fd == -EADDRINUSE && s->port < first + PORTS; s->port++)
		fd = open_socket(s->port);
	s->port--;
	return fd < 0 ? fail_errno(err, fd, "no port of %llu to %llu is free ([node] volume_port)",
				(unsigned long long)first, (unsigned long long)(first + PORTS - 1))
		      : fd;
}

/* Only its program can read the key. Returns a descriptor of the directory, or negative errno. */
static int write_key(struct volume_server *s, struct error *err)
{
	const struct volume_export *e = &s->export;
	char text[UUID_TEXT_SIZE + DIGEST_HEX_SIZE + 4];
	autoclose int directory = -1;
	int length = snprintf(text, sizeof(text), "%s:%s\n", e->id, e->key), r;

	mkdir(s->directory, 0711);
	directory = open(s->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	r = directory < 0 ? -errno
			  : file_replace(directory, "keys.psk", text, (size_t)length, 0600);
	if (r == 0 && geteuid() == 0 &&
		fchownat(directory, "keys.psk", e->owner.uid, e->owner.gid, 0) < 0)
		r = -errno;
	return r < 0 ? fail_errno(err, r, "cannot write a volume's key") : TAKE_FD(directory);
}

static int spawn(struct volume_server *s, int volume, int socket, int directory, struct error *err)
{
	const struct volume_export *e = &s->export;
	struct strv argv AUTO(strv_done) = {0};
	struct child_spec child = CHILD_SPEC_INIT;

	strv_add_all(&argv, "sh", "-c", SCRIPT, "sh", "qemu-nbd", "--persistent", "--shared=1",
		"--discard=unmap", "-x", e->id, "--tls-creds", "tls", "--object", NULL);
	strv_add_format(
		&argv, "tls-creds-psk,id=tls,endpoint=server,dir=/proc/self/fd/%d", directory);
	if (e->read_only)
		strv_add(&argv, "--read-only");
	strv_add_all(&argv, "--image-opts",
		"driver=raw,file.driver=file,file.filename=/proc/self/fd/0,file.locking=off", NULL);
	if (argv.failed)
		return fail(err, -ENOMEM, "out of memory");
	child.argv = (const char *const *)argv.items;
	child.stdin_fd = volume;
	child.stdout_fd = socket;
	child.keep = &directory;
	child.keep_count = 1;
	child.workdir = "/";
	child.new_session = true;
	child.no_new_privs = true;
	child.set_user = geteuid() == 0;
	child.uid = e->owner.uid;
	child.gid = e->owner.gid;
	return child_spawn(&child, NULL, &s->pidfd, err);
}

static int on_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct volume_server *s = userdata;

	log_warning("the server of a volume has ended by itself; it is started again");
	s->gone(s, s->userdata);
	return 0;
}

int volume_server_start(sd_event *event, const struct volume_export *export, int fd,
	const char *keys, uint64_t first_port,
	void (*gone)(struct volume_server *s, void *userdata), void *userdata,
	struct volume_server **ret, struct error *err)
{
	struct volume_server *s AUTO(volume_server_freep) = calloc(1, sizeof(*s));
	autoclose int volume = fd, socket = -1, directory = -1;
	int r;

	if (!s)
		return fail(err, -ENOMEM, "out of memory");
	*s = (struct volume_server){
		.export = *export, .pidfd = -1, .gone = gone, .userdata = userdata};
	s->directory = path_format("%s/%s", keys, export->id);
	socket = s->directory ? find_port(s, first_port, err) : fail(err, -ENOMEM, "out of memory");
	directory = socket < 0 ? socket : write_key(s, err);
	r = directory < 0 ? directory : spawn(s, volume, socket, directory, err);
	if (r < 0)
		return r;
	r = sd_event_add_io(event, &s->source, s->pidfd, EPOLLIN, on_end, s);
	if (r < 0)
		return fail_errno(err, r, "cannot watch the server of a volume");
	*ret = TAKE_PTR(s);
	return 0;
}

struct volume_server *volume_server_free(struct volume_server *s)
{
	if (!s)
		return NULL;
	sd_event_source_disable_unref(s->source);
	if (s->pidfd >= 0)
		child_kill(s->pidfd);
	base_close(s->pidfd);
	if (s->directory)
		file_remove_tree(AT_FDCWD, s->directory);
	free(s->directory);
	free(s);
	return NULL;
}

#include "storage/nfsd.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "lib/file.h"
#include "lib/path.h"

#define NFSD_FILES    "/proc/fs/nfsd"
#define NFSD_FILE_MAX 65536
#define NFSD_VERSION  "+4.2"
#define NFSD_LISTENER "tcp 2049"

static int nfsd_read(const char *name, char **ret, struct error *err)
{
	autofree char *path = path_format(NFSD_FILES "/%s", name);
	int r = path ? file_read(AT_FDCWD, path, NFSD_FILE_MAX, ret, NULL) : -ENOMEM;

	if (r == -ENOENT)
		return fail(err, r,
			"the node has no NFS server: '%s' is not there; ask the administrator to start "
			"it (package nfs-kernel-server or nfs-utils, service nfs-server)",
			path);
	return r < 0 ? fail_errno(err, r, "cannot read '%s'", path ? path : name) : 0;
}

/* Is `word` among those of `text`, or a line of it where `separators` are those of lines? */
static bool has_word(const char *text, const char *word, const char *separators)
{
	while (*text) {
		size_t n = strcspn(text, separators);

		if (n == strlen(word) && strncmp(text, word, n) == 0)
			return true;
		text += n;
		text += strspn(text, separators);
	}
	return false;
}

int nfsd_check_files(
	const char *threads, const char *versions, const char *ports, struct error *err)
{
	if (strtol(threads, NULL, 10) < 1)
		return fail(err, -ENOTCONN,
			"the node's NFS server does not run; ask the administrator to start it "
			"(service nfs-server)");
	if (!has_word(versions, NFSD_VERSION, " \n"))
		return fail(err, -EPROTONOSUPPORT,
			"the node's NFS server does not serve NFS 4.2; ask the administrator for "
			"vers4.2 in /etc/nfs.conf, [nfsd]");
	if (!has_word(ports, NFSD_LISTENER, "\n"))
		return fail(err, -EPROTONOSUPPORT,
			"the node's NFS server does not listen at TCP port %d; ask the administrator "
			"for it in /etc/nfs.conf, [nfsd]",
			NFSD_PORT);
	return 0;
}

int nfsd_check(struct error *err)
{
	autofree char *threads = NULL, *versions = NULL, *ports = NULL;
	int r = nfsd_read("threads", &threads, err);

	if (r == 0)
		r = nfsd_read("versions", &versions, err);
	if (r == 0)
		r = nfsd_read("portlist", &ports, err);
	return r < 0 ? r : nfsd_check_files(threads, versions, ports, err);
}

/* Of a client's file "info", which has a line `address: "10.7.0.10:1017"`. */
static bool is_client_of(const char *directory, const char *address)
{
	autofree char *path = path_format("%s/info", directory), *text = NULL;
	autofree char *wanted = path_format("address: \"%s:", address);

	return path && wanted && file_read(AT_FDCWD, path, NFSD_FILE_MAX, &text, NULL) == 0 &&
	       strstr(text, wanted);
}

static void expire(const char *directory)
{
	autofree char *path = path_format("%s/ctl", directory);
	autoclose int fd = path ? open(path, O_WRONLY | O_CLOEXEC) : -1;

	if (fd >= 0)
		file_write_all(fd, "expire\n", strlen("expire\n"));
}

void nfsd_expire(struct in_addr address)
{
	char text[INET_ADDRSTRLEN];
	DIR *dir = opendir(NFSD_FILES "/clients");
	const struct dirent *entry;

	inet_ntop(AF_INET, &address, text, sizeof(text));
	while (dir && (entry = readdir(dir))) {
		autofree char *path =
			entry->d_name[0] == '.'
				? NULL
				: path_format(NFSD_FILES "/clients/%s", entry->d_name);

		if (path && is_client_of(path, text))
			expire(path);
	}
	if (dir)
		closedir(dir);
}

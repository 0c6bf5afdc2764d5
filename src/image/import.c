#include "image/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "image/diskformat.h"
#include "image/download.h"
#include "image/ova.h"
#include "lib/child.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/strv.h"

/* qemu-img reads all tables of the image. */
#define IMPORT_CHECK_TIMEOUT_MS 600000

/* What a distribution with systemd and cloud-init needs to start. */
#define IMPORT_MIN_MEMORY_MIB 512

#define IMPORT_NAME_MAX 64

static const char *const name_suffixes[] = {
	".ova", ".qcow2", ".img", ".raw", ".qcow", ".disk", ".image", ".iso"};

char *import_name(const char *source)
{
	size_t end = download_is_url(source) ? strcspn(source, "?#") : strlen(source);
	autofree char *path = strndup(source, end);
	const char *slash = path ? strrchr(path, '/') : NULL;
	char *name = path ? strndup(slash ? slash + 1 : path, IMPORT_NAME_MAX) : NULL;

	if (!name)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(name_suffixes); i++) {
		size_t n = strlen(name), m = strlen(name_suffixes[i]);

		if (n > m && strcasecmp(name + n - m, name_suffixes[i]) == 0)
			name[n - m] = '\0';
	}
	for (char *p = name; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
		else if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789._-", *p))
			*p = '-';
	}
	if (!strchr("._-", name[0]))
		return name;
	free(name);
	return strdup("image");
}

static void import_step(const struct import_request *request, const char *what)
{
	if (request->on_step)
		request->on_step(what, request->userdata);
}

static int copy_file(const struct import_request *request, int to, struct error *err)
{
	autoclose int from = open(request->source, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int r;

	if (from < 0 || fstat(from, &st) < 0)
		return fail_errno(err, -errno, "cannot open '%s'", request->source);
	if (!S_ISREG(st.st_mode))
		return fail(err, -EINVAL, "'%s' is not a regular file", request->source);
	r = file_copy(from, to, request->on_bytes, request->userdata);
	return r < 0 ? fail_errno(err, r, "cannot copy '%s'", request->source) : 0;
}

static int fetch(const struct import_request *request, int to, struct error *err)
{
	if (!download_is_url(request->source)) {
		import_step(request, "copying");
		return copy_file(request, to, err);
	}
	if (!str_after(request->source, "http://") && !str_after(request->source, "https://"))
		return fail(err, -EINVAL, "'%s' is neither a file nor an http or https URL",
			request->source);
	import_step(request, "downloading");
	return download(
		request->source, to, request->max_bytes, request->on_bytes, request->userdata, err);
}

/* Our copy is what is looked at: nobody changes it any more. */
static int inspect(
	const struct import_request *request, int fd, struct manifest *m, struct error *err)
{
	autofree uint8_t *head = malloc(DISKFORMAT_HEAD_SIZE);
	const char *format;
	struct stat st;
	ssize_t n;
	int r;

	if (!head)
		return fail(err, -ENOMEM, "out of memory");
	n = pread(fd, head, DISKFORMAT_HEAD_SIZE, 0);
	if (n < 0 || fstat(fd, &st) < 0)
		return fail_errno(err, -errno, "cannot read the copy");
	r = diskformat_detect(head, (size_t)n, (uint64_t)st.st_size, &format, &m->disk_size, err);
	if (r < 0)
		return fail_within(err, "'%s' cannot be imported", request->source);
	if (request->format && !streq(request->format, format) && !streq(request->format, "ova"))
		return fail(err, -EINVAL, "'%s' is %s, not %s", request->source, format,
			request->format);
	m->format = strdup(format);
	return m->format ? 0 : fail(err, -ENOMEM, "out of memory");
}

static int check_qcow2(const char *path, struct error *err)
{
	const char *const argv[] = {"qemu-img", "check", "-q", "-f", "qcow2", "--", path, NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	int r;

	spec.argv = argv;
	r = child_run(&spec, IMPORT_CHECK_TIMEOUT_MS, err);
	if (r == -ENOENT)
		return fail(err, r, "qemu-img is not installed; apt-get install qemu-utils");
	if (r == -EIO)
		r = -EBADMSG;
	if (r < 0)
		fail_within(err, "the qcow2 image is damaged");
	return r;
}

static int describe(const struct import_request *request, struct manifest *m, struct error *err)
{
	m->architecture = strdup("x86_64");
	m->origin = manifest_clean_text(request->origin ? request->origin : request->source);
	m->os = request->os ? manifest_clean_text(request->os) : NULL;
	if (!m->architecture || !m->origin || (request->os && !m->os))
		return fail(err, -ENOMEM, "out of memory");
	m->boot = IMAGE_BOOT_DISK;
	m->agent = IMAGE_AGENT_SEED;
	m->created = (uint64_t)time(NULL);
	m->min_memory_mib = IMPORT_MIN_MEMORY_MIB;
	m->min_cpus = 1;
	m->part_count = 1;
	return 0;
}

/* What was downloaded has this SHA-256. */
static int check_sha256(const struct import_request *request, const char *digest, struct error *err)
{
	if (request->sha256 && strcasecmp(request->sha256, digest) != 0)
		return fail(err, -EBADMSG, "'%s' has the SHA-256 %s, not %s; download it again",
			request->source, digest, request->sha256);
	return 0;
}

/* The disk of an archive, in the archive's place. */
static int unpack(struct store *s, const struct import_request *request,
	struct store_upload **upload, struct error *err)
{
	struct store_upload *disk AUTO(store_upload_freep) = NULL;
	char digest[DIGEST_HEX_SIZE];
	int r = digest_file(store_upload_fd(*upload), digest);

	r = r < 0 ? fail_errno(err, r, "cannot read the copy") : check_sha256(request, digest, err);
	if (r >= 0)
		r = store_upload_open(s, &disk, err);
	if (r < 0)
		return r;
	import_step(request, "converting");
	r = ova_convert(
		store_upload_fd(*upload), store_upload_path(*upload), store_upload_path(disk), err);
	if (r < 0)
		return fail_within(err, "'%s' cannot be imported", request->source);
	store_upload_free(*upload);
	*upload = TAKE_PTR(disk);
	return 0;
}

static int fetch_disk(struct store *s, const struct import_request *request,
	struct store_upload **upload, bool *ret_unpacked, struct error *err)
{
	bool wanted = request->format && streq(request->format, "ova");
	int r = store_upload_open(s, upload, err);

	if (r >= 0)
		r = fetch(request, store_upload_fd(*upload), err);
	if (r < 0)
		return r;
	*ret_unpacked = (!request->format || wanted) && ova_is_archive(store_upload_fd(*upload));
	if (wanted && !*ret_unpacked)
		return fail(err, -EINVAL, "'%s' is no OVA archive", request->source);
	return *ret_unpacked ? unpack(s, request, upload, err) : 0;
}

static int add_disk(struct store *s, const struct import_request *request, struct manifest *m,
	struct error *err)
{
	struct store_upload *upload AUTO(store_upload_freep) = NULL;
	bool unpacked = false;
	int r = fetch_disk(s, request, &upload, &unpacked, err);

	if (r < 0)
		return r;
	import_step(request, "checking");
	r = inspect(request, store_upload_fd(upload), m, err);
	if (r >= 0 && streq(m->format, "qcow2"))
		r = check_qcow2(store_upload_path(upload), err);
	m->parts[0].kind = IMAGE_DISK;
	if (r >= 0)
		r = store_upload_commit(upload, &m->parts[0], err);
	if (r >= 0 && !unpacked)
		r = check_sha256(request, m->parts[0].digest, err);
	return r;
}

/* The image that the reference stands for so far, or NULL. */
static struct image *find_replaced(struct store *s, const char *name, const char *tag)
{
	autofree char *reference = path_format("%s:%s", name, tag);
	struct image *old = NULL;

	return reference && store_find(s, reference, &old, NULL) == 0 ? old : NULL;
}

static int import_as(struct store *s, const struct import_request *request, const char *name,
	const char *tag, struct image **ret, struct error *err)
{
	struct image *image AUTO(image_freep) = calloc(1, sizeof(*image));
	struct image *old AUTO(image_freep) = NULL;
	int r;

	if (!image)
		return fail(err, -ENOMEM, "out of memory");
	image->name = strdup(name);
	image->tag = strdup(tag);
	image->manifest = calloc(1, sizeof(*image->manifest));
	if (!image->name || !image->tag || !image->manifest)
		return fail(err, -ENOMEM, "out of memory");
	r = add_disk(s, request, image->manifest, err);
	if (r >= 0)
		r = describe(request, image->manifest, err);
	if (r >= 0)
		old = find_replaced(s, name, tag);
	if (r >= 0)
		r = store_add(s, image->manifest, name, tag, image->digest, err);
	if (r >= 0 && old && !streq(old->digest, image->digest))
		log_warning("%s:%s was the image %.12s until now", name, tag, old->digest);
	if (r >= 0)
		*ret = TAKE_PTR(image);
	return r;
}

int import_image(struct store *s, const struct import_request *request, struct image **ret,
	struct error *err)
{
	autofree char *made = request->name ? strdup(request->name) : import_name(request->source);
	autofree char *reference = path_format(
		"%s:%s", made ? made : "", request->tag ? request->tag : STORE_TAG_DEFAULT);
	autofree char *name = NULL, *tag = NULL;
	int r;

	if (!made || !reference)
		return fail(err, -ENOMEM, "out of memory");
	r = store_parse_reference(reference, &name, &tag, err);
	if (r >= 0 && request->sha256 &&
		(strlen(request->sha256) != DIGEST_HEX_SIZE - 1 ||
			strspn(request->sha256, "0123456789abcdefABCDEF") != DIGEST_HEX_SIZE - 1))
		r = fail(err, -EINVAL, "'%.80s' is not a SHA-256 in 64 hexadecimal digits",
			request->sha256);
	return r < 0 ? r : import_as(s, request, name, tag, ret, err);
}

int import_set_probe(struct store *s, const struct image *image, const char *const *gateways,
	const char *os, const char *agent_version, char ret_digest[DIGEST_HEX_SIZE],
	struct error *err)
{
	struct manifest changed = *image->manifest;
	autofree char *clean_os = os ? manifest_clean_text(os) : NULL;
	autofree char *clean_version = agent_version ? manifest_clean_text(agent_version) : NULL;
	struct strv names AUTO(strv_done) = {0};

	for (size_t i = 0; gateways[i] && i < MANIFEST_LIST_MAX; i++)
		if (manifest_gateway_is_valid(gateways[i]))
			strv_add(&names, gateways[i]);
	if (names.count == 0)
		names.items = calloc(1, sizeof(char *));
	if (names.failed || !names.items || (os && !clean_os))
		return fail(err, -ENOMEM, "out of memory");
	changed.gateways = names.items;
	changed.os = clean_os ? clean_os : image->manifest->os;
	changed.agent_version = clean_version;
	return store_add(s, &changed, image->name, image->tag, ret_digest, err);
}

/* wnodes imagelist publish: a directory for a web server, with images and the signed list of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/image_progress.h"
#include "cli/imagelist.h"
#include "image/locate.h"
#include "imagelist/list.h"
#include "imagelist/smime.h"
#include "imagelist/version.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/timestamp.h"
#include "lib/uuid.h"

/* The list with its signature, and the same without: for people, and for the next time. */
#define LIST_FILE  "image.list"
#define PLAIN_FILE "image.json"

#define SECOND_US         UINT64_C(1000000)
#define HOUR_US           (3600 * SECOND_US)
#define DEFAULT_EXPIRY_US (30 * 24 * HOUR_US)
#define LONGEST_EXPIRY_US (3660 * 24 * HOUR_US)

#define VERSION_SIZE 32
#define DIGEST_PART  12 /* of the content's digest in the name of an image's file */

struct publish_options {
	const char *certificate, *key, *url, *title, *description, *identifier, *email;
	uint64_t expires_us;
	bool json, verbose;
};

static const struct verb_option publish_rows[] = {
	{"certificate", 'c', OPTION_STRING, offsetof(struct publish_options, certificate), "FILE",
		.help = "Certificate of the endorser in PEM; those of authorities behind it are "
			"sent along",
		.complete = "file"},
	{"key", 'k', OPTION_STRING, offsetof(struct publish_options, key), "FILE",
		.help = "Its private key in PEM; a passphrase is asked for", .complete = "file"},
	{"url", 'u', OPTION_STRING, offsetof(struct publish_options, url), "URL",
		.help = "Address under which the directory is served"},
	{"title", 0, OPTION_STRING, offsetof(struct publish_options, title), "TEXT",
		.help = "Title of the list; by default that of the one before"},
	{"description", 0, OPTION_STRING, offsetof(struct publish_options, description), "TEXT",
		.help = "What the list is for; by default as the one before"},
	{"expires", 0, OPTION_DURATION, offsetof(struct publish_options, expires_us), "DURATION",
		.help = "For how long the list holds; 720h by default", .min = HOUR_US,
		.max = LONGEST_EXPIRY_US},
	{"identifier", 0, OPTION_STRING, offsetof(struct publish_options, identifier), "ID",
		.help = "Identifier of a first list; a new UUID by default. Later ones keep it"},
	{"email", 0, OPTION_STRING, offsetof(struct publish_options, email), "ADDRESS",
		.help = "Of the endorser; by default what the certificate says"},
	{"json", 0, OPTION_FLAG, offsetof(struct publish_options, json), .help = "Prints JSON"},
	{"verbose", 0, OPTION_FLAG, offsetof(struct publish_options, verbose),
		.help = "Says what is done"},
	{.name = NULL},
};

struct publisher {
	const struct publish_options *options;
	const char *directory;
	int dir_fd; /* and the lock: one publishes at a time */
	uint64_t now_us;
	struct smime_identity *identity;
	struct imagelist *previous; /* NULL: this is the first */
	struct imagelist *list;
};

static void publisher_done(struct publisher *p)
{
	base_close(p->dir_fd);
	smime_identity_free(p->identity);
	imagelist_free(p->previous);
	imagelist_free(p->list);
}

static const char *missing_option(const struct publish_options *o)
{
	return !o->certificate ? "--certificate, the endorser's"
	       : !o->key       ? "--key, that of the certificate"
	       : !o->url       ? "--url, where the directory is served"
			       : NULL;
}

static int open_directory(struct publisher *p, struct error *err)
{
	int r = file_make_dirs(p->directory, 0755);

	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", p->directory);
	p->dir_fd = open(p->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = p->dir_fd < 0 ? -errno : file_lock(p->dir_fd, true, true);
	return r < 0 ? fail_errno(err, r, "cannot open '%s'", p->directory) : 0;
}

static int load_previous(struct publisher *p, struct error *err)
{
	autofree char *json = NULL;
	size_t length;
	int r = file_read(p->dir_fd, PLAIN_FILE, IMAGELIST_BYTES_MAX, &json, &length);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return fail_errno(err, r, "cannot read '%s/" PLAIN_FILE "'", p->directory);
	if (imagelist_parse(json, length, &p->previous, err) < 0)
		return fail_within(err, "'%s/" PLAIN_FILE "', the list before", p->directory);
	if (p->options->identifier && !streq(p->options->identifier, p->previous->identifier))
		return fail(err, -EINVAL,
			"'%s' has the list '%s'; another list needs another directory",
			p->directory, p->previous->identifier);
	return 0;
}

static void format_moment(uint64_t seconds, char ret[VERSION_SIZE])
{
	time_t at = (time_t)seconds;
	struct tm tm;

	gmtime_r(&at, &tm);
	strftime(ret, VERSION_SIZE, "%Y%m%d%H%M%S", &tm);
}

/* The time, or where that is not later than the version before, one more than that. */
static int make_version(const struct publisher *p, char **ret, struct error *err)
{
	const char *before = p->previous ? p->previous->version : NULL;
	char version[VERSION_SIZE];

	format_moment(p->now_us / SECOND_US, version);
	if (before && version_compare(version, before) <= 0) {
		unsigned long long number = strtoull(before, NULL, 10);

		snprintf(version, sizeof(version), "%llu", number + 1);
		if (version_compare(version, before) <= 0)
			return fail(err, -EINVAL,
				"no version is known that follows '%s', the one before", before);
	}
	*ret = strdup(version);
	return *ret ? 0 : fail(err, -ENOMEM, "out of memory");
}

static char *copy_or(const char *text, const char *otherwise)
{
	return strdup(text ? text : otherwise);
}

static int fill_endorser(struct publisher *p, struct error *err)
{
	struct imagelist_endorser *e = &p->list->endorser;
	const struct smime_signer *names = smime_identity_names(p->identity);
	const char *email =
		p->options->email ? p->options->email : smime_identity_email(p->identity);

	if (!email)
		return fail(err, -EINVAL,
			"the certificate has no email address, which a list needs: --email");
	e->creator = copy_or(smime_identity_common_name(p->identity), names->subject);
	e->dn = strdup(names->subject);
	e->ca = strdup(names->issuer);
	e->email = strdup(email);
	return e->creator && e->dn && e->ca && e->email ? 0 : fail(err, -ENOMEM, "out of memory");
}

static int fill_list(struct publisher *p, struct error *err)
{
	const struct publish_options *o = p->options;
	const struct imagelist *before = p->previous;
	struct imagelist *list = p->list;
	uint64_t now_s = p->now_us / SECOND_US;
	char id[UUID_TEXT_SIZE] = "";
	int r = make_version(p, &list->version, err);

	if (r == 0)
		r = fill_endorser(p, err);
	if (r < 0)
		return r;
	if (!before && !o->identifier && uuid_new(id) < 0)
		return fail(err, -EIO, "cannot make an identifier");
	list->identifier = strdup(before ? before->identifier : o->identifier ? o->identifier : id);
	list->title = copy_or(o->title, before ? before->title : "Images");
	list->description = copy_or(o->description, before ? before->description : "");
	list->source = strdup(o->url);
	list->uri = path_format("%s/" LIST_FILE, o->url);
	list->created_us = now_s * SECOND_US;
	list->expires_us =
		list->created_us +
		(o->expires_us > 0 ? o->expires_us / SECOND_US * SECOND_US : DEFAULT_EXPIRY_US);
	if (!list->identifier || !list->title || !list->description || !list->source || !list->uri)
		return fail(err, -ENOMEM, "out of memory");
	return 0;
}

/* The identifier that this image had in the list before, else a new one; for free(). */
static char *make_identifier(const struct publisher *p, const char *title)
{
	char id[UUID_TEXT_SIZE];

	for (size_t i = 0; p->previous && i < p->previous->image_count; i++)
		if (streq(p->previous->images[i].title, title))
			return strdup(p->previous->images[i].identifier);
	return uuid_new(id) < 0 ? NULL : strdup(id);
}

/* Is this very file there already? */
static bool is_published(const struct publisher *p, const char *file, const char *sha512)
{
	autoclose int fd = openat(p->dir_fd, file, O_RDONLY | O_CLOEXEC);
	char there[DIGEST_SHA512_HEX_SIZE];

	return fd >= 0 && digest_file_sha512(fd, there) == 0 && streq(there, sha512);
}

static int copy_file(const struct publisher *p, int disk, const char *file, struct error *err)
{
	autofree char *temporary = path_format("%s.new", file);
	autoclose int fd = -1;
	int r;

	if (!temporary)
		return fail(err, -ENOMEM, "out of memory");
	fd = openat(p->dir_fd, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail_errno(err, -errno, "cannot write '%s/%s'", p->directory, temporary);
	image_progress_step("copying", NULL);
	r = file_copy(disk, fd, image_progress_bytes, NULL);
	if (r == 0 && (fsync(fd) < 0 || renameat(p->dir_fd, temporary, p->dir_fd, file) < 0))
		r = -errno;
	if (r == 0)
		return 0;
	unlinkat(p->dir_fd, temporary, 0);
	return fail_errno(err, r, "cannot write '%s/%s'", p->directory, file);
}

/* "Debian GNU/Linux 12 (bookworm)" has the version 12. */
static char *os_version(const char *os)
{
	const char *digits = os + strcspn(os, "0123456789");

	return *digits ? strndup(digits, strspn(digits, "0123456789.")) : strdup("unknown");
}

static int describe(const struct publisher *p, const struct image *found, const char *file,
	const char *sha512, struct imagelist_image *image, struct error *err)
{
	const struct manifest *m = found->manifest;
	const char *os = m->os ? m->os : "unknown";
	bool latest = streq(found->tag, STORE_TAG_DEFAULT);
	char version[VERSION_SIZE];

	format_moment(m->created, version);
	image->title =
		path_format("%s%s%s", found->name, latest ? "" : ":", latest ? "" : found->tag);
	image->identifier = image->title ? make_identifier(p, image->title) : NULL;
	image->description = strdup(os);
	image->comments = strdup("");
	image->architecture = strdup(m->architecture);
	image->os = strdup("Linux");
	image->os_name = strdup(os);
	image->os_version = os_version(os);
	image->hypervisor = strdup("QEMU,KVM");
	image->format = strdup(streq(m->format, "raw") ? "RAW" : "QCOW2");
	image->version = strdup(version);
	image->uri = path_format("%s/%s", p->options->url, file);
	image->sha512 = strdup(sha512);
	image->size = manifest_part(m, IMAGE_DISK)->size;
	image->min_memory_mib = m->min_memory_mib;
	image->min_cpus = m->min_cpus;
	if (!image->title || !image->identifier || !image->description || !image->comments ||
		!image->architecture || !image->os || !image->os_name || !image->os_version ||
		!image->hypervisor || !image->format || !image->version || !image->uri ||
		!image->sha512)
		return fail(err, -ENOMEM, "out of memory");
	return 0;
}

static int check_image(const struct publisher *p, const struct image *found, struct error *err)
{
	if (!found->name)
		return fail(
			err, -EINVAL, "'%.12s' is a digest; give the image's name", found->digest);
	if (found->manifest->boot != IMAGE_BOOT_DISK)
		return fail(err, -EINVAL,
			"'%s:%s' starts from a kernel and an initrd of its own, which a list cannot "
			"tell of; only images that start from their disk can be in one",
			found->name, found->tag);
	return 0;
}

static int add_image(struct publisher *p, const char *reference, struct error *err)
{
	struct store *store AUTO(store_freep) = NULL;
	struct image *found AUTO(image_freep) = NULL;
	const struct image_part *disk;
	struct imagelist_image *image;
	char sha512[DIGEST_SHA512_HEX_SIZE];
	autofree char *file = NULL;
	autoclose int fd = -1;
	int r = locate_image(reference, &store, &found, err);

	if (r == 0)
		r = check_image(p, found, err);
	if (r < 0)
		return r;
	disk = manifest_part(found->manifest, IMAGE_DISK);
	file = path_format("%s-%s-%.*s.%s", found->name, found->tag, DIGEST_PART, disk->digest,
		found->manifest->format);
	fd = store_open_part(store, disk, err);
	if (fd < 0)
		return fd;
	image_progress_step("hashing", NULL);
	r = file ? digest_file_sha512(fd, sha512) : -ENOMEM;
	if (r < 0)
		return fail_errno(err, r, "cannot read the image '%s'", reference);
	if (!is_published(p, file, sha512))
		r = copy_file(p, fd, file, err);
	image = r == 0 ? imagelist_add(p->list) : NULL;
	if (r == 0 && !image)
		r = fail(err, -ENOMEM, "out of memory");
	return r < 0 ? r : describe(p, found, file, sha512, image, err);
}

static int write_file(const struct publisher *p, const char *file, const void *data, size_t length,
	struct error *err)
{
	int r = file_replace(p->dir_fd, file, data, length, 0644);

	return r < 0 ? fail_errno(err, r, "cannot write '%s/%s'", p->directory, file) : 0;
}

/* Without a signature first: a version that is told there is never given again. */
static int write_list(const struct publisher *p, struct error *err)
{
	autofree char *json = imagelist_format(p->list);
	struct imagelist *again AUTO(imagelist_freep) = NULL;
	struct buffer message AUTO(buffer_done) = {0};
	int r;

	if (!json)
		return fail(err, -ENOMEM, "out of memory");
	/* What nobody could read is not signed. */
	r = imagelist_parse(json, strlen(json), &again, err);
	if (r == 0 && again->warnings.count > 0)
		r = fail(err, -EINVAL, "%s", again->warnings.items[0]);
	if (r == 0)
		r = smime_sign(p->identity, json, strlen(json), &message, err);
	if (r == 0)
		r = write_file(p, PLAIN_FILE, json, strlen(json), err);
	if (r == 0)
		r = write_file(p, LIST_FILE, buffer_head(&message), message.len, err);
	return r;
}

static int publish(struct publisher *p, int count, const char *const *references, struct error *err)
{
	const struct publish_options *o = p->options;
	int r = smime_identity_open(o->certificate, o->key, &p->identity, err);

	if (r == 0)
		r = open_directory(p, err);
	if (r == 0)
		r = load_previous(p, err);
	p->list = calloc(1, sizeof(*p->list));
	if (r == 0)
		r = p->list ? fill_list(p, err) : fail(err, -ENOMEM, "out of memory");
	for (int i = 0; i < count && r == 0; i++)
		r = add_image(p, references[i], err);
	return r < 0 ? r : write_list(p, err);
}

static void print_published(const struct publisher *p)
{
	json_t *images = json_array(), *answer;

	if (!p->options->json) {
		printf("%s/" LIST_FILE " version %s, %zu images\n", p->directory, p->list->version,
			p->list->image_count);
		json_decref(images);
		return;
	}
	for (size_t i = 0; i < p->list->image_count; i++) {
		const struct imagelist_image *image = &p->list->images[i];

		json_array_append_new(
			images, json_pack("{s:s, s:s, s:s, s:s, s:I}", "identifier",
					image->identifier, "title", image->title, "uri", image->uri,
					"sha512", image->sha512, "size", (json_int_t)image->size));
	}
	answer = json_pack("{s:o, s:s, s:s, s:o}", "file",
		json_sprintf("%s/" LIST_FILE, p->directory), "identifier", p->list->identifier,
		"version", p->list->version, "images", images);
	json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(answer);
}

static int run_publish(const void *options, int arg_count, const char *const *args)
{
	const struct publish_options *o = options;
	struct publisher p AUTO(publisher_done) = {
		.options = o, .directory = args[0], .dir_fd = -1, .now_us = timestamp_now_us()};
	const char *missing = missing_option(o);
	struct error err = {0};
	int r;

	if (missing) {
		log_error("a list needs %s", missing);
		return EXIT_WNODES;
	}
	image_progress_start(o->verbose);
	r = publish(&p, arg_count - 1, args + 1, &err);
	image_progress_stop();
	if (r < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	print_published(&p);
	return EXIT_SUCCESS;
}

const struct verb verb_imagelist_publish = {
	.name = "imagelist publish",
	.synopsis = "[options] DIRECTORY NAME[:TAG]...",
	.summary = "Publish images as a signed list",
	.about =
		"Writes the images and a list of them, of the HEPiX format, into a directory, for any "
		"web server to serve: " LIST_FILE " is the list with its signature, " PLAIN_FILE
		" the same without. Whoever subscribes to URL/" LIST_FILE
		" and trusts the endorser's certificate gets the images.\n"
		"\n"
		"The list is of the images that are named, and of no others: one that is left out is "
		"endorsed no more. Each list has a higher version than the one before, and an "
		"identifier that stays, for the list as for each image of a name. A list that "
		"expires takes its images with it, so publish it again in time, also when nothing "
		"has changed.\n"
		"\n"
		"Only images that start from their own disk can be in a list, not those of wnodes "
		"image build, whose kernel is beside the disk.",
	.examples = "wnodes imagelist publish /srv/www/images el9 debian-cloud:2026-11 \\\n"
		    "    --url https://images.example.org --title 'Images of Example' \\\n"
		    "    --certificate usercert.pem --key userkey.pem\n",
	.options = publish_rows,
	.options_size = sizeof(struct publish_options),
	.min_args = 2,
	.max_args = -1,
	.args_complete = "image",
	.run = run_publish,
};

/* wnodes imagelist subscribe and unsubscribe. */
#include <errno.h>

#include "cli/imagelist.h"
#include "cli/imagelist_site.h"
#include "cli/imagelist_store.h"
#include "image/download.h"
#include "image/locate.h"
#include "imagelist/smime.h"
#include "lib/log.h"
#include "lib/path.h"

#define DEFAULT_CA "/etc/grid-security/certificates"

struct subscribe_options {
	const char *ca, *identifier, *tag;
	struct verb_list endorsers, issuers, certificates, images;
	bool no_crl, replace, site;
};

static const struct verb_option subscribe_rows[] = {
	{"endorser", 'e', OPTION_LIST, offsetof(struct subscribe_options, endorsers), "DN",
		.help = "Subject of the certificate of who may sign the list, as "
			"/DC=org/DC=example/CN=Alice; may be repeated, each with its --issuer"},
	{"issuer", 0, OPTION_LIST, offsetof(struct subscribe_options, issuers), "DN",
		.help = "Name of the authority that has issued that certificate"},
	{"endorser-certificate", 0, OPTION_LIST, offsetof(struct subscribe_options, certificates),
		"FILE", .help = "Takes both names from a certificate in PEM; may be repeated",
		.complete = "file"},
	{"ca", 0, OPTION_STRING, offsetof(struct subscribe_options, ca), "DIR|FILE",
		.help = "Authorities and their lists of revoked certificates: a directory as IGTF "
			"has it, or a file in PEM; " DEFAULT_CA " by default",
		.complete = "file"},
	{"no-crl", 0, OPTION_FLAG, offsetof(struct subscribe_options, no_crl),
		.help = "Does without lists of revoked certificates, for an authority that has "
			"none"},
	{"identifier", 0, OPTION_STRING, offsetof(struct subscribe_options, identifier), "ID",
		.help = "The list's dc:identifier; by default that of the first list that comes"},
	{"image", 'i', OPTION_LIST, offsetof(struct subscribe_options, images), "ID[=NAME[:TAG]]",
		.help = "Takes this image (its dc:identifier) and, of all images, only those that "
			"are named so; with NAME under that name"},
	{"tag", 't', OPTION_STRING, offsetof(struct subscribe_options, tag), "TAG",
		.help = "Tag that images get; latest by default"},
	{"site", 's', OPTION_FLAG, offsetof(struct subscribe_options, site),
		.help = "Updates publish the images at the site, as endorsed; for endorsers of "
			"the site"},
	{"replace", 0, OPTION_FLAG, offsetof(struct subscribe_options, replace),
		.help = "Changes a subscription that there is: what is given here is all that "
			"holds then. Which version was taken last is not forgotten"},
	{.name = NULL},
};

static int add_endorsers(
	const struct subscribe_options *o, struct subscription *s, struct error *err)
{
	int r = 0;

	if (o->endorsers.count != o->issuers.count)
		return fail(err, -EINVAL,
			"each --endorser needs an --issuer: who has issued the certificate");
	for (size_t i = 0; i < o->endorsers.count && r == 0; i++)
		r = subscription_add_endorser(s, o->endorsers.items[i], o->issuers.items[i]);
	for (size_t i = 0; i < o->certificates.count && r == 0; i++) {
		struct smime_signer names AUTO(smime_signer_done) = {0};

		r = smime_read_names(o->certificates.items[i], &names, err);
		if (r < 0)
			return r;
		r = subscription_add_endorser(s, names.subject, names.issuer);
	}
	if (r == 0 && s->endorser_count == 0)
		return fail(err, -EINVAL,
			"write whose signature is trusted: --endorser and --issuer, or "
			"--endorser-certificate");
	return r < 0 ? fail(err, r, "out of memory") : 0;
}

/* "ID", "ID=NAME" or "ID=NAME:TAG". */
static int add_choice(
	const char *text, const char *default_tag, struct subscription *s, struct error *err)
{
	const char *equals = strchr(text, '=');
	autofree char *identifier = strndup(text, equals ? (size_t)(equals - text) : strlen(text));
	autofree char *name = NULL, *tag = NULL, *reference = NULL, *whole = NULL;
	int r = 0;

	if (equals) {
		whole = strchr(equals, ':') ? strdup(equals + 1)
					    : path_format("%s:%s", equals + 1, default_tag);
		r = whole ? store_parse_reference(whole, &name, &tag, err) : -ENOMEM;
		reference = r == 0 ? path_format("%s:%s", name, tag) : NULL;
	}
	if (r == -EINVAL)
		return r;
	if (r < 0 || !identifier || (equals && !reference) ||
		subscription_add_choice(s, identifier, reference) < 0)
		return fail(err, -ENOMEM, "out of memory");
	return 0;
}

static int fill(const struct subscribe_options *o, const char *name, const char *source,
	struct subscription *s, struct error *err)
{
	autofree char *check = path_format("x:%s", o->tag ? o->tag : STORE_TAG_DEFAULT);
	autofree char *image_name = NULL, *tag = NULL;
	int r = check ? store_parse_reference(check, &image_name, &tag, err) : -ENOMEM;

	if (r < 0)
		return r;
	s->name = strdup(name);
	s->source = download_is_url(source) ? strdup(source) : path_absolute(source);
	s->ca = path_absolute(o->ca ? o->ca : DEFAULT_CA);
	s->no_crl = o->no_crl ? strdup("yes") : NULL;
	s->site = o->site ? strdup("yes") : NULL;
	s->tag = TAKE_PTR(tag);
	s->identifier = o->identifier ? strdup(o->identifier) : NULL;
	if (!s->name || !s->source || !s->ca || !s->tag)
		return fail(err, -ENOMEM, "out of memory");
	if (access(s->ca, R_OK) < 0)
		return fail_errno(err, -errno,
			"the authorities' certificates, '%s' (--ca), cannot be read", s->ca);
	r = add_endorsers(o, s, err);
	for (size_t i = 0; i < o->images.count && r == 0; i++)
		r = add_choice(o->images.items[i], s->tag, s, err);
	return r;
}

#define SWAP(a, b)                         \
	do {                               \
		__typeof__(a) swap_ = (a); \
		(a) = (b);                 \
		(b) = swap_;               \
	} while (0)

/* What the old one knows of lists and images stays true. */
static void inherit(struct subscription *s, struct subscription *old)
{
	if (!s->identifier)
		SWAP(s->identifier, old->identifier);
	SWAP(s->version, old->version);
	SWAP(s->title, old->title);
	SWAP(s->signer_dn, old->signer_dn);
	SWAP(s->signer_ca, old->signer_ca);
	SWAP(s->images, old->images);
	SWAP(s->image_count, old->image_count);
	s->created_us = old->created_us;
	s->expires_us = old->expires_us;
	s->updated_us = old->updated_us;
}

static int subscribe(
	const struct subscribe_options *o, const char *name, const char *source, struct error *err)
{
	struct subscription *s AUTO(subscription_freep) = calloc(1, sizeof(*s));
	struct subscription *old AUTO(subscription_freep) = NULL;
	autofree char *directory = subscription_directory();
	autoclose int lock = -1;
	int r = s && directory ? subscription_check_name(name, err) : -ENOMEM;

	if (r == 0)
		r = fill(o, name, source, s, err);
	if (r < 0)
		return r;
	lock = subscription_lock(directory, name, true, NULL, err);
	if (lock < 0)
		return lock;
	r = subscription_load(directory, name, &old, err);
	if (r == 0 && !o->replace)
		return fail(err, -EEXIST,
			"there is a subscription '%s'; --replace changes it, and wnodes imagelist "
			"unsubscribe removes it",
			name);
	if (r < 0 && r != -ENOENT)
		return r;
	if (old && s->identifier && old->identifier && !streq(s->identifier, old->identifier))
		return fail(err, -EINVAL,
			"the subscription '%s' is to the list '%s'; another list needs another "
			"subscription",
			name, old->identifier);
	if (old)
		inherit(s, old);
	return subscription_save(directory, s, err);
}

static int run_subscribe(const void *options, int arg_count, const char *const *args)
{
	struct error err = {0};

	if (subscribe(options, args[0], args[1], &err) < 0) {
		log_error("%s", err.text[0] ? err.text : "out of memory");
		return EXIT_WNODES;
	}
	log_notice("subscribed; wnodes imagelist update %s brings its images", args[0]);
	return EXIT_SUCCESS;
}

struct unsubscribe_options {
	bool keep_images;
};

static const struct verb_option unsubscribe_rows[] = {
	{"keep-images", 0, OPTION_FLAG, offsetof(struct unsubscribe_options, keep_images),
		.help = "Leaves the images their names; nobody takes them back any more"},
	{.name = NULL},
};

static int drop_image(
	const struct imagelist_store *store, struct subscription_image *image, struct error *err)
{
	int r = image->gone ? 0 : imagelist_store_drop(store, image, err);

	if (r == 0 && !image->gone)
		image->gone = strdup("the site has ended its subscription to the list");
	return r;
}

static int drop_images(const char *directory, struct subscription *s, struct error *err)
{
	struct imagelist_store store = {0};
	json_t *told = json_array();
	int r = locate_own_store(&store.store, err);

	for (size_t i = 0; i < s->image_count && r == 0; i++)
		r = drop_image(&store, &s->images[i], err);
	if (r == 0 && s->site)
		r = imagelist_site_tell(directory, s, store.store, told, err);
	json_decref(told);
	store_free(store.store);
	return r;
}

static void say_wait(void)
{
	log_notice("the subscription is being updated; waiting for that");
}

static int unsubscribe(bool keep_images, const char *name, struct error *err)
{
	struct subscription *s AUTO(subscription_freep) = NULL;
	autofree char *directory = subscription_directory();
	autoclose int lock = -1;
	int r;

	if (!directory)
		return fail(err, -ENOMEM, "out of memory");
	lock = subscription_lock(directory, name, false, say_wait, err);
	if (lock < 0)
		return lock;
	r = subscription_load(directory, name, &s, err);
	if (r == 0 && !keep_images)
		r = drop_images(directory, s, err);
	return r < 0 ? r : subscription_remove(directory, name, err);
}

static int run_unsubscribe(const void *options, int arg_count, const char *const *args)
{
	const struct unsubscribe_options *o = options;
	struct error err = {0};

	if (unsubscribe(o->keep_images, args[0], &err) == 0)
		return EXIT_SUCCESS;
	log_error("%s", err.text);
	return EXIT_WNODES;
}

const struct verb verb_imagelist_subscribe = {
	.name = "imagelist subscribe",
	.synopsis = "[options] NAME URL|FILE",
	.summary = "Follow a signed list of images",
	.about =
		"Notes that images of this list, of the HEPiX format that sites and EGI's AppDB "
		"exchange, are wanted, and whose signature on it is trusted. Nothing is fetched yet: "
		"wnodes imagelist update does.\n"
		"\n"
		"A signature counts if the certificate of who made it was issued by one of the "
		"authorities, has not been revoked, and is one of the endorsers: both its own name "
		"and that of its authority. Each authority needs a list of revoked certificates that "
		"has not expired, as fetch-crl keeps them.\n"
		"\n"
		"Images get names of the subscription's name and their title, as "
		"egi-ubuntu-24.04:latest, if --image names no other. A URL may have a name and a "
		"password in it, https://TOKEN:x-oauth-basic@HOST/..., which are not shown again. "
		"Subscriptions are a user's own, as images are; root's are the machine's.",
	.examples = "wnodes imagelist subscribe egi https://appdb.example.org/image.list \\\n"
		    "    --endorser '/DC=org/DC=example/CN=Alice' \\\n"
		    "    --issuer '/DC=org/DC=example/CN=Example CA'\n"
		    "# Of another site with its own authority; one image, under a name of our own\n"
		    "wnodes imagelist subscribe other /srv/lists/other.list --ca other-ca.pem \\\n"
		    "    --endorser-certificate bob.pem --image c0482bc2-bf41-5d49-a750=el9\n",
	.options = subscribe_rows,
	.options_size = sizeof(struct subscribe_options),
	.min_args = 2,
	.max_args = 2,
	.run = run_subscribe,
};

const struct verb verb_imagelist_unsubscribe = {
	.name = "imagelist unsubscribe",
	.synopsis = "[options] NAME",
	.summary = "Follow a list of images no more",
	.about = "Forgets the subscription. Its images lose their names, so that no VM starts from "
		 "them, and expire at the site if they were published there; VMs that run are not "
		 "disturbed, and wnodes image gc gives the room back.",
	.examples = "wnodes imagelist unsubscribe egi\n",
	.options = unsubscribe_rows,
	.options_size = sizeof(struct unsubscribe_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_unsubscribe,
};

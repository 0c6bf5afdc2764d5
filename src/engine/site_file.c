#include "engine/site_file.h"

#include <errno.h>

static void init(struct site_file *f)
{
	*f = (struct site_file){{policy_section}, {network_section}, {share_section}};
}

void site_file_done(struct site_file *f)
{
	policies_done(&f->policies);
	networks_done(&f->networks);
	sharing_done(&f->sharing);
}

/* A file that is not there says nothing, and is no mistake to tell of. */
static int pass_over_none(int r, struct error *err)
{
	if (r != -ENOENT)
		return r;
	if (err)
		*err = (struct error){0};
	return 0;
}

static int load(struct site_file *f, struct settings *settings, const char *path, struct error *err)
{
	int r;

	f->networks.list.next = &f->sharing.list;
	f->policies.list.next = &f->networks.list;
	r = conf_load_list(settings_table, settings, &f->policies.list, path, err);
	/* The parts may be moved. */
	f->policies.list.next = f->networks.list.next = NULL;
	if (r == 0)
		r = policies_check(&f->policies, path, err);
	if (r == 0)
		r = networks_check(&f->networks, path, err);
	if (r == 0)
		r = sharing_check(&f->sharing, path, err);
	return pass_over_none(r, err);
}

int site_file_load(
	struct site_file *ret, struct settings *settings, const char *path, struct error *err)
{
	struct settings unused AUTO(settings_done) = {0};
	int r = settings ? 0 : conf_init(settings_table, &unused, err);

	init(ret);
	if (r == 0)
		r = load(ret, settings ? settings : &unused, path, err);
	if (r < 0)
		site_file_done(ret);
	return r;
}

static int append(struct site_file *f, struct site_file *below, struct error *err)
{
	if (conf_list_append(&f->policies.list, &below->policies.list) < 0 ||
		conf_list_append(&f->networks.list, &below->networks.list) < 0 ||
		conf_list_append(&f->sharing.list, &below->sharing.list) < 0)
		return fail(err, -ENOMEM, "out of memory");
	return 0;
}

int site_file_load_over(struct site_file *ret, struct settings *settings, const char *pushed,
	const char *path, struct error *err)
{
	struct site_file below AUTO(site_file_done);
	int r = site_file_load(&below, settings, pushed, err);

	init(ret);
	if (r == 0)
		r = site_file_load(ret, settings, path, err);
	if (r == 0)
		r = append(ret, &below, err);
	if (r < 0)
		site_file_done(ret);
	return r;
}

int site_file_load_user(struct settings *settings, const char *path, struct error *err)
{
	struct conf_list policies = policy_section_refused, networks = network_section_refused;
	struct conf_list shares = share_section_refused;
	int r;

	networks.next = &shares;
	policies.next = &networks;
	r = conf_load_list(settings_table, settings, &policies, path, err);
	return pass_over_none(r, err);
}

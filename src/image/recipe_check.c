/* What a recipe's texts must be beyond their types. They end up in a shell script that root runs in
 * the image, quoted; so this is for people, not for safety. */
#include <errno.h>

#include "image/apt.h"
#include "image/recipe.h"
#include "lib/parse.h"

#define PATH_LENGTH_MAX 4096
#define NAME_LENGTH_MAX 64
#define SYSLOG_PORT     514
#define PORT_MAX        65535

static const char name_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "0123456789._-";
static const char unit_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "0123456789._-@:\\";
static const char base64_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789+/=\n";

static bool has_only(const char *text, const char *chars)
{
	return *text && text[strspn(text, chars)] == '\0';
}

static int item_fail(const struct recipe *r, const struct conf_list *list,
	const struct conf_item *item, const char *why, struct error *err)
{
	return fail(err, -EINVAL, "%s:%d: [%s %.200s]: %s", r->origin, item->line, list->kind,
		item->name, why);
}

/* A path of the image that names a file: absolute, and what it seems to be. */
static bool path_is_good(const char *path)
{
	size_t n = strlen(path);

	if (path[0] != '/' || n > PATH_LENGTH_MAX || path[n - 1] == '/' || strstr(path, "//"))
		return false;
	for (const char *p = path; p; p = strchr(p + 1, '/')) {
		size_t part = strcspn(p + 1, "/");

		if ((part == 1 && p[1] == '.') || (part == 2 && p[1] == '.' && p[2] == '.'))
			return false;
	}
	return true;
}

static bool mode_is_good(const char *text)
{
	size_t n = strlen(text);

	return n >= 3 && n <= 5 && strspn(text, "01234567") == n;
}

static bool owner_is_good(const char *text)
{
	size_t user = strspn(text, name_chars), group;

	if (user == 0 || user > NAME_LENGTH_MAX || text[0] == '-')
		return false;
	if (text[user] == '\0')
		return true;
	group = strspn(text + user + 1, name_chars);
	return text[user] == ':' && group > 0 && group <= NAME_LENGTH_MAX &&
	       text[user + 1 + group] == '\0';
}

static const char *file_fault(const struct conf_item *item)
{
	const struct recipe_file *f = item->settings;
	int sources = (f->content != NULL) + (f->base64 != NULL);

	if (!path_is_good(item->name))
		return "a file of the image is named by its whole path, without '..'";
	if (sources != 1)
		return "give one of content, source and base64";
	if (f->base64 && !has_only(f->base64, base64_chars))
		return "base64 has other characters";
	if (!mode_is_good(f->mode))
		return "the mode is no octal number such as 0644";
	return owner_is_good(f->owner) ? NULL : "the owner is not USER[:GROUP]";
}

/* "/EXPRESSION/TEXT/[gI]", as sed's s takes it. */
static bool replace_is_good(const char *text)
{
	char delimiter = text[0];
	int seen = 1;
	const char *p = text + 1;

	if (delimiter == '\0' || delimiter == '\\' || strchr(name_chars, delimiter) ||
		delimiter == ' ' || (unsigned char)delimiter >= 0x80 || text[1] == delimiter)
		return false;
	for (; *p && seen < 3; p++) {
		if (*p == '\\' && p[1])
			p++;
		else if (*p == delimiter)
			seen++;
	}
	return seen == 3 && strspn(p, "gI") == strlen(p);
}

static const char *edit_fault(const struct conf_item *item)
{
	const struct recipe_edit *e = item->settings;

	if (!path_is_good(item->name))
		return "a file of the image is named by its whole path, without '..'";
	for (size_t i = 0; e->replace[i]; i++)
		if (!replace_is_good(e->replace[i]))
			return "replace is not /EXPRESSION/TEXT/, with g or I behind it";
	return e->append[0] || e->replace[0] ? NULL : "it has neither append nor replace";
}

static const char *check_fault(const struct conf_item *item)
{
	const struct recipe_check *c = item->settings;

	if (!has_only(item->name, name_chars) || strlen(item->name) > NAME_LENGTH_MAX)
		return "the name may have letters, digits, '.', '_' and '-', 64 at most";
	return c->command && *c->command ? NULL : "it has no command";
}

static int check_items(const struct recipe *r, struct error *err)
{
	static const char *(*const faults[])(const struct conf_item *) = {
		[RECIPE_FILES] = file_fault,
		[RECIPE_EDITS] = edit_fault,
		[RECIPE_CHECKS] = check_fault,
	};

	for (size_t i = 0; i < RECIPE_LISTS; i++)
		for (size_t j = 0; j < r->lists[i].count; j++) {
			const char *why = faults[i](&r->lists[i].items[j]);

			if (why)
				return item_fail(r, &r->lists[i], &r->lists[i].items[j], why, err);
		}
	return 0;
}

static int check_words(const struct recipe *r, char *const *words, const char *chars,
	const char *what, struct error *err)
{
	for (; *words; words++)
		if (!has_only(*words, chars) || **words == '-')
			return fail(err, -EINVAL, "%s: '%.100s' is not the name of a %s", r->origin,
				*words, what);
	return 0;
}

static int check_packages(const struct recipe *r, struct error *err)
{
	for (char *const *p = r->image.packages; *p; p++)
		if (!apt_package_is_valid(*p))
			return fail(err, -EINVAL, "%s: '%.100s' is not the name of a package",
				r->origin, *p);
	return 0;
}

int recipe_parse_syslog(
	const char *text, bool *ret_tcp, char **ret_host, uint64_t *ret_port, struct error *err)
{
	const char *host = str_after(text, "tcp://"), *colon;

	*ret_tcp = host != NULL;
	host = host ? host : str_after(text, "udp://");
	colon = host ? strrchr(host, ':') : NULL;
	if (!host || (colon ? colon == host : !*host) ||
		strspn(host, name_chars) != (colon ? (size_t)(colon - host) : strlen(host)))
		return fail(err, -EINVAL, "'%.100s' is not tcp://HOST[:PORT] or udp://HOST[:PORT]",
			text);
	*ret_port = SYSLOG_PORT;
	if (colon && parse_number(colon + 1, 1, PORT_MAX, ret_port, err) < 0)
		return -EINVAL;
	*ret_host = colon ? strndup(host, (size_t)(colon - host)) : strdup(host);
	return *ret_host ? 0 : fail(err, -ENOMEM, "out of memory");
}

static int check_syslog(const struct recipe *r, struct error *err)
{
	autofree char *host = NULL;
	uint64_t port;
	bool tcp;

	if (!r->image.syslog)
		return 0;
	if (recipe_parse_syslog(r->image.syslog, &tcp, &host, &port, err) < 0)
		return fail_within(err, "%s: syslog", r->origin);
	return 0;
}

int recipe_check(const struct recipe *r, struct error *err)
{
	const struct recipe_image *image = &r->image;
	int e = check_items(r, err);

	if (e == 0)
		e = check_packages(r, err);
	if (e == 0)
		e = check_words(r, image->modules, name_chars, "kernel module", err);
	if (e == 0)
		e = check_words(r, image->enable, unit_chars, "service", err);
	if (e == 0)
		e = check_words(r, image->disable, unit_chars, "service", err);
	if (e == 0)
		e = check_syslog(r, err);
	if (e == 0 && image->run && image->run_base64)
		e = fail(err, -EINVAL, "%s: run and script are both set; give one of them",
			r->origin);
	if (e == 0 && image->run_base64 && !has_only(image->run_base64, base64_chars))
		e = fail(err, -EINVAL, "%s: run_base64 has other characters", r->origin);
	return e;
}

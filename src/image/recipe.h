/* Recipes: what an image is made of beyond the distribution, as a file that people write and that
 * is kept with the image. docs/recipes.md tells of it.
 *
 *   [image]            suite, mirrors, packages, size, init, kernel modules, syslog target, script
 *   [services]         enable, disable
 *   [file /PATH]       a file that is written
 *   [edit /PATH]       a file of the distribution that is changed
 *   [check NAME]       a command by which an image that was made is tried
 *
 * A line that begins with '|' belongs to the value before it, as it stands behind the bar. */
#pragma once

#include "image/manifest.h"
#include "lib/conf.h"

/* Of the text that is kept, with all files that it names in it: it becomes part of the manifest,
 * which every node reads. */
#define RECIPE_BYTES_MAX MANIFEST_RECIPE_MAX

struct recipe_image {
	char *suite;
	char **mirrors, **packages, **modules; /* NULL-terminated, never NULL */
	uint64_t size;                         /* bytes */
	char *init;                            /* "wnodes" or "systemd" */
	char *syslog;                          /* "tcp://HOST[:PORT]", "udp://..."; NULL: none */
	char *script;                          /* file; NULL once it was read, into the next two */
	char *run;                             /* shell script, run at the end; NULL: none */
	char *run_base64;
	char **enable, **disable; /* services */
};

struct recipe_file {
	char *content, *source, *base64; /* one of them; `source` is NULL once it was read */
	char *mode, *owner;
};

struct recipe_edit {
	char **append, **replace;
};

struct recipe_check {
	char *command;
	uint64_t status;
	uint64_t timeout; /* us */
};

enum recipe_list { RECIPE_FILES, RECIPE_EDITS, RECIPE_CHECKS, RECIPE_LISTS };

struct recipe {
	char *origin; /* the file, or what stands in for its name in messages */
	struct recipe_image image;
	uint64_t given; /* bits: the rows of recipe_image_table that the file has */
	/* By enum recipe_list; an item's settings are the structs above. */
	struct conf_list lists[RECIPE_LISTS];
	char *text; /* to be kept: the file, with the content of the files that it names */
	size_t length;
};

extern const struct conf_setting recipe_image_table[];

/* Reads a file, and the files that it names, which lie beside it if their paths are relative.
 * Returns 0, or negative errno with "FILE:LINE: ..." (-EINVAL). */
int recipe_load(const char *path, struct recipe **ret, struct error *err);

/* The same for a text (hostile bytes). `origin` stands for the file's name in messages; paths count
 * from `directory`: NULL is for a text that was kept, which must name no files. */
int recipe_parse(const char *text, size_t length, const char *origin, const char *directory,
	struct recipe **ret, struct error *err);

/* One that says nothing: all is as by default, and there is no text. Returns 0 or -ENOMEM. */
int recipe_new(struct recipe **ret, struct error *err);
struct recipe *recipe_free(struct recipe *r);
DEFINE_CLEANUP(struct recipe *, recipe_free)

/* Has [image] this key? */
bool recipe_has(const struct recipe *r, const char *key);

/* What recipe_load() and recipe_parse() end with: does all of it make sense? Returns 0 or -EINVAL.
 */
int recipe_check(const struct recipe *r, struct error *err);

/* Splits "tcp://HOST[:PORT]" or "udp://...". Returns 0 or -EINVAL. */
int recipe_parse_syslog(
	const char *text, bool *ret_tcp, char **ret_host, uint64_t *ret_port, struct error *err);

/* Prints the manual's section on recipes (roff). */
void recipe_print_man(FILE *out);

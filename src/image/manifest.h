/* The manifest of an image: what a VM needs to start from it, as JSON. An image is its manifest's
 * SHA-256; the manifest names its parts by theirs, so an image can never change. */
#pragma once

#include "lib/digest.h"
#include "lib/error.h"

#define MANIFEST_VERSION   1
#define MANIFEST_BYTES_MAX (1024 * 1024)
#define MANIFEST_PARTS_MAX 8
/* As JSON it may take twice as many; a site takes manifests of 256 KiB. */
#define MANIFEST_RECIPE_MAX (96 * 1024)
#define MANIFEST_LIST_MAX   64

enum image_part_kind { IMAGE_DISK, IMAGE_KERNEL, IMAGE_INITRD };

struct image_part {
	enum image_part_kind kind;
	char digest[DIGEST_HEX_SIZE];
	uint64_t size; /* bytes of the blob */
};

enum image_boot {
	IMAGE_BOOT_KERNEL, /* QEMU starts kernel + initrd with the command line */
	IMAGE_BOOT_DISK,   /* firmware starts the disk's boot loader */
};

enum image_agent {
	IMAGE_AGENT_BUILTIN, /* the agent is in the image (or its initrd) */
	IMAGE_AGENT_SEED,    /* cloud-init brings it from a NoCloud seed */
};

struct manifest {
	char *format;       /* of the disk: "raw" or "qcow2" */
	char *architecture; /* "x86_64" */
	enum image_boot boot;
	enum image_agent agent;
	char *command_line;  /* of the kernel, for IMAGE_BOOT_KERNEL */
	char *agent_version; /* of the built-in agent, else NULL */
	char *os;            /* "Debian GNU/Linux 12 (bookworm)"; NULL if not known */
	char *origin;        /* where it came from, for people: a recipe's summary, a URL, a file */
	char *recipe;        /* what it was made from (recipe.h), several lines; NULL: not known */
	char **gateways;     /* file systems that it can mount for shares: "9p", "virtiofs", ...
			      * NULL: not known (an import that was not checked) */
	uint64_t created;    /* seconds since the epoch */
	uint64_t min_memory_mib, min_cpus; /* smallest shape */
	uint64_t disk_size; /* virtual size in bytes, as the guest sees it. The file of a raw disk
			     * may be shorter, ending where its data ends: the rest is zeros */
	struct image_part parts[MANIFEST_PARTS_MAX];
	size_t part_count;
};

/* Parses JSON from anywhere (hostile bytes): unknown keys are ignored, everything else is checked.
 * Returns 0 and *ret for manifest_free(), or -EINVAL / -ENOMEM with the reason. */
int manifest_parse(const char *json, size_t length, struct manifest **ret, struct error *err);

/* Writes the manifest as JSON (sorted keys, one line); the caller frees. NULL when out of memory.
 */
char *manifest_format(const struct manifest *m);

struct manifest *manifest_free(struct manifest *m);
DEFINE_CLEANUP(struct manifest *, manifest_free)

/* Makes a text of anywhere (a file's name, an os-release) fit for a manifest: what is not printable
 * ASCII becomes '?', what is too long is cut. NULL when out of memory. */
char *manifest_clean_text(const char *text);

/* Returns the part or NULL. */
const struct image_part *manifest_part(const struct manifest *m, enum image_part_kind kind);

/* "disk", "kernel" or "initrd"; and back: the kind, or -EINVAL (NULL is none). */
const char *manifest_kind_name(enum image_part_kind kind);
int manifest_kind_parse(const char *name);

/* Is this a gateway's name as a manifest may have it? */
bool manifest_gateway_is_valid(const char *name);

/* Does the manifest name this gateway? */
bool manifest_has_gateway(const struct manifest *m, const char *gateway);

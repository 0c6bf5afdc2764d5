/* Image lists, signed and not: what is taken is within its bounds, and is written as it was read.
 * The signature's frame is parsed too; whom to believe is nobody. */
#include <assert.h>

#include "imagelist/check.h"
#include "imagelist/plan.h"
#include "imagelist/version.h"

#define NOW_US UINT64_C(1795800000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_image(const struct imagelist_image *image)
{
	assert(image->size > 0 && strlen(image->sha512) == 128);
	assert(image->identifier[0] != '.' && !strchr(image->identifier, '/'));
	assert(!strpbrk(image->uri, " \n\""));
	assert(image->title && image->description && image->comments && image->architecture);
	assert(image->os && image->os_version && image->hypervisor && image->version);
}

static void check_plan(const struct imagelist *list)
{
	struct subscription s = {.name = (char[]){"fuzz"}, .tag = (char[]){"latest"}};
	struct plan plan AUTO(plan_done) = {0};

	assert(plan_make(&s, list, NOW_US, &plan) == 0 && plan.count == list->image_count);
	for (size_t i = 0; i < plan.count; i++) {
		const char *reference = plan.items[i].reference;

		assert(plan.items[i].action == PLAN_NEW || plan.items[i].action == PLAN_SKIP);
		assert(!reference || (strcspn(reference, ":") <= 64 && !strchr(reference, '/')));
	}
}

static void check_accepted(const struct imagelist *list)
{
	struct imagelist *again AUTO(imagelist_freep) = NULL;
	autofree char *first = imagelist_format(list), *second = NULL;
	struct error err = {0};

	assert(first && list->image_count <= IMAGELIST_IMAGES_MAX);
	for (size_t i = 0; i < list->image_count; i++)
		check_image(&list->images[i]);
	assert(imagelist_parse(first, strlen(first), &again, &err) == 0);
	assert(again->image_count == list->image_count && again->warnings.count == 0);
	second = imagelist_format(again);
	assert(second && strcmp(first, second) == 0);
	assert(version_compare(list->version, again->version) == 0);
	check_plan(list);
}

/* A directory without authorities. */
static const char *nobody(void)
{
	static char directory[] = "/tmp/fuzz-imagelist.XXXXXX";
	static bool made;

	if (!made)
		assert(mkdtemp(directory));
	made = true;
	return directory;
}

static void check_signed(const uint8_t *data, size_t size)
{
	struct smime_trust trust = {.ca = nobody(), .now_us = NOW_US};
	struct smime_signer signer = {0};
	struct error err = {0};
	char *text = NULL;
	size_t length;

	assert(smime_verify(data, size, &trust, &text, &length, &signer, &err) < 0);
	assert(!text && !signer.subject && err.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imagelist *list AUTO(imagelist_freep) = NULL;
	struct error err = {0};

	if (imagelist_parse((const char *)data, size, &list, &err) == 0)
		check_accepted(list);
	else
		assert(!list && err.text[0]);
	check_signed(data, size);
	return 0;
}

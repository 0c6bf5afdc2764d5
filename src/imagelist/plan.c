#include "imagelist/plan.h"

#include <errno.h>
#include <stdio.h>

#include "lib/path.h"
#include "lib/timestamp.h"

/* Of an image's name in the store. */
#define NAME_MAX_BYTES 64

/* So many characters of an identifier tell two images of one title apart. */
#define IDENTIFIER_PART 8

static const char *const words[] = {
	[PLAN_KEEP] = "kept",
	[PLAN_NEW] = "new",
	[PLAN_CHANGE] = "changed",
	[PLAN_REMOVE] = "removed",
	[PLAN_EXPIRE] = "expired",
	[PLAN_SKIP] = "skipped",
};

const char *plan_word(enum plan_action action)
{
	return words[action];
}

void plan_done(struct plan *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free(p->items[i].identifier);
		free(p->items[i].title);
		free(p->items[i].reference);
		free(p->items[i].reason);
	}
	free(p->items);
	*p = (struct plan){0};
}

/* Takes `reference` and `reason`; what is NULL for want of memory is noticed at the end. */
static int add(struct plan *p, enum plan_action action, const struct imagelist_image *image,
	const struct subscription_image *known, char *reference, char *reason)
{
	struct plan_item *items = realloc(p->items, (p->count + 1) * sizeof(*items)), *item;

	if (!items) {
		free(reference);
		free(reason);
		return -ENOMEM;
	}
	p->items = items;
	item = &items[p->count++];
	*item = (struct plan_item){.action = action,
		.image = image,
		.identifier = strdup(image ? image->identifier : known->identifier),
		.title = strdup(image ? image->title : known->title),
		.reference = reference,
		.reason = reason};
	if (!item->identifier || !item->title || (!reference && action != PLAN_SKIP) ||
		(!reason && action >= PLAN_REMOVE))
		return -ENOMEM;
	return 0;
}

static const struct subscription_choice *find_choice(
	const struct subscription *s, const char *identifier)
{
	for (size_t i = 0; i < s->choice_count; i++)
		if (streq(s->choices[i].identifier, identifier))
			return &s->choices[i];
	return NULL;
}

/* Makes a title part of a name: "CernVM [SL/6.0]" gives "cernvm-sl-6.0". */
static void append_slug(char *name, size_t room, const char *title)
{
	size_t n = strlen(name);

	for (; *title && n + 1 < room; title++) {
		char c = *title;

		if (c >= 'A' && c <= 'Z')
			c = (char)(c + 'a' - 'A');
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789._", c))
			c = '-';
		if (c == '-' && name[n - 1] == '-')
			continue;
		name[n++] = c;
	}
	while (strchr("-._", name[n - 1]))
		n--;
	name[n] = '\0';
}

static bool is_taken(const struct plan *p, const struct subscription *s, const char *reference,
	const char *identifier)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->items[i].reference && streq(p->items[i].reference, reference))
			return true;
	for (size_t i = 0; i < s->image_count; i++)
		if (streq(s->images[i].reference, reference) &&
			!streq(s->images[i].identifier, identifier))
			return true;
	return false;
}

/* The image's name: the one that was chosen, or that it had, else of its title. */
static char *make_reference(
	const struct plan *p, const struct subscription *s, const struct imagelist_image *image)
{
	const struct subscription_choice *choice = find_choice(s, image->identifier);
	const struct subscription_image *known = subscription_find_image(s, image->identifier);
	char name[NAME_MAX_BYTES + 1];
	autofree char *reference = NULL;

	if (choice && choice->reference)
		return strdup(choice->reference);
	if (known)
		return strdup(known->reference);
	snprintf(name, sizeof(name), "%s-", s->name);
	append_slug(name, sizeof(name) - IDENTIFIER_PART - 1, image->title);
	reference = path_format("%s:%s", name, s->tag);
	if (!reference || !is_taken(p, s, reference, image->identifier))
		return TAKE_PTR(reference);
	snprintf(name + strlen(name), sizeof(name) - strlen(name), "-");
	append_slug(name, strlen(name) + IDENTIFIER_PART + 1, image->identifier);
	return path_format("%s:%s", name, s->tag);
}

/* Why it cannot run here, for free(); NULL: it can. */
static char *why_unfit(const struct imagelist_image *image)
{
	static const char *const architectures[] = {"x86_64", "x86-64", "amd64"};
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(architectures); i++)
		known = known || strcasecmp(image->architecture, architectures[i]) == 0;
	if (!known)
		return path_format("it is for %s", image->architecture);
	if (!strcasestr(image->hypervisor, "kvm") && !strcasestr(image->hypervisor, "qemu"))
		return path_format("it is for %s, not for KVM", image->hypervisor);
	return NULL;
}

static bool is_over(uint64_t expires_us, uint64_t now_us)
{
	return expires_us > 0 && now_us > expires_us;
}

static char *expired_text(const char *what, uint64_t expires_us)
{
	char at[TIMESTAMP_TEXT_SIZE];

	return path_format("%s has expired, at %s", what, timestamp_format(expires_us, at));
}

static int plan_image(const struct subscription *s, const struct imagelist_image *image,
	uint64_t now_us, struct plan *p)
{
	const struct subscription_image *known = subscription_find_image(s, image->identifier);
	bool present = known && !known->gone;
	enum plan_action action = present ? PLAN_REMOVE : PLAN_SKIP;
	char *reference = NULL, *reason = NULL;

	if (s->choice_count > 0 && !find_choice(s, image->identifier)) {
		reason = strdup("it is not one of those that were chosen");
	} else if (is_over(image->expires_us, now_us)) {
		action = present ? PLAN_EXPIRE : PLAN_SKIP;
		reason = expired_text("the image", image->expires_us);
	} else if (!(reason = why_unfit(image))) {
		reference = make_reference(p, s, image);
		action = !present ? PLAN_NEW
			 : streq(known->sha512, image->sha512) && reference &&
					 streq(known->reference, reference)
				 ? PLAN_KEEP
				 : PLAN_CHANGE;
	}
	if (present && !reference)
		reference = strdup(known->reference);
	return add(p, action, image, known, reference, reason);
}

int plan_make(const struct subscription *s, const struct imagelist *list, uint64_t now_us,
	struct plan *ret)
{
	int r = 0;

	for (size_t i = 0; i < list->image_count && r == 0; i++)
		r = plan_image(s, &list->images[i], now_us, ret);
	for (size_t i = 0; i < s->image_count && r == 0; i++) {
		const struct subscription_image *known = &s->images[i];

		if (!known->gone && !imagelist_find(list, known->identifier))
			r = add(ret, PLAN_REMOVE, NULL, known, strdup(known->reference),
				strdup("it is in the list no more"));
	}
	return r;
}

int plan_make_without_list(
	const struct subscription *s, const char *revoked, uint64_t now_us, struct plan *ret)
{
	int r = 0;

	for (size_t i = 0; i < s->image_count && r == 0; i++) {
		const struct subscription_image *known = &s->images[i];
		char *reference = known->gone ? NULL : strdup(known->reference);

		if (known->gone)
			continue;
		if (revoked)
			r = add(ret, PLAN_REMOVE, NULL, known, reference, strdup(revoked));
		else if (is_over(s->expires_us, now_us))
			r = add(ret, PLAN_EXPIRE, NULL, known, reference,
				expired_text("its list", s->expires_us));
		else if (is_over(known->expires_us, now_us))
			r = add(ret, PLAN_EXPIRE, NULL, known, reference,
				expired_text("the image", known->expires_us));
		else
			r = add(ret, PLAN_KEEP, NULL, known, reference, NULL);
	}
	return r;
}

/* Templates that a VM is lent, and what comes of them. */
#include <errno.h>

#include "hypervisor/admission.h"
#include "hypervisor/client_private.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/timestamp.h"

static bool was_lent(const struct client *c, const char *key)
{
	for (size_t i = 0; i < c->key_count; i++)
		if (streq(c->keys[i], key))
			return true;
	return false;
}

static void on_template_lent(struct shelf_template *t, void *userdata)
{
	struct client *c = userdata;
	struct client_descriptors d = {.names = NULL};

	c->asking_template = false;
	if (!t) {
		c->key_count--;
		client_answer(c, json_pack("{s:b}", "none", true), NULL, 0);
		return;
	}
	d.names = json_array();
	client_add_descriptor(&d, "memory", t->memory_fd);
	client_add_descriptor(&d, "state", t->state_fd);
	client_add_descriptor(&d, "overlay", t->overlay_fd);
	client_answer(c, json_pack("{s:o}", "descriptors", d.names), d.fds, d.count);
}

/* Has its image been revoked, or has it expired, since it was lent? */
static bool client_may_not_start(const struct client *c)
{
	const struct catalogue_image *image =
		catalogue_find(admission_catalogue(c->hypervisor->admission), c->digest);

	return image && !catalogue_is_startable(image, timestamp_now_us());
}

void client_on_template(struct client *c, const struct call *call)
{
	if (c->state != CLIENT_LENT || c->asking_template || c->key_count >= KEYS_MAX) {
		client_refuse(c, "a template is lent to a VM alone");
		return;
	}
	if (client_may_not_start(c)) {
		client_refuse(c, "nothing starts from this image any more");
		return;
	}
	memcpy(c->keys[c->key_count++], call->key, DIGEST_HEX_SIZE);
	c->asking_template = true;
	shelf_lend(c->hypervisor->shelf, call->key, on_template_lent, c);
}

void client_on_template_failed(struct client *c, const struct call *call)
{
	if (!was_lent(c, call->key)) {
		client_refuse(c, "this template was not lent to this VM");
		return;
	}
	if (allowance_take_discard(c->allowance, clock_now_us())) {
		log_warning("the template %.12s did not start a VM of uid %u; it is removed",
			call->key, (unsigned int)c->peer.uid);
		shelf_discard(c->hypervisor->shelf, call->key, "a clone of it did not start");
	}
	client_answer(c, json_object(), NULL, 0);
}

void client_on_used(struct client *c, const struct call *call)
{
	if (was_lent(c, call->key))
		shelf_record_use(c->hypervisor->shelf, call->key, call->start_us);
	client_answer(c, json_object(), NULL, 0);
}

/* The maker has no rights, so it cannot read a private image, and nobody else could use the
 * template. */
static bool client_shares_image(const struct client *c)
{
	const struct catalogue_image *image =
		catalogue_find(admission_catalogue(c->hypervisor->admission), c->digest);

	return !client_may_not_start(c) && !(image && image->is_private);
}

void client_on_wish(struct client *c, const struct call *call)
{
	struct maker_wish wish = {
		.uid = c->peer.uid,
		.cpus = call->cpus,
		.memory_mib = call->memory_mib,
		.slots = call->slots,
		.scratch = call->scratch,
	};
	int r;

	if (c->state != CLIENT_LENT || c->own_image || !client_shares_image(c)) {
		client_refuse(c, "templates are made of the machine's images, for all");
		return;
	}
	memcpy(wish.digest, c->digest, sizeof(wish.digest));
	memcpy(wish.key, call->key, sizeof(wish.key));
	memcpy(wish.accel, call->accel, sizeof(wish.accel));
	memcpy(wish.network, call->network, sizeof(wish.network));
	r = maker_wish(c->hypervisor->maker, &wish);
	if (r < 0)
		client_refuse(c, r == -EDQUOT ? "too many templates were made for you this hour"
					      : "no template is made now");
	else
		client_answer(c, json_object(), NULL, 0);
}

#include "hypervisor/loan_card.h"

#include "engine/crew.h"
#include "hypervisor/hypervisor.h"

int loan_card_check(struct loan_card *c, const struct hypervisor *h, const struct call *call,
	uid_t uid, struct error *err)
{
	if (call->network[0] == '\0')
		return 0;
	return streq(call->network, CREW_NETWORK_NAME)
		       ? jobnets_parse(h->jobnets, call->job_network, &c->place, err)
		       : taps_check(h->taps, call->network, uid, err);
}

int loan_card_open(struct loan_card *c, const struct hypervisor *h, const struct tap_wish *wish,
	struct error *err)
{
	if (c->place)
		return jobnets_open(h->jobnets, c->place, err);
	return wish->network[0] ? taps_open(h->taps, wish, &c->tap, err) : 0;
}

struct vm_tap loan_card_tap(const struct loan_card *c)
{
	struct vm_tap one = {.count = 0};

	if (c->tap)
		return *tap_lent(c->tap);
	if (c->place)
		vm_tap_add(&one, c->place->tap_fd);
	return one;
}

void loan_card_sent(const struct loan_card *c)
{
	if (c->tap)
		tap_sent(c->tap);
}

json_t *loan_card_to_json(const struct loan_card *c)
{
	if (c->place)
		return jobnet_to_json(c->place);
	return c->tap ? tap_to_json(c->tap) : NULL;
}

void loan_card_close(struct loan_card *c, const struct hypervisor *h)
{
	c->tap = taps_close(h->taps, c->tap, h->ending);
	c->place = jobnets_close(h->jobnets, c->place, h->ending);
}

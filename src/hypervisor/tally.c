#include "hypervisor/tally.h"

#include <errno.h>
#include <stdio.h>

#include "engine/record.h"
#include "lib/log.h"
#include "lib/timestamp.h"

int tally_lend(struct tally *t, struct ledger *ledger)
{
	*t = (struct tally){.ledger = ledger, .lent_us = timestamp_now_us()};
	return uuid_new(t->record_id);
}

void tally_start(struct tally *t, struct witness *w, pid_t qemu)
{
	t->qemu = qemu;
	if (t->known) /* it was started once more, in another way */
		return;
	w->record_id = t->record_id;
	w->node = ledger_node(t->ledger);
	w->lent_us = t->lent_us;
	t->known = witness_new(w);
	if (!t->known || ledger_add(t->ledger, t->record_id, t->known, w->peer->pid) < 0)
		log_warning("out of memory for a VM's usage record, ignoring");
}

void tally_hold(struct tally *t, const char *id, struct witness *w, pid_t qemu)
{
	t->known = ledger_claim(t->ledger, id, w->peer->uid);
	if (t->known)
		snprintf(t->record_id, sizeof(t->record_id), "%s", id);
	tally_start(t, w, qemu);
}

void tally_look(struct tally *t)
{
	if (t->known && t->qemu > 0)
		witness_look(t->qemu, &t->usage);
	if (t->tap && tap_count(t->tap, &t->usage.received_bytes, &t->usage.sent_bytes))
		t->usage.has_network = true;
}

int tally_record(
	struct tally *t, const json_t *told, ledger_fn done, void *userdata, struct error *err)
{
	json_t *record;
	int r;

	if (!t->known || t->told)
		return fail(err, -EINVAL, "there is no VM that has no usage record yet");
	record = record_check(told, err);
	if (!record)
		return -EINVAL;
	tally_look(t);
	witness_correct(record, t->known, timestamp_now_us());
	witness_correct_usage(record, &t->usage);
	r = ledger_write(t->ledger, record, done, userdata);
	t->told = r == 0;
	return r < 0 ? fail_errno(err, r, "the usage record cannot be taken") : 0;
}

static void write_alone(struct tally *t)
{
	json_t *record = witness_alone(t->known, &t->usage, timestamp_now_us(),
		"the program that ran the VM was killed; what the VM used is what was seen last");

	if (!record || ledger_write(t->ledger, record, NULL, NULL) < 0)
		ledger_release(t->ledger, t->record_id);
}

void tally_end(struct tally *t, void *userdata, bool leave)
{
	if (t->ledger && !leave) {
		tally_look(t);
		ledger_forget(t->ledger, userdata);
		if (t->known && !t->told)
			write_alone(t);
	}
	json_decref(t->known);
	*t = (struct tally){0};
}

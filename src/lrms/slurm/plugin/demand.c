#include "lrms/slurm/plugin/demand.h"

#include <errno.h>

void demand_clear(struct demand *d, enum option_id id)
{
	strv_done(&d->options[id].values);
	d->options[id].given = false;
}

int demand_add(
	struct demand *d, enum option_id id, const char *value, bool handed_down, struct error *err)
{
	bool first = !handed_down && !d->options[id].given;

	if (handed_down && d->options[id].given)
		return 0;
	if (!option_rows[id].list || first)
		demand_clear(d, id);
	if (d->options[id].values.count == DEMAND_LIST_MAX)
		return fail(err, -E2BIG, "given more than %d times", DEMAND_LIST_MAX);
	strv_add(&d->options[id].values, value);
	d->options[id].given |= !handed_down;
	if (d->options[id].values.failed)
		return fail(err, -ENOMEM, "out of memory");
	return 0;
}

const char *const *demand_list(const struct demand *d, enum option_id id)
{
	return strv_list(&d->options[id].values);
}

const char *demand_get(const struct demand *d, enum option_id id)
{
	return d->options[id].values.count > 0 ? d->options[id].values.items[0] : NULL;
}

bool demand_has(const struct demand *d, enum option_id id, const char *value)
{
	const char *const *item = demand_list(d, id);

	while (item && *item && !streq(*item, value))
		item++;
	return item && *item;
}

const struct option_row *demand_find_given(const struct demand *d)
{
	for (int id = OPTION_IMAGE + 1; id < OPTION_COUNT; id++)
		if (d->options[id].given)
			return &option_rows[id];
	return NULL;
}

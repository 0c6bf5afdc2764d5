#include "cli/batch.h"

int batch_load(struct batch *ret, struct error *err)
{
	const struct settings *s = &ret->settings;
	int r;

	*ret = (struct batch){0};
	r = settings_load(&ret->settings, err);
	if (r < 0)
		return r;
	ret->options = (struct lrms_options){
		.type = s->lrms_type,
		.cpus = s->lrms_cpus,
		.memory_bytes = s->lrms_memory,
		.grace_us = s->lrms_grace,
		.keep_us = s->lrms_keep,
	};
	return 0;
}

int batch_open(struct batch *ret, struct error *err)
{
	int r = batch_load(ret, err);

	return r < 0 ? r : lrms_open(&ret->options, &ret->lrms, err);
}

void batch_done(struct batch *b)
{
	lrms_free(b->lrms);
	settings_done(&b->settings);
	*b = (struct batch){0};
}

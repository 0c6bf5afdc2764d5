#include "bench/result.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

bool result_summarize(const struct result *r, int figure, struct result_summary *ret)
{
	double values[RESULT_RUNS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < r->count; i++)
		if (r->readings[i].has[figure])
			values[n++] = r->readings[i].values[figure];
	if (n == 0)
		return false;
	qsort(values, n, sizeof(values[0]), by_value);
	*ret = (struct result_summary){
		.median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2,
		.min = values[0],
		.max = values[n - 1],
		.count = n,
	};
	return true;
}

const char *result_compare(
	const struct result *r, const struct result *base, int figure, double *ret_ratio)
{
	struct result_summary here, there;

	if (!result_summarize(r, figure, &here) || !result_summarize(base, figure, &there))
		return "not measured in both places";
	if (!streq(result_programs(r), result_programs(base)))
		return "other versions of the programs";
	if (!streq(result_size(r), result_size(base)))
		return "other sizes";
	if (here.median <= 0 || there.median <= 0)
		return "too little to be measured";
	*ret_ratio = r->trial->figures[figure].lower ? there.median / here.median
						     : here.median / there.median;
	return NULL;
}

/* Of the members of a reading that are texts, the first that is not empty. */
static const char *first_text(const struct result *r, size_t offset)
{
	for (size_t i = 0; i < r->count; i++) {
		const char *text = (const char *)&r->readings[i] + offset;

		if (text[0])
			return text;
	}
	return "";
}

const char *result_programs(const struct result *r)
{
	return first_text(r, offsetof(struct reading, programs));
}

const char *result_size(const struct result *r)
{
	return first_text(r, offsetof(struct reading, size));
}

const char *result_missing(const struct result *r)
{
	return first_text(r, offsetof(struct reading, missing));
}

const char *result_why(const struct result *r)
{
	return first_text(r, offsetof(struct reading, why));
}

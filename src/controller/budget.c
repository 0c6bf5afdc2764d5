#include "controller/budget.h"

#include <stdio.h>

#include "controller/caller.h"

#define DAY_US (UINT64_C(86400) * 1000000)

/* Users that send something in a day; with more, those who began first begin anew. */
#define USERS_MAX 256

struct budget {
	struct {
		char name[CALLER_NAME_MAX];
		uint64_t since_us, bytes;
	} users[USERS_MAX];
};

struct budget *budget_new(void)
{
	return calloc(1, sizeof(struct budget));
}

struct budget *budget_free(struct budget *b)
{
	free(b);
	return NULL;
}

bool budget_take(struct budget *b, const char *name, uint64_t bytes, uint64_t max, uint64_t now_us)
{
	size_t at = 0;

	for (size_t i = 0; i < USERS_MAX; i++) {
		if (streq(b->users[i].name, name)) {
			at = i;
			break;
		}
		if (b->users[i].since_us < b->users[at].since_us)
			at = i;
	}
	if (!streq(b->users[at].name, name) || now_us >= b->users[at].since_us + DAY_US) {
		snprintf(b->users[at].name, sizeof(b->users[at].name), "%s", name);
		b->users[at].since_us = now_us;
		b->users[at].bytes = 0;
	}
	if (bytes > max || b->users[at].bytes > max - bytes)
		return false;
	b->users[at].bytes += bytes;
	return true;
}

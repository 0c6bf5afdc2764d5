#include "controller/siteclock.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "lib/log.h"
#include "lib/timestamp.h"

#define SECOND_US INT64_C(1000000)

/* Below this it is as much the way to the server as its clock. */
#define SAME_US SECOND_US

static _Atomic(int64_t) difference_us;

uint64_t siteclock_now_us(void)
{
	return timestamp_now_us() + (uint64_t)atomic_load(&difference_us);
}

int64_t siteclock_difference(uint64_t own_us, uint64_t server_us)
{
	int64_t difference = (int64_t)server_us - (int64_t)own_us;

	return difference > -SAME_US && difference < SAME_US ? 0 : difference;
}

/* Said when it begins, and when it ends. */
static void tell(int64_t before_us, int64_t now_us)
{
	if (now_us != 0 && before_us == 0)
		log_warning(
			"the clock of this machine differs by %" PRId64
			" s from that of the database's server, by which we go; see to the clock",
			-now_us / SECOND_US);
	else if (now_us == 0 && before_us != 0)
		log_notice("the clock of this machine is as that of the database's server again");
}

int siteclock_set(struct sql *db, struct error *err)
{
	int64_t server_us = 0, now;
	int r;

	if (sql_kind(db) != SQL_POSTGRES)
		return 0;
	r = sql_get_number(db, err, &server_us,
		"SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)");
	if (r <= 0)
		return r;
	now = siteclock_difference(timestamp_now_us(), (uint64_t)server_us);
	tell(atomic_exchange(&difference_us, now), now);
	return 0;
}

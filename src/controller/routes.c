/* All that can be asked: the tables of the nouns, and our own. */
#include "controller/event.h"
#include "controller/health.h"
#include "controller/metrics.h"
#include "controller/openapi.h"
#include "controller/route.h"

const struct route *const route_tables[] = {
	event_routes,
	health_routes,
	metrics_routes,
	openapi_routes,
	NULL,
};

/* All that can be asked: the tables of the nouns, and our own. */
#include "controller/catalogue.h"
#include "controller/certificate.h"
#include "controller/configuration.h"
#include "controller/event.h"
#include "controller/group.h"
#include "controller/health.h"
#include "controller/image.h"
#include "controller/image_history.h"
#include "controller/image_tag.h"
#include "controller/job.h"
#include "controller/join.h"
#include "controller/lease.h"
#include "controller/metrics.h"
#include "controller/node.h"
#include "controller/node_image.h"
#include "controller/openapi.h"
#include "controller/origin.h"
#include "controller/peer.h"
#include "controller/pick.h"
#include "controller/pool.h"
#include "controller/record.h"
#include "controller/role.h"
#include "controller/route.h"
#include "controller/staging.h"
#include "controller/token.h"
#include "controller/upload.h"
#include "controller/vm.h"
#include "controller/volume.h"
#include "controller/whoami.h"

const struct route *const route_tables[] = {
	catalogue_routes,
	certificate_routes,
	configuration_routes,
	event_routes,
	group_routes,
	health_routes,
	heartbeat_routes,
	image_history_routes,
	image_routes,
	image_state_routes,
	image_tag_routes,
	job_routes,
	join_routes,
	lease_routes,
	metrics_routes,
	node_image_routes,
	node_routes,
	openapi_routes,
	origin_routes,
	peer_routes,
	pick_routes,
	pool_routes,
	record_routes,
	role_routes,
	staging_routes,
	token_routes,
	upload_routes,
	vm_routes,
	volume_attach_routes,
	volume_node_routes,
	volume_routes,
	whoami_routes,
	NULL,
};

/* wnodes node: the node's daemon, and what the node can do. */
#pragma once

#include "cli/verb.h"

extern const struct verb verb_node_show, verb_node_drain, verb_node_resume, verb_node_check,
	verb_node_join, verb_node_leave;

/* wnodes record: what VMs have used. */
#pragma once

#include "cli/verb.h"

extern const struct verb verb_record_list;

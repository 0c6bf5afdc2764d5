/* wnodes record: what VMs have used. */
#pragma once

#include "cli/verb.h"

extern const struct verb verb_record_list, verb_record_export, verb_record_summary;

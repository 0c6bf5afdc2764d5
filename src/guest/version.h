/* HELLO: what this agent is and which protocol it speaks. */
#pragma once

#include "guest/link.h"

int version_send_hello(struct link *l);

/* MemTotal or another line of /proc/meminfo; 0 if it is not there. */
uint64_t version_memory_kib(const char *key);
uint64_t version_uptime_us(void);

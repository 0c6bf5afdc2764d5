/* Little-endian integers at any address. */
#pragma once

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define DEFINE_LE(bits)                                                    \
	static inline uint##bits##_t le##bits##_load(const void *p)        \
	{                                                                  \
		uint##bits##_t v;                                          \
		memcpy(&v, p, sizeof(v));                                  \
		return le##bits##toh(v);                                   \
	}                                                                  \
	static inline void le##bits##_store(void *p, uint##bits##_t value) \
	{                                                                  \
		uint##bits##_t v = htole##bits(value);                     \
		memcpy(p, &v, sizeof(v));                                  \
	}

DEFINE_LE(16)
DEFINE_LE(32)
DEFINE_LE(64)

/* SipHash-2-4 with 128 bits of output, by which two ends show each other that they know a key
 * without telling it. Source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF".
 */
#pragma once

#include "lib/base.h"

#define SIPHASH_SIZE 16 /* bytes of a key, and of a digest */

void siphash(const uint8_t key[SIPHASH_SIZE], const void *data, size_t length,
	uint8_t ret[SIPHASH_SIZE]);

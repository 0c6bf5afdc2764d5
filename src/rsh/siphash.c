#include "rsh/siphash.h"

#include "lib/wire.h"

static inline uint64_t rotate(uint64_t x, unsigned int bits)
{
	return x << bits | x >> (64 - bits);
}

static void siphash_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static void siphash_take(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	siphash_round(v);
	siphash_round(v);
	v[0] ^= word;
}

static uint64_t siphash_give(uint64_t v[4])
{
	for (int i = 0; i < 4; i++)
		siphash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void siphash(
	const uint8_t key[SIPHASH_SIZE], const void *data, size_t length, uint8_t ret[SIPHASH_SIZE])
{
	const uint64_t k0 = le64_load(key), k1 = le64_load(key + 8);
	uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575),
		k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee, k0 ^ UINT64_C(0x6c7967656e657261),
		k1 ^ UINT64_C(0x7465646279746573)};
	const uint8_t *p = data;
	uint8_t last[8] = {0};
	size_t left = length;

	for (; left >= 8; left -= 8, p += 8)
		siphash_take(v, le64_load(p));
	memcpy(last, p, left);
	last[7] = (uint8_t)length;
	siphash_take(v, le64_load(last));
	v[2] ^= 0xee;
	le64_store(ret, siphash_give(v));
	v[1] ^= 0xdd;
	le64_store(ret + 8, siphash_give(v));
}

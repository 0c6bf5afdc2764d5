#include "depot/mix.h"

#include <pthread.h>
#include <sys/random.h>

#include "lib/wire.h"

#define WORDS (CHUNK_ID_SIZE / 8)

static pthread_once_t mix_once = PTHREAD_ONCE_INIT;
static uint64_t mix_keys[2 * WORDS];

static void mix_init(void)
{
	/* Without randomness, which does not happen, tables work as well, only foreseeably. */
	if (getrandom(mix_keys, sizeof(mix_keys), 0) != sizeof(mix_keys))
		memset(mix_keys, 0x5a, sizeof(mix_keys));
}

/* Each word is multiplied by a secret of its own, to 128 bits: no choice of ids makes two
 * sums fall together more often than by chance. */
uint64_t mix_id(const uint8_t id[CHUNK_ID_SIZE])
{
	unsigned __int128 sum = 0;

	pthread_once(&mix_once, mix_init);
	for (size_t i = 0; i < WORDS; i++)
		sum += (unsigned __int128)(le64_load(id + 8 * i) ^ mix_keys[WORDS + i]) *
		       (mix_keys[i] | 1);
	return (uint64_t)sum ^ (uint64_t)(sum >> 64);
}

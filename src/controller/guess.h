/* Failed attempts to say who one is, counted by address: whoever has none of our secrets is not to
 * try many. */
#pragma once

#include "lib/error.h"

#define GUESS_ADDRESS_SIZE 8

struct guesses;

/* NULL when out of memory. For several threads. */
struct guesses *guesses_new(void);
struct guesses *guesses_free(struct guesses *g);
DEFINE_CLEANUP(struct guesses *, guesses_free)

/* Who is at the other end of a socket: an address of IPv4, a network (/64) of IPv6, or a user of
 * this machine. */
void guess_address(int fd, uint8_t ret[GUESS_ADDRESS_SIZE]);

/* One has failed, where there may be `max` a minute (0: any number). */
void guesses_add(struct guesses *g, const uint8_t address[], uint64_t max);

/* For how many seconds no more are taken from there; 0: they are. */
int guesses_wait_s(struct guesses *g, const uint8_t address[], uint64_t max);

/* Threads beside a program's main one, which alone hears signals. */
#pragma once

#include <pthread.h>

/* Starts one with all signals blocked. Returns 0 or negative errno. */
int thread_start(pthread_t *ret, void *(*run)(void *userdata), void *userdata);

/* The tap that a VM's card is connected to: a descriptor for each of its queues and, where the
 * host's kernel serves them itself (vhost-net), one of that for each. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Beyond it a card gains little, and each queue is two of the guest's interrupts. */
#define VM_QUEUES_MAX 8

struct vm_tap {
	int fds[VM_QUEUES_MAX]; /* with virtio headers */
	size_t count;           /* 0: there is no tap */
	int vhost_fds[VM_QUEUES_MAX];
	size_t vhost_count; /* 0, or as many as there are queues */
};

/* Takes one queue's descriptor, or vhost-net's. Returns false, and it stays the caller's, if there
 * is no room. */
bool vm_tap_add(struct vm_tap *tap, int fd);
bool vm_tap_add_vhost(struct vm_tap *tap, int fd);

/* Closes all but the first queue, to which the kernel then gives all frames. */
void vm_tap_keep_first(struct vm_tap *tap);

/* Closes what is vhost-net's. */
void vm_tap_drop_vhost(struct vm_tap *tap);

/* Closes all. */
void vm_tap_done(struct vm_tap *tap);

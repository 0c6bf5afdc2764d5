/* QEMU's user network: every guest is alone in it, so the addresses never clash.
 * Source: QEMU docs/system/devices/net.rst, "Using the user mode network stack". */
#pragma once

#define USERNET_ADDRESS    "10.0.2.15"
#define USERNET_PREFIX     24
#define USERNET_NETMASK    "255.255.255.0"
#define USERNET_GATEWAY    "10.0.2.2"
#define USERNET_NAMESERVER "10.0.2.3"

#!/bin/sh
# To a server on the host and back: throughput of one TCP connection each way, and the latency of small
# messages (half of there and back).
need iperf3 iperf3
[ "$QUICK" = 1 ] && seconds=2 || seconds=20
program_of iperf3
echo "size $seconds s each way"
# What has arrived counts, the receiver's sum.
throughput() {
	rate=$(iperf3 --client "$SERVER" --port "$IPERF_PORT" --time "$seconds" --connect-timeout 5000 --json "$@" </dev/null |
		sed -n '/"sum_received"/,/}/s/.*"bits_per_second":[^0-9]*\([0-9.e+]*\).*/\1/p' |
		awk '{ printf "%.2f\n", $1 / 1000000 }')
}
measured up throughput
figure up "$rate"
measured down throughput --reverse
figure down "$rate"
if ! command -v sockperf >/dev/null; then
	echo "missing sockperf sockperf"
	exit 0
fi
program_of sockperf
figure latency "$(sockperf ping-pong --tcp -i "$SERVER" -p "$SOCKPERF_PORT" -t "$seconds" --mps max 2>&1 |
	sed 's/\x1b\[[0-9;]*m//g' | sed -n 's/.*Summary: Latency is \([0-9.]*\) usec.*/\1/p')"

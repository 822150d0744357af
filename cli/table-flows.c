// SPDX-License-Identifier: Apache-2.0
/* The options of `flows` and `trace`, which filter by the same names. */
#include "command.h"

#define POD_FILTER(n, text) \
	{.name = n, .arg = "[NS/]POD", .help = text, .repeat = true, .complete = BN_COMPLETE_POD}
#define FILTER(n, a, text) {.name = n, .arg = a, .help = text, .repeat = true}
#define IDENTITY_FILTER(n, text) \
	{.name = n, \
	 .arg = "IDENTITY", \
	 .help = text, \
	 .repeat = true, \
	 .complete = BN_COMPLETE_WORDS_OPEN, \
	 .words = "unknown host world remote-node"}

#define IP_FILTERS \
	FILTER("ip", "IP|CIDR", "either end has this address"), \
		FILTER("from-ip", "IP|CIDR", "the source has"), \
		FILTER("to-ip", "IP|CIDR", "the destination has"), \
		FILTER("port", "PORT", "either end has this port"), \
		FILTER("from-port", "PORT", "the source has"), \
		FILTER("to-port", "PORT", "the destination has")

#define PROTOCOL_FILTER \
	{.name = "protocol", \
	 .arg = "PROTOCOL", \
	 .help = "tcp, udp, sctp, icmp (both families), icmpv4 or icmpv6", \
	 .repeat = true, \
	 .complete = BN_COMPLETE_WORDS, \
	 .words = "tcp udp sctp icmp icmpv4 icmpv6"}

#define REASON_FILTER \
	{.name = "drop-reason", \
	 .arg = "REASON", \
	 .help = "dropped for this reason, by its label; see bpfnet-flows(1)", \
	 .repeat = true, \
	 .complete = BN_COMPLETE_REASON}

#define NUMERIC_OPTION {.name = "numeric", .help = "addresses instead of names"}

#define COLOR_OPTION \
	{.name = "color", \
	 .arg = "WHEN", \
	 .help = "auto (the default: on a terminal without NO_COLOR), always or never", \
	 .complete = BN_COMPLETE_WORDS, \
	 .words = "auto always never"}

const struct bn_option bn_flows_options[] = {
	{.name = "follow", .letter = 'f', .help = "go on with flows as they happen, until Ctrl-C"},
	{.name = "last", .arg = "N", .help = "the last N flows that match (default: 20)"},
	{.name = "all", .help = "all flows that the agent keeps"},
	{.name = "since",
	 .arg = "TIME",
	 .help = "from then on: a span back (90s, 5m, 1h30m, 2d) or a time (2006-01-02T15:04:05Z, "
		 "'2006-01-02 15:04:05', 2006-01-02)"},
	{.name = "until", .arg = "TIME", .help = "up to then, written likewise"},
	POD_FILTER("pod", "either end is a pod whose name begins so (without NS: of 'default'); "
			  "NS/ is all of them"),
	POD_FILTER("from-pod", "the source is such a pod"),
	POD_FILTER("to-pod", "the destination is such a pod"),
	{.name = "namespace",
	 .letter = 'n',
	 .arg = "NS",
	 .help = "either end is in this namespace",
	 .repeat = true,
	 .complete = BN_COMPLETE_NAMESPACE},
	{.name = "from-namespace",
	 .arg = "NS",
	 .help = "the source is",
	 .repeat = true,
	 .complete = BN_COMPLETE_NAMESPACE},
	{.name = "to-namespace",
	 .arg = "NS",
	 .help = "the destination is",
	 .repeat = true,
	 .complete = BN_COMPLETE_NAMESPACE},
	{.name = "label",
	 .letter = 'l',
	 .arg = "SELECTOR",
	 .help = "either end has these labels: KEY, KEY=VALUE or KEY!=VALUE, several with commas",
	 .repeat = true},
	IP_FILTERS,
	IDENTITY_FILTER("identity", "either end has this identity, a number or one of the names"),
	IDENTITY_FILTER("from-identity", "the source has"),
	IDENTITY_FILTER("to-identity", "the destination has"),
	PROTOCOL_FILTER,
	{.name = "tcp-flags",
	 .arg = "FLAGS",
	 .help = "TCP with these flags, several with commas: of the packet, or, where a flow has "
		 "closed, of any packet of one direction",
	 .repeat = true,
	 .complete = BN_COMPLETE_WORDS_OPEN,
	 .words = "FIN SYN RST PSH ACK URG ECE CWR"},
	{.name = "verdict",
	 .arg = "VERDICT",
	 .help = "forwarded, dropped or audit",
	 .repeat = true,
	 .complete = BN_COMPLETE_WORDS,
	 .words = "forwarded dropped audit"},
	REASON_FILTER,
	{.name = "service",
	 .arg = "[NS/]NAME",
	 .help = "sent to a service whose name begins so",
	 .repeat = true,
	 .complete = BN_COMPLETE_SERVICE},
	{.name = "not", .help = "turns the next filter around", .repeat = true},
	{.name = "input",
	 .arg = "FILE",
	 .help = "stored flows, as -o json or jsonpb wrote them, instead of the agent's; - is standard "
		 "input",
	 .complete = BN_COMPLETE_FILE},
	{.name = "output",
	 .letter = 'o',
	 .arg = "FORMAT",
	 .help = "compact (a line for each flow, the default), table, wide, json (an object a line), "
		 "jsonpb (the same as Hubble's API wraps it), dict or yaml",
	 .complete = BN_COMPLETE_WORDS,
	 .words = "compact table wide json jsonpb dict yaml"},
	NUMERIC_OPTION,
	COLOR_OPTION,
	{0},
};

const struct bn_option bn_trace_options[] = {
	{.name = "write",
	 .letter = 'w',
	 .arg = "FILE",
	 .help = "no lines, but a file for Wireshark (pcapng), the line being the packet's comment; - "
		 "is standard output",
	 .complete = BN_COMPLETE_FILE},
	{.name = "count", .letter = 'c', .arg = "N", .help = "end after N packets"},
	POD_FILTER("pod", "either end is this pod (without NS: of 'default')"),
	POD_FILTER("from-pod", "the source is"),
	POD_FILTER("to-pod", "the destination is"),
	IP_FILTERS,
	PROTOCOL_FILTER,
	FILTER("tcp-flags", "FLAGS", "TCP with these flags, several with commas"),
	{.name = "verdict",
	 .arg = "VERDICT",
	 .help = "forwarded or dropped",
	 .repeat = true,
	 .complete = BN_COMPLETE_WORDS,
	 .words = "forwarded dropped"},
	REASON_FILTER,
	{.name = "output",
	 .letter = 'o',
	 .arg = "FORMAT",
	 .help = "compact (a line for each hook, the default) or json (an object a line)",
	 .complete = BN_COMPLETE_WORDS,
	 .words = "compact json"},
	NUMERIC_OPTION,
	COLOR_OPTION,
	{0},
};

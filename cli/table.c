// SPDX-License-Identifier: Apache-2.0
/*
 * The command table. What stands here is all that help, completion and manual pages know; a
 * command that is not here does not exist.
 */
#include "command.h"

#define KINDS "pods services endpointslices networkpolicies clusternetworkpolicies namespaces nodes"

const struct bn_option bn_common_options[] = {
	{.name = "run-dir",
	 .arg = "DIR",
	 .help = "the agent's run directory, which holds its socket (default: /run/bpfnet)",
	 .complete = BN_COMPLETE_FOLDER},
	{.name = "output",
	 .letter = 'o',
	 .arg = "FORMAT",
	 .help = "table (the default), wide, json or yaml",
	 .complete = BN_COMPLETE_WORDS,
	 .words = "table wide json yaml"},
	{.name = "no-headers", .help = "tables without their first line"},
	{.name = "help", .letter = 'h', .help = "explain the command"},
	{0},
};

static const struct bn_argument kind_name_args[] = {
	{.name = "KIND", .complete = BN_COMPLETE_WORDS, .words = KINDS},
	{.name = "NS/NAME", .optional = true, .complete = BN_COMPLETE_OBJECT},
	{0},
};

static const struct bn_argument pod_args[] = {
	{.name = "NS/POD", .complete = BN_COMPLETE_POD},
	{0},
};

static const struct bn_argument policy_args[] = {
	{.name = "[NS/]NAME", .complete = BN_COMPLETE_POLICY},
	{0},
};

static const struct bn_argument service_args[] = {
	{.name = "NS/NAME", .complete = BN_COMPLETE_SERVICE},
	{0},
};

#define NAMESPACE_OPTION(text) \
	{.name = "namespace", \
	 .letter = 'n', \
	 .arg = "NS", \
	 .help = text, \
	 .complete = BN_COMPLETE_NAMESPACE}

static const struct bn_option manifest_options[] = {
	{.name = "filename",
	 .letter = 'f',
	 .arg = "FILE",
	 .help = "a manifest, a folder of manifests (*.yaml, *.yml, *.json), or - for standard "
		 "input; may be given several times",
	 .repeat = true,
	 .complete = BN_COMPLETE_FILE},
	{0},
};

static const struct bn_option get_options[] = {
	NAMESPACE_OPTION("only this namespace"),
	{.name = "all-namespaces", .letter = 'A', .help = "all namespaces (the default)"},
	{0},
};

static const struct bn_option endpoint_add_options[] = {
	{.name = "netns",
	 .arg = "NAME|PATH",
	 .help = "the pod's network namespace: a name as 'ip netns' has it, or a path",
	 .complete = BN_COMPLETE_NETNS},
	{.name = "ip",
	 .arg = "IP",
	 .help = "an address of the pod; one for each family",
	 .repeat = true},
	{.name = "ifname",
	 .arg = "NAME",
	 .help = "the interface's name in the pod (default: eth0)"},
	{0},
};

static const struct bn_option namespace_options[] = {
	NAMESPACE_OPTION("only this namespace"),
	{0},
};

static const struct bn_option top_options[] = {
	{.name = "view",
	 .arg = "VIEW",
	 .help = "talkers (the default), services or drops",
	 .complete = BN_COMPLETE_WORDS,
	 .words = "talkers services drops"},
	{.name = "sort",
	 .arg = "COLUMN",
	 .help = "by flows, new, packets, out (the default), in, dropped (that of drops), total or "
		 "name",
	 .complete = BN_COMPLETE_WORDS,
	 .words = "flows new packets out in dropped total name"},
	{.name = "interval",
	 .arg = "SECONDS",
	 .help = "between readings, 0.1 to 3600 (default: 2)"},
	{.name = "once", .help = "one table, of one interval, and no screen"},
	{.name = "rows", .arg = "N", .help = "at most so many without a screen (default: 20)"},
	{0},
};

static const struct bn_command endpoint_commands[] = {
	{.name = "add",
	 .help = "attach a network namespace as a pod",
	 .text = "Makes a veth pair between the node and the namespace, loads programs and policy, "
		 "gives the pod's side its addresses and routes, and brings the node's side up last, "
		 "so that nothing passes undecided. Returns when every family works.\n\n"
		 "Where no Pod manifest has that name, it is a pod without labels; the manifest may "
		 "come later.",
	 .examples = "bpfnet endpoint add default/client --netns client --ip 10.0.0.2 --ip fd00::2",
	 .args = pod_args,
	 .options = endpoint_add_options,
	 .run = bn_cmd_endpoint_add},
	{.name = "delete",
	 .help = "detach a pod and remove its interface",
	 .args = pod_args,
	 .run = bn_cmd_endpoint_delete},
	{.name = "list", .help = "list the attached pods", .run = bn_cmd_endpoint_list},
	{0},
};

static const struct bn_command svc_commands[] = {
	{.name = "list",
	 .help = "list services, their frontends and how many backends serve them",
	 .options = namespace_options,
	 .run = bn_cmd_svc_list},
	{.name = "get",
	 .help = "show one service with the state of each backend",
	 .args = service_args,
	 .run = bn_cmd_svc_get},
	{0},
};

#define PROTOCOL_OPTION \
	{.name = "protocol", \
	 .arg = "PROTOCOL", \
	 .help = "tcp, udp, sctp or icmp; tcp if left out", \
	 .complete = BN_COMPLETE_WORDS, \
	 .words = "tcp udp sctp icmp"}

static const struct bn_option trace_options[] = {
	{.name = "from",
	 .arg = "NS/POD|IP",
	 .help = "who opens the flow",
	 .complete = BN_COMPLETE_POD},
	{.name = "to",
	 .arg = "NS/POD|IP",
	 .help = "to whom; an address may be a service's",
	 .complete = BN_COMPLETE_POD},
	{.name = "port", .arg = "PORT", .help = "the destination port, 1 to 65535"},
	PROTOCOL_OPTION,
	{0},
};

static const struct bn_argument why_args[] = {
	{.name = "NS/POD", .complete = BN_COMPLETE_POD},
	{.name = "NS/POD|NS/SERVICE|IP[:PORT]", .optional = true, .complete = BN_COMPLETE_POD},
	{0},
};

static const struct bn_option why_options[] = {
	{.name = "port", .arg = "PORT", .help = "the destination port, 1 to 65535"},
	PROTOCOL_OPTION,
	{0},
};

static const struct bn_command policy_commands[] = {
	{.name = "list",
	 .help = "list network policies, whom they select here and what they decided",
	 .options = namespace_options,
	 .run = bn_cmd_policy_list},
	{.name = "get",
	 .help = "show one network policy with the flows that each rule decided",
	 .text = "A name without a namespace is a ClusterNetworkPolicy's.",
	 .args = policy_args,
	 .run = bn_cmd_policy_get},
	{.name = "trace",
	 .help = "say what a flow's first packet would meet, and by which rule",
	 .text = "The datapath itself decides, on a packet that exists nowhere else, and nothing "
		 "changes: no flow, counter or hit. Exits with 0 whatever the verdict is.",
	 .examples =
		 "bpfnet policy trace --from default/client --to default/web-1 --port 8080 # pod to pod\n"
		 "bpfnet policy trace --from 192.0.2.7 --to 10.96.0.10 --port 53 --protocol udp # service\n",
	 .options = trace_options,
	 .run = bn_cmd_policy_trace},
	{0},
};

static const struct bn_command ct_commands[] = {
	{.name = "list", .help = "list the flow table, one flow a line", .run = bn_cmd_ct_list},
	{0},
};

static const struct bn_command nat_commands[] = {
	{.name = "list", .help = "list translated flows, one a line", .run = bn_cmd_nat_list},
	{0},
};

static const struct bn_command map_commands[] = {
	{.name = "list",
	 .help = "list the datapath's maps, how full they are and what they take",
	 .run = bn_cmd_map_list},
	{.name = "audit",
	 .help = "compare the maps and programs with what is wanted and put right what differs",
	 .text = "bpfnetd does so by itself every ten minutes (audit.interval in bpfnetd(8)). Nothing "
		 "should ever differ: what does was changed by something else than bpfnetd. Entries "
		 "are counted as missing, wrong or extra before they are put right, and as failed "
		 "where they could not be.\n\n"
		 "Exit code: 0 all is as wanted now; 1 it is not.",
	 .run = bn_cmd_map_audit},
	{0},
};

static const struct bn_argument command_args[] = {
	{.name = "COMMAND", .optional = true, .repeat = true, .complete = BN_COMPLETE_COMMAND},
	{0},
};

static const struct bn_argument shell_args[] = {
	{.name = "SHELL", .complete = BN_COMPLETE_WORDS, .words = "bash zsh fish"},
	{0},
};

static const struct bn_argument page_args[] = {
	{.name = "PAGE", .optional = true},
	{0},
};

static const struct bn_argument word_args[] = {
	{.name = "WORD", .optional = true, .repeat = true},
	{0},
};

static const struct bn_command commands[] = {
	{.name = "apply",
	 .help = "create or change objects from manifests",
	 .text = "Manifests are Kubernetes' own, YAML or JSON, many documents to a file. All of a "
		 "call takes effect or none of it; the command returns when the datapath has it, and "
		 "prints what became of each object: created, configured or unchanged.",
	 .examples = "bpfnet apply -f web.yaml\nkubectl get svc -o yaml | bpfnet apply -f -",
	 .options = manifest_options,
	 .run = bn_cmd_apply},
	{.name = "delete",
	 .help = "delete the objects that manifests name",
	 .text = "All of a call is deleted or none of it; the command returns when the datapath has "
		 "let go of them.",
	 .examples = "bpfnet delete -f web.yaml",
	 .options = manifest_options,
	 .run = bn_cmd_delete},
	{.name = "get",
	 .help = "show objects",
	 .text = "Kinds: pods (po), services (svc), endpointslices, networkpolicies (netpol), "
		 "clusternetworkpolicies (cnp), namespaces (ns), nodes (no). A name without a namespace is looked for in the one "
		 "that -n names, else in 'default'. With -o yaml or json the output can be applied "
		 "again.",
	 .examples = "bpfnet get services\nbpfnet get service default/web -o yaml\n"
		     "bpfnet get pods -n kube-system -o wide",
	 .args = kind_name_args,
	 .options = get_options,
	 .run = bn_cmd_get},
	{.name = "endpoint", .help = "attach and detach pods", .commands = endpoint_commands},
	{.name = "svc", .help = "services as the datapath has them", .commands = svc_commands},
	{.name = "policy",
	 .help = "network policies as they are enforced",
	 .commands = policy_commands},
	{.name = "flows",
	 .help = "show flows and drops",
	 .text = "Shows what the datapath decided: a line when a flow opens, one when it closes, one "
		 "for each drop with its reason. Without --last, --since, --until or --follow these "
		 "are the last 20; with --follow alone only those to come.\n\n"
		 "Filters: values of one filter are alternatives, different filters must all match.\n\n"
		 "With --input, no agent is asked: all flows of the file that match are shown, or the "
		 "--last N of them. Lines that are no flows are named and left out, and make the exit "
		 "code 1.\n\n"
		 "Ctrl-C ends it, and so does a reader that closes the pipe, with exit code 0.",
	 .examples = "bpfnet flows -f --pod default/client\n"
		     "bpfnet flows --since 5m --verdict dropped --not --protocol icmp\n"
		     "bpfnet flows -f --service default/web -o json > flows.json\n"
		     "bpfnet flows --input flows.json --tcp-flags RST -o table",
	 .options = bn_flows_options,
	 .run = bn_cmd_flows},
	{.name = "trace",
	 .help = "show every packet of a filter and the way that it takes through the datapath",
	 .text = "A line for each hook that a packet passes, with what the datapath did with it there: "
		 "passed (to whatever comes next: tc behind XDP, the node's stack, the device), "
		 "delivered (into a pod here), redirected (out of a device), injected (into a device's "
		 "ingress), sent-back (by the driver), dropped, or answered in its place. Lines of one "
		 "packet have one number. The source is the one that it "
		 "came with, the destination the one that it leaves with; the address of a service "
		 "stands behind them.\n\n"
		 "Values of one filter are alternatives, different filters must all match. A translated "
		 "packet is found under the addresses before and behind the translation.\n\n"
		 "With --write the first 128 bytes of each, as it came to the hook, go to a file that "
		 "Wireshark and tshark read: the devices' names, direction, number (frame.packet_id), "
		 "verdict, and as the packet's comment the line. '--verdict dropped' has the drops of "
		 "the node, each with its reason.\n\n"
		 "While it runs, packets go through other programs, which cost more; otherwise nobody "
		 "pays for it. For each trace at most 2000 records a second and CPU are told, the rest "
		 "is counted. Eight traces may run at once. Only root may trace.",
	 .examples = "bpfnet trace --pod default/client --port 80\n"
		     "bpfnet trace --verdict dropped -w drops.pcapng\n"
		     "bpfnet trace --ip 10.96.0.10 --tcp-flags SYN -c 10 -o json\n"
		     "bpfnet trace --protocol icmp -w - | tshark -r -",
	 .options = bn_trace_options,
	 .run = bn_cmd_trace},
	{.name = "top",
	 .help = "show live who talks to whom, services, and drops",
	 .text = "A table that fills the screen: pairs of pods, services, or reasons of drops, with "
		 "what they did in the last interval. Rates are those of whole flows: what a flow that "
		 "came and went in between has carried is counted too. OUT is what the side sends that "
		 "opened the flow, IN what comes back.\n\n"
		 "Keys: t, s, d or Tab for the view, < and > or the arrows for the column that is sorted "
		 "by, r to turn the order round, space to pause, + and - for the interval, j and k to "
		 "move, h for help, q to quit.\n\n"
		 "Without a terminal, with --once and with -o json the table is printed each interval "
		 "instead; JSON is one object a line. Drops are the recorded ones: of more than drop-rate "
		 "a second for one reason, 'bpfnet metrics' has the exact count.",
	 .examples = "bpfnet top\n"
		     "bpfnet top --view drops --interval 1\n"
		     "bpfnet top --once --view services --sort new -o json",
	 .options = top_options,
	 .run = bn_cmd_top},
	{.name = "why",
	 .help = "say what is wrong with a pod, or between it and another end, and what to do",
	 .text = "Walks the layers that a person would, and looks at each where it is in force: the "
		 "pod is known, its interface is up at both ends and has the programs, its addresses "
		 "and the routes are there, the MTU fits; the destination exists, and as a service has "
		 "ready backends; policy of either end lets the flow pass, asked of the datapath "
		 "itself as 'policy trace' does; what was dropped lately; the node is not degraded. "
		 "The last line says in a sentence what is wrong first and what to do.\n\n"
		 "The first argument is a pod of this node, who opens the flow. The second one is a pod, "
		 "a service (svc/NS/SERVICE where a pod has that name too), or an address, IPv6 with a "
		 "port in brackets. Without --port a service is asked about on all of its ports, and a "
		 "pod on those by which services know it.\n\n"
		 "Exit code: 0 nothing is wrong; 1 something is.",
	 .examples = "bpfnet why default/client\n"
		     "bpfnet why default/client default/web # a pod or a service\n"
		     "bpfnet why default/client shop/db-0 --port 5432\n"
		     "bpfnet why default/client '[2001:db8::1]:443'",
	 .args = why_args,
	 .options = why_options,
	 .run = bn_cmd_why},
	{.name = "ct", .help = "the flow table", .commands = ct_commands},
	{.name = "nat", .help = "address translation", .commands = nat_commands},
	{.name = "map", .help = "the datapath's maps", .commands = map_commands},
	{.name = "metrics",
	 .help = "print the agent's metrics as Prometheus text",
	 .run = bn_cmd_metrics},
	{.name = "status",
	 .help = "say whether the node works as configured",
	 .text = "Exit code: 0 live, with all that is configured in force; 1 no agent, or still "
		 "starting; 3 degraded, with the reasons.",
	 .run = bn_cmd_status},
	{.name = "config", .help = "print the configuration in force", .run = bn_cmd_config},
	{.name = "version", .help = "print versions", .run = bn_cmd_version},
	{.name = "completion",
	 .help = "print a shell's completion script",
	 .examples = "bpfnet completion bash > /etc/bash_completion.d/bpfnet",
	 .args = shell_args,
	 .run = bn_cmd_completion},
	{.name = "help", .help = "explain a command", .args = command_args, .run = bn_cmd_help},
	{.name = "man",
	 .help = "print a manual page, or the list of pages",
	 .args = page_args,
	 .hidden = true,
	 .run = bn_cmd_man},
	{.name = "__complete",
	 .help = "complete the last word",
	 .args = word_args,
	 .hidden = true,
	 .run = bn_cmd_complete},
	{0},
};

const struct bn_command bn_root = {
	.name = "bpfnet",
	.help = "Services, policy and flows of this node, from its agent bpfnetd",
	.commands = commands,
};

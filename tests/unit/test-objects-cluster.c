// SPDX-License-Identifier: Apache-2.0
/*
 * ClusterNetworkPolicy manifests: what is refused, with the one line that says so, and what the
 * accepted ones mean.
 */
#include "policy-text.h"

#define HEAD(meta) \
	"apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: " meta \
	"\n"
#define P HEAD("{name: p}") "spec: "
#define BASE "tier: Admin, priority: 10"
#define SUBJECT(s) P "{" BASE ", subject: " s "}"
#define SPEC(s) P "{" BASE ", subject: {namespaces: {}}, " s "}"
#define IN(rule) SPEC("ingress: [" rule "]")
#define OUT(rule) SPEC("egress: [" rule "]")
#define FROM(peer) IN("{action: Deny, from: [" peer "]}")
#define TO(peer) OUT("{action: Deny, to: [{namespaces: {}}, " peer "]}")
#define PROTOCOL(p) IN("{action: Pass, from: [{namespaces: {}}], protocols: [" p "]}")
#define AT "in: document 1: spec."
#define RULE0 AT "ingress[0]"
#define FROM0 RULE0 ".from[0]"
#define TO1 AT "egress[0].to[1]"
#define PROTOCOL0 RULE0 ".protocols[0]"
#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define RULE "{action: Deny, from: [{namespaces: {}}]}, "
#define RULES5 RULE RULE RULE RULE RULE
#define NET(n) "10." #n ".0.0/16, "
#define NETS5(n) NET(n##0) NET(n##1) NET(n##2) NET(n##3) NET(n##4)
#define ONE_OF_FROM " must have one of namespaces, pods"
#define ONE_OF_TO " must have one of namespaces, pods, networks, nodes, domainNames"

static const struct {
	const char *text, *message;
} refused[] = {
	/* names */
	{HEAD("{name: P}") "spec: {}",
	 "in: document 1: metadata.name: \"P\" must be at most 253 lower-case letters, digits, '-' and "
	 "'.', a letter or digit at both ends of every part"},
	{HEAD("{name: p, namespace: default}") "spec: {}",
	 "in: document 1: metadata.namespace: a ClusterNetworkPolicy has no namespace"},
	{"apiVersion: policy.networking.k8s.io/v1alpha1\nkind: ClusterNetworkPolicy\nmetadata: {name: p}",
	 "in: document 1: apiVersion: \"policy.networking.k8s.io/v1alpha1\" is not known for "
	 "ClusterNetworkPolicy, use policy.networking.k8s.io/v1alpha2"},
	/* the policy */
	{HEAD("{name: p}"), "in: document 1: spec: is required"},
	{P "[]", "in: document 1: spec: must be a mapping, not a list"},
	{P "{priority: 1, subject: {namespaces: {}}}", AT "tier: is required"},
	{P "{tier: admin, priority: 1, subject: {namespaces: {}}}",
	 AT "tier: \"admin\" is not one of Admin, Baseline"},
	{P "{tier: NetworkPolicy, priority: 1, subject: {namespaces: {}}}",
	 AT "tier: \"NetworkPolicy\" is not one of Admin, Baseline"},
	{P "{tier: 1, priority: 1, subject: {namespaces: {}}}",
	 AT "tier: must be a string, not an integer"},
	{P "{tier: Admin, subject: {namespaces: {}}}", AT "priority: is required"},
	{P "{tier: Admin, priority: -1, subject: {namespaces: {}}}",
	 AT "priority: must be 0 to 1000, not -1"},
	{P "{tier: Admin, priority: 1001, subject: {namespaces: {}}}",
	 AT "priority: must be 0 to 1000, not 1001"},
	{P "{tier: Admin, priority: '1', subject: {namespaces: {}}}",
	 AT "priority: must be an integer, not a string"},
	/* unknown fields */
	{P "{" BASE ", subject: {namespaces: {}}}\nspecs: {}",
	 "in: document 1: specs: is not a field here, only apiVersion, kind, metadata, spec, status "
	 "are"},
	{SPEC("ingres: []"),
	 AT "ingres: is not a field here, only tier, priority, subject, ingress, "
	    "egress are"},
	{SUBJECT("{namespaces: {}, pod: {}}"),
	 AT "subject.pod: is not a field here, only namespaces, pods are"},
	{SUBJECT("{namespaces: {matchLabel: {a: b}}}"), AT
	 "subject.namespaces.matchLabel: is not a field here, only matchLabels, matchExpressions "
	 "are"},
	{SUBJECT("{pods: {podSelector: {}, namespaceSelecter: {}}}"), AT
	 "subject.pods.namespaceSelecter: is not a field here, only namespaceSelector, podSelector "
	 "are"},
	{FROM("{namespaces: {}, networks: [10.0.0.0/8]}"),
	 FROM0 ".networks: is not a field here, only namespaces, pods are"},
	{PROTOCOL("{tcp: {destinationPort: {number: 1}, sourcePort: {number: 2}}}"),
	 PROTOCOL0 ".tcp.sourcePort: is not a field here, only destinationPort is"},
	{PROTOCOL("{tcp: {destinationPort: {number: 1, end: 2}}}"),
	 PROTOCOL0 ".tcp.destinationPort.end: is not a field here, only number, range are"},
	{PROTOCOL("{tcp: {destinationPort: {range: {start: 1, end: 2, step: 2}}}}"),
	 PROTOCOL0 ".tcp.destinationPort.range.step: is not a field here, only start, end are"},
	/* the subject */
	{P "{" BASE "}", AT "subject: is required"},
	{SUBJECT("[]"), AT "subject: must be a mapping, not a list"},
	{SUBJECT("{}"), AT "subject:" ONE_OF_FROM},
	{SUBJECT("{nodes: {}}"), AT "subject:" ONE_OF_FROM},
	{SUBJECT("{namespaces: null}"), AT "subject:" ONE_OF_FROM},
	{SUBJECT("{namespaces: {}, pods: {podSelector: {}}}"),
	 AT "subject.pods: must not stand beside namespaces"},
	{SUBJECT("{namespaces: []}"), AT "subject.namespaces: must be a mapping, not a list"},
	{SUBJECT("{namespaces: {matchExpressions: [{key: a, operator: In}]}}"),
	 AT "subject.namespaces.matchExpressions[0].values: must name a value for the operator In"},
	{SUBJECT("{pods: app}"), AT "subject.pods: must be a mapping, not a string"},
	{SUBJECT("{pods: {namespaceSelector: {}}}"), AT "subject.pods.podSelector: is required"},
	{SUBJECT("{pods: {podSelector: {matchLabels: {a: 1}}}}"),
	 AT "subject.pods.podSelector.matchLabels.a: must be a string, not an integer"},
	/* rules */
	{SPEC("ingress: {}"), AT "ingress: must be a list, not a mapping"},
	{SPEC("ingress: [" RULES5 RULES5 RULES5 RULES5 RULES5 RULE "]"),
	 AT "ingress: has 26 items, at most 25 are allowed"},
	{SPEC("egress: [null]"), AT "egress[0]: is required"},
	{IN("[]"), RULE0 ": must be a mapping, not a list"},
	{IN("{from: [{namespaces: {}}]}"), RULE0 ".action: is required"},
	{IN("{action: Allow, from: [{namespaces: {}}]}"),
	 RULE0 ".action: \"Allow\" is not one of Accept, Deny, Pass"},
	{IN("{action: deny, from: [{namespaces: {}}]}"),
	 RULE0 ".action: \"deny\" is not one of Accept, Deny, Pass"},
	{IN("{action: Deny, name: 1, from: [{namespaces: {}}]}"),
	 RULE0 ".name: must be a string, not an integer"},
	{IN("{action: Deny, name: x" HUNDRED ", from: [{namespaces: {}}]}"),
	 RULE0 ".name: has 101 characters, at most 100 are allowed"},
	{IN("{action: Deny}"), RULE0 ".from: is required"},
	{IN("{action: Deny, to: [{namespaces: {}}]}"),
	 RULE0 ".to: is not a field here, only name, action, from, protocols are"},
	{IN("{action: Deny, from: []}"), RULE0 ".from: must have an item"},
	{OUT("{action: Deny}"), AT "egress[0].to: is required"},
	{OUT("{action: Deny, from: [{namespaces: {}}]}"),
	 AT "egress[0].from: is not a field here, only name, action, to, protocols are"},
	/* peers */
	{FROM("null"), FROM0 ": is required"},
	{FROM("{}"), FROM0 ":" ONE_OF_FROM},
	{FROM("{networks: [10.0.0.0/8]}"), FROM0 ":" ONE_OF_FROM},
	{FROM("{namespaces: {}, pods: {podSelector: {}}}"),
	 FROM0 ".pods: must not stand beside namespaces"},
	{FROM("{pods: {}}"), FROM0 ".pods.podSelector: is required"},
	{TO("{}"), TO1 ":" ONE_OF_TO},
	{TO("{pods: {podSelector: {}}, networks: [10.0.0.0/8]}"),
	 TO1 ".networks: must not stand beside pods"},
	{TO("{networks: []}"), TO1 ".networks: must have an item"},
	{TO("{networks: 10.0.0.0/8}"), TO1 ".networks: must be a list, not a string"},
	{TO("{networks: [10.0.0.0/8, 10.0.0.1]}"),
	 TO1 ".networks[1]: \"10.0.0.1\" is not a CIDR, ADDRESS/PREFIX"},
	{TO("{networks: [10.0.0.0/8, 'fd00::/8', 10.0.0.0/8]}"),
	 TO1 ".networks[2]: stands here twice"},
	{TO("{networks: [" NETS5(1) NETS5(2) NETS5(3) NETS5(4) NETS5(5) NET(60) "]}"),
	 TO1 ".networks: has 26 items, at most 25 are allowed"},
	{TO("{domainNames: [example.com]}"), TO1 ".domainNames: is not supported"},
	{FROM("{nodes: {}}"), FROM0 ":" ONE_OF_FROM},
	{TO("{nodes: {}, namespaces: {}}"), TO1 ".nodes: must not stand beside namespaces"},
	{TO("{nodes: [n1]}"), TO1 ".nodes: must be a mapping, not a list"},
	{OUT("{action: Deny, to: [{nodes: {}}], protocols: [{destinationNamedPort: http}]}"),
	 AT "egress[0].protocols[0]: destinationNamedPort must not be used with peers that are no "
	    "pods"},
	/* protocols */
	{IN("{action: Pass, from: [{namespaces: {}}], protocols: []}"),
	 RULE0 ".protocols: must have an item"},
	{PROTOCOL("null"), PROTOCOL0 ": is required"},
	{PROTOCOL("{}"), PROTOCOL0 ": must have one of tcp, udp, sctp, destinationNamedPort"},
	{PROTOCOL("{tcp: {destinationPort: {number: 1}}, udp: {destinationPort: {number: 1}}}"),
	 PROTOCOL0 ".udp: must not stand beside tcp"},
	{PROTOCOL("{tcp: 80}"), PROTOCOL0 ".tcp: must be a mapping, not an integer"},
	{PROTOCOL("{tcp: {}}"), PROTOCOL0 ".tcp.destinationPort: is required"},
	{PROTOCOL("{udp: {destinationPort: {}}}"),
	 PROTOCOL0 ".udp.destinationPort: must have one of number, range"},
	{PROTOCOL("{udp: {destinationPort: {number: 1, range: {start: 1, end: 2}}}}"),
	 PROTOCOL0 ".udp.destinationPort.range: must not stand beside number"},
	{PROTOCOL("{sctp: {destinationPort: {number: 0}}}"),
	 PROTOCOL0 ".sctp.destinationPort.number: must be 1 to 65535, not 0"},
	{PROTOCOL("{tcp: {destinationPort: {range: {start: 1}}}}"),
	 PROTOCOL0 ".tcp.destinationPort.range.end: is required"},
	{PROTOCOL("{tcp: {destinationPort: {range: {start: 2, end: 2}}}}"),
	 PROTOCOL0 ".tcp.destinationPort.range.end: 2 is not greater than the start, 2"},
	{PROTOCOL("{tcp: {destinationPort: {range: {start: 2, end: 65536}}}}"),
	 PROTOCOL0 ".tcp.destinationPort.range.end: must be 1 to 65535, not 65536"},
	{PROTOCOL("{destinationNamedPort: HTTP}"), PROTOCOL0
	 ".destinationNamedPort: \"HTTP\" must be at most 15 lower-case letters, digits and "
	 "single '-', with a letter"},
	{OUT("{action: Deny, to: [{namespaces: {}}, {networks: [10.0.0.0/8]}], protocols: [{tcp: "
	     "{destinationPort: {number: 1}}}, {destinationNamedPort: http}]}"),
	 AT "egress[0].protocols[1]: destinationNamedPort must not be used with peers that are no "
	    "pods"},
};

static void test_refused(void **state)
{
	struct rig rig;

	rig_setup(&rig);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		rig_refuse(&rig, refused[i].text, refused[i].message);
	rig_teardown(&rig);
}

static void told(void *user, const struct bn_change *change)
{
	static const char *const tiers[] = {"NetworkPolicy", "Admin", "Baseline"};
	FILE *f = user;

	for (size_t i = 0; i < change->n_policies_removed; i++)
		fprintf(f, "%s/%s gone", change->policies_removed[i].namespace,
			change->policies_removed[i].name);
	for (size_t i = 0; i < change->n_policies; i++) {
		const struct bn_policy_spec *spec = &change->policies[i];

		assert_string_equal(spec->namespace, "");
		assert_string_equal(spec->name, "p");
		fprintf(f, "%s %u ", tiers[spec->tier], spec->priority);
		print_selector(f, "namespaces", &spec->namespaces);
		print_policy(f, spec);
	}
}

#define ALL "Admin 10 namespaces{}pods{}"

static const struct {
	const char *text, *want;
} accepted[] = {
	{SUBJECT("{namespaces: {}}"), ALL},
	{P "{tier: Baseline, priority: 0, subject: {namespaces: {matchLabels: {a: b}}}}",
	 "Baseline 0 namespaces{a=b}pods{}"},
	{P "{tier: Admin, priority: 1000, subject: {pods: {podSelector: {matchLabels: {a: b}}}}}",
	 "Admin 1000 namespaces{}pods{a=b}"},
	{SUBJECT("{pods: {podSelector: {matchLabels: {a: b}}, namespaceSelector: {matchLabels: {c: "
		 "d}}}}"),
	 "Admin 10 namespaces{c=d}pods{a=b}"},
	/* rules */
	{SPEC("ingress: [], egress: null"), ALL},
	{SPEC("ingress: [" RULES5 RULES5 RULES5 RULES5 RULES5 "]"),
	 ALL " ingress Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)"
	     "Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)"
	     "Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)"
	     "Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)"
	     "Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)"
	     "Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)"
	     "Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)"
	     "Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)Deny(pods{}namespaces{}:)"
	     "Deny(pods{}namespaces{}:)"},
	{IN("{action: Accept, name: '', from: [{namespaces: {matchLabels: {a: b}}}, {pods: "
	    "{podSelector: {matchLabels: {c: d}}}}]}, {action: Pass, name: over to you, from: "
	    "[{namespaces: {}}]}"),
	 ALL " ingress (pods{}namespaces{a=b} pods{c=d}namespaces{}:)Pass over to you("
	     "pods{}namespaces{}:)"},
	/* characters, not bytes */
	{IN("{action: Deny, name: '\303\244" TEN TEN TEN TEN TEN TEN TEN TEN TEN
	    "012345678', from: "
	    "[{namespaces: {}}]}"),
	 ALL " ingress Deny \303\244" TEN TEN TEN TEN TEN TEN TEN TEN TEN "012345678("
	     "pods{}namespaces{}:)"},
	{OUT("{action: Deny, to: [{networks: [10.1.2.3/8, 'fd00::/8']}, {pods: {podSelector: {}}}]}"),
	 ALL " egress Deny(10.0.0.0/8 fd00::/8 pods{}namespaces{}:)"},
	{OUT("{action: Accept, to: [{nodes: {matchLabels: {a: b}}}, {nodes: {}}]}"),
	 ALL " egress (nodes{a=b} nodes{}:)"},
	/* protocols */
	{PROTOCOL(
		 "{tcp: {destinationPort: {number: 80}}}, {udp: {destinationPort: {range: {start: 1, "
		 "end: 65535}}}}, {sctp: {destinationPort: {range: {start: 7, end: 8}}}}, "
		 "{destinationNamedPort: http}"),
	 ALL " ingress Pass(pods{}namespaces{}: 6/80 17/1-65535 132/7-8 0/http)"},
};

static void test_accepted(void **state)
{
	struct rig rig;

	rig_setup(&rig);
	for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
		char *text = NULL;
		size_t size = 0;
		FILE *f = open_memstream(&text, &size);

		rig.told = told;
		rig.told_user = f;
		rig_apply(&rig, accepted[i].text, "clusternetworkpolicy p created");
		rig_apply(&rig, accepted[i].text, "clusternetworkpolicy p unchanged");
		rig_delete(&rig, accepted[i].text, "clusternetworkpolicy p deleted");
		rig.told = NULL;
		fputc(0, f);
		fclose(f);
		assert_true(size > strlen("/p gone") + 1);
		assert_string_equal(text + strlen(text) - strlen("/p gone"), "/p gone");
		text[strlen(text) - strlen("/p gone")] = 0;
		if (strcmp(text, accepted[i].want))
			fail_msg("%s\nis     %s\nshould %s", accepted[i].text, text,
				 accepted[i].want);
		free(text);
	}
	rig_teardown(&rig);
}

/* Beside a NetworkPolicy of the same name, and whatever becomes of namespaces. */
static void test_get(void **state)
{
	struct bn_error err = BN_ERROR_INIT;
	json_t *list = NULL;
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig, IN("{action: Deny, from: [{namespaces: {}}]}"),
		  "clusternetworkpolicy p created");
	rig_apply(&rig,
		  "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}",
		  "networkpolicy default/p created");
	rig_apply(&rig, "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}",
		  "namespace default created");
	rig_delete(&rig, "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}",
		   "namespace default deleted\nnetworkpolicy default/p deleted");
	assert_int_equal(bn_objects_get(rig.objects, "netpol", "default", "p", &list, &err),
			 -ENOENT);
	bn_error_done(&err);
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = {
			"cnp", "ClusterNetworkPolicy",
			"clusternetworkpolicies.policy.networking.k8s.io"};

		assert_int_equal(bn_objects_get(rig.objects, names[i], NULL, "p", &list, &err), 0);
		assert_int_equal(json_array_size(list), 1);
		json_decref(list);
	}
	rig_teardown(&rig);
}

static void told_nodes(void *user, const struct bn_change *change)
{
	char addr[BN_ADDR_STRLEN];
	FILE *f = user;

	for (size_t i = 0; i < change->n_nodes; i++) {
		const struct bn_node_spec *node = &change->nodes[i];

		fprintf(f, "%s", node->name);
		for (size_t k = 0; k < node->n_labels; k++)
			fprintf(f, " %s=%s", node->labels[k].key, node->labels[k].value);
		for (size_t k = 0; k < node->n_ips; k++)
			fprintf(f, " %s", bn_addr_format(&node->ips[k], addr));
		fputs("; ", f);
	}
}

#define NODE(name, labels) \
	"apiVersion: v1\nkind: Node\nmetadata: {name: " name ", labels: " labels "}\nstatus: " \
	"{addresses: [{type: InternalIP, address: 192.0.2.1}]}"

/* Of other nodes policy is told the labels, also where nothing else changes. */
static void test_nodes(void **state)
{
	char *text = NULL;
	struct rig rig;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	rig_setup(&rig);
	rig.told = told_nodes;
	rig.told_user = f;
	rig_apply(&rig, NODE("n9", "{}"), "node n9 created");
	rig_apply(&rig, NODE("n9", "{a: b}"), "node n9 configured");
	rig_apply(&rig, NODE("n9", "{a: b}"), "node n9 unchanged");
	rig_delete(&rig, NODE("n9", "{a: b}"), "node n9 deleted");
	rig_apply(&rig, NODE("node-a", "{a: b}"), "node node-a created");
	fclose(f);
	rig.told = NULL;
	assert_string_equal(text, "n9 192.0.2.1; n9 a=b 192.0.2.1; n9; ");
	free(text);
	rig_teardown(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

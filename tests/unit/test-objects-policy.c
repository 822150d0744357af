// SPDX-License-Identifier: Apache-2.0
/*
 * NetworkPolicy manifests: what is refused, with the one line that says so, and what the accepted
 * ones mean, defaults included.
 */
#include "policy-text.h"

#include <sqlite3.h>

#define P "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: "
#define NAMED(name) \
	"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: " name "\nspec: {}"
#define SELECTOR(s) P "{podSelector: " s "}"
#define EXPRESSION(e) SELECTOR("{matchExpressions: [" e "]}")
#define FROM(peer) P "{podSelector: {}, ingress: [{from: [" peer "]}]}"
#define TO(peer) P "{podSelector: {}, egress: [{}, {to: [{podSelector: {}}, " peer "]}]}"
#define BLOCK(b) FROM("{ipBlock: " b "}")
#define PORT(p) P "{podSelector: {}, ingress: [{ports: [{port: 1}, " p "]}]}"
#define AT "in: document 1: spec."
#define FROM0 AT "ingress[0].from[0]"
#define PORT1 AT "ingress[0].ports[1]"
#define LABEL_VALUE \
	" must be empty or at most 63 letters, digits, '-', '_' and '.', a letter or digit at " \
	"both ends"
#define LABEL_KEY \
	" must be a name of at most 63 letters, digits, '-', '_' and '.', optionally after a DNS " \
	"name and '/'"
#define NAME \
	" must be at most 253 lower-case letters, digits, '-' and '.', a letter or digit at both " \
	"ends of every part"
#define SPEC_FIELDS "podSelector, ingress, egress, policyTypes"
#define CIDR " is not a CIDR, ADDRESS/PREFIX"

static const struct {
	const char *text, *message;
} refused[] = {
	/* names */
	{NAMED("{}"), "in: document 1: metadata.name: is required"},
	{NAMED("{name: P}"), "in: document 1: metadata.name: \"P\"" NAME},
	{NAMED("{name: a_b}"), "in: document 1: metadata.name: \"a_b\"" NAME},
	{NAMED("{name: a, namespace: A}"),
	 "in: document 1: metadata.namespace: \"A\" must be at most 63 lower-case letters, digits "
	 "and '-', a letter or digit at both ends"},
	{NAMED("{name: a, labels: {a: 1}}"),
	 "in: document 1: metadata.labels.a: must be a string, not an integer"},
	/* shapes */
	{P "[]", "in: document 1: spec: must be a mapping, not a list"},
	{SELECTOR("[]"), AT "podSelector: must be a mapping, not a list"},
	{SELECTOR("app"), AT "podSelector: must be a mapping, not a string"},
	{P "{ingress: {}}", AT "ingress: must be a list, not a mapping"},
	{P "{egress: true}", AT "egress: must be a list, not a boolean"},
	{P "{ingress: [null]}", AT "ingress[0]: is required"},
	{P "{egress: [{}, []]}", AT "egress[1]: must be a mapping, not a list"},
	{P "{ingress: [{from: {}}]}", AT "ingress[0].from: must be a list, not a mapping"},
	{P "{ingress: [{from: [null]}]}", FROM0 ": is required"},
	{P "{egress: [{to: [a]}]}", AT "egress[0].to[0]: must be a mapping, not a string"},
	{P "{ingress: [{ports: 80}]}", AT "ingress[0].ports: must be a list, not an integer"},
	{P "{ingress: [{ports: [80]}]}",
	 AT "ingress[0].ports[0]: must be a mapping, not an integer"},
	{P "{ingress: [{ports: [null]}]}", AT "ingress[0].ports[0]: is required"},
	/* unknown fields: what a slip of the pen would open or shut */
	{P "{}\nspecs: {}",
	 "in: document 1: specs: is not a field here, only apiVersion, kind, metadata, spec, status "
	 "are"},
	{P "{podSelecter: {}}", AT "podSelecter: is not a field here, only " SPEC_FIELDS " are"},
	{P "{podSelector: {}, ingres: []}",
	 AT "ingres: is not a field here, only " SPEC_FIELDS " are"},
	{P "{podSelector: {}, Egress: null}",
	 AT "Egress: is not a field here, only " SPEC_FIELDS " are"},
	{P "{podSelector: {}, ingress: [{form: []}]}",
	 AT "ingress[0].form: is not a field here, only from, ports are"},
	{P "{podSelector: {}, ingress: [{}, {to: []}]}",
	 AT "ingress[1].to: is not a field here, only from, ports are"},
	{P "{podSelector: {}, egress: [{from: []}]}",
	 AT "egress[0].from: is not a field here, only to, ports are"},
	{FROM("{podSelector: {}, namespaceSelecter: {}}"), FROM0
	 ".namespaceSelecter: is not a field here, only podSelector, namespaceSelector, ipBlock "
	 "are"},
	{BLOCK("{cidr: 10.0.0.0/8, exept: [10.1.0.0/16]}"),
	 FROM0 ".ipBlock.exept: is not a field here, only cidr, except are"},
	{PORT("{port: 80, endport: 90}"),
	 PORT1 ".endport: is not a field here, only protocol, port, endPort are"},
	{SELECTOR("{matchLabel: {a: b}}"),
	 AT "podSelector.matchLabel: is not a field here, only matchLabels, matchExpressions are"},
	{EXPRESSION("{key: a, operator: Exists, value: b}"), AT
	 "podSelector.matchExpressions[0].value: is not a field here, only key, operator, values "
	 "are"},
	/* selectors */
	{SELECTOR("{matchLabels: []}"),
	 AT "podSelector.matchLabels: must be a mapping, not a list"},
	{SELECTOR("{matchLabels: {a: 1}}"),
	 AT "podSelector.matchLabels.a: must be a string, not an integer"},
	{SELECTOR("{matchLabels: {a: null}}"), AT "podSelector.matchLabels.a: is required"},
	{SELECTOR("{matchLabels: {a: -}}"), AT "podSelector.matchLabels.a: \"-\"" LABEL_VALUE},
	{SELECTOR("{matchLabels: {a b: c}}"),
	 AT "podSelector.matchLabels: the key \"a b\"" LABEL_KEY},
	{SELECTOR("{matchExpressions: {}}"),
	 AT "podSelector.matchExpressions: must be a list, not a mapping"},
	{EXPRESSION("null"), AT "podSelector.matchExpressions[0]: is required"},
	{EXPRESSION("{}"), AT "podSelector.matchExpressions[0].key: is required"},
	{EXPRESSION("{key: a}"), AT "podSelector.matchExpressions[0].operator: is required"},
	{EXPRESSION("{key: /a, operator: Exists}"),
	 AT "podSelector.matchExpressions[0].key: \"/a\"" LABEL_KEY},
	{EXPRESSION("{key: '', operator: Exists}"),
	 AT "podSelector.matchExpressions[0].key: \"\"" LABEL_KEY},
	{EXPRESSION("{key: a, operator: Equals}"),
	 AT "podSelector.matchExpressions[0].operator: \"Equals\" is not one of In, NotIn, "
	    "Exists, DoesNotExist"},
	{EXPRESSION("{key: a, operator: in}"),
	 AT "podSelector.matchExpressions[0].operator: \"in\" is not one of In, NotIn, Exists, "
	    "DoesNotExist"},
	{EXPRESSION("{key: a, operator: In}"),
	 AT "podSelector.matchExpressions[0].values: must name a value for the operator In"},
	{EXPRESSION("{key: a, operator: NotIn, values: []}"),
	 AT "podSelector.matchExpressions[0].values: must name a value for the operator NotIn"},
	{EXPRESSION("{key: a, operator: Exists, values: [b]}"),
	 AT "podSelector.matchExpressions[0].values: must be empty for the operator Exists"},
	{EXPRESSION("{key: a, operator: In, values: [b]}, {key: c, operator: DoesNotExist, "
		    "values: ['']}"),
	 AT "podSelector.matchExpressions[1].values: must be empty for the operator DoesNotExist"},
	{EXPRESSION("{key: a, operator: In, values: b}"),
	 AT "podSelector.matchExpressions[0].values: must be a list, not a string"},
	{EXPRESSION("{key: a, operator: In, values: [b, 1]}"),
	 AT "podSelector.matchExpressions[0].values[1]: must be a string, not an integer"},
	{EXPRESSION("{key: a, operator: In, values: [null]}"),
	 AT "podSelector.matchExpressions[0].values[0]: is required"},
	{EXPRESSION("{key: a, operator: NotIn, values: [b, 'c d']}"),
	 AT "podSelector.matchExpressions[0].values[1]: \"c d\"" LABEL_VALUE},
	{FROM("{namespaceSelector: {matchExpressions: [{key: a, operator: NotIn}]}}"),
	 FROM0 ".namespaceSelector.matchExpressions[0].values: must name a value for the operator "
	       "NotIn"},
	{TO("{podSelector: {matchLabels: {a: b!}}}"),
	 AT "egress[1].to[1].podSelector.matchLabels.a: \"b!\"" LABEL_VALUE},
	/* peers */
	{FROM("{}"), FROM0 ": must have a podSelector, a namespaceSelector or an ipBlock"},
	{TO("{}"),
	 AT "egress[1].to[1]: must have a podSelector, a namespaceSelector or an ipBlock"},
	{FROM("{podSelector: null}"),
	 FROM0 ": must have a podSelector, a namespaceSelector or an ipBlock"},
	{FROM("{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}"),
	 FROM0 ".ipBlock: must not stand beside a selector"},
	{FROM("{ipBlock: {cidr: 10.0.0.0/8}, namespaceSelector: {}}"),
	 FROM0 ".ipBlock: must not stand beside a selector"},
	/* blocks */
	{BLOCK("10.0.0.0/8"), FROM0 ".ipBlock: must be a mapping, not a string"},
	{BLOCK("{}"), FROM0 ".ipBlock.cidr: is required"},
	{BLOCK("{except: [10.0.0.0/8]}"), FROM0 ".ipBlock.cidr: is required"},
	{BLOCK("{cidr: 10}"), FROM0 ".ipBlock.cidr: must be a string, not an integer"},
	{BLOCK("{cidr: ''}"), FROM0 ".ipBlock.cidr: \"\"" CIDR},
	{BLOCK("{cidr: 10.0.0.1}"), FROM0 ".ipBlock.cidr: \"10.0.0.1\"" CIDR},
	{BLOCK("{cidr: 10.0.0.0/}"), FROM0 ".ipBlock.cidr: \"10.0.0.0/\"" CIDR},
	{BLOCK("{cidr: /8}"), FROM0 ".ipBlock.cidr: \"/8\"" CIDR},
	{BLOCK("{cidr: 10.0.0/8}"), FROM0 ".ipBlock.cidr: \"10.0.0/8\"" CIDR},
	{BLOCK("{cidr: 10.0.0.0/33}"), FROM0 ".ipBlock.cidr: \"10.0.0.0/33\"" CIDR},
	{BLOCK("{cidr: 10.0.0.0/-1}"), FROM0 ".ipBlock.cidr: \"10.0.0.0/-1\"" CIDR},
	{BLOCK("{cidr: 10.0.0.0/08}"), FROM0 ".ipBlock.cidr: \"10.0.0.0/08\"" CIDR},
	{BLOCK("{cidr: 10.0.0.0/+8}"), FROM0 ".ipBlock.cidr: \"10.0.0.0/+8\"" CIDR},
	{BLOCK("{cidr: ' 10.0.0.0/8'}"), FROM0 ".ipBlock.cidr: \" 10.0.0.0/8\"" CIDR},
	{BLOCK("{cidr: 10.0.0.0/8/8}"), FROM0 ".ipBlock.cidr: \"10.0.0.0/8/8\"" CIDR},
	{BLOCK("{cidr: 10.0.0.0/255.0.0.0}"), FROM0 ".ipBlock.cidr: \"10.0.0.0/255.0.0.0\"" CIDR},
	{BLOCK("{cidr: 'fd00::/129'}"), FROM0 ".ipBlock.cidr: \"fd00::/129\"" CIDR},
	{BLOCK("{cidr: 'fd00::%eth0/64'}"), FROM0 ".ipBlock.cidr: \"fd00::%eth0/64\"" CIDR},
	{BLOCK("{cidr: '::ffff:10.0.0.0/104'}"),
	 FROM0 ".ipBlock.cidr: \"::ffff:10.0.0.0/104\"" CIDR},
	{BLOCK("{cidr: 10.0.0.0/8, except: 10.1.0.0/16}"),
	 FROM0 ".ipBlock.except: must be a list, not a string"},
	{BLOCK("{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0]}"),
	 FROM0 ".ipBlock.except[1]: \"10.2.0.0\"" CIDR},
	{BLOCK("{cidr: 10.0.0.0/8, except: [null]}"), FROM0 ".ipBlock.except[0]: is required"},
	{BLOCK("{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}"),
	 FROM0 ".ipBlock.except[0]: \"11.0.0.0/16\" is not a part of the cidr \"10.0.0.0/8\""},
	{BLOCK("{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}"),
	 FROM0 ".ipBlock.except[0]: \"10.0.0.0/8\" is not a part of the cidr \"10.0.0.0/8\""},
	{BLOCK("{cidr: 10.0.0.0/8, except: [10.0.0.0/7]}"),
	 FROM0 ".ipBlock.except[0]: \"10.0.0.0/7\" is not a part of the cidr \"10.0.0.0/8\""},
	{BLOCK("{cidr: 10.0.0.0/8, except: ['::/64']}"),
	 FROM0 ".ipBlock.except[0]: \"::/64\" is not a part of the cidr \"10.0.0.0/8\""},
	{BLOCK("{cidr: '::/0', except: [10.0.0.0/8]}"),
	 FROM0 ".ipBlock.except[0]: \"10.0.0.0/8\" is not a part of the cidr \"::/0\""},
	{TO("{ipBlock: {cidr: 'fd00::/8', except: ['fd00::/16', 'fe00::/16']}}"),
	 AT "egress[1].to[1].ipBlock.except[1]: \"fe00::/16\" is not a part of the cidr "
	    "\"fd00::/8\""},
	/* ports */
	{PORT("{port: 0}"), PORT1 ".port: must be 1 to 65535, not 0"},
	{PORT("{port: -1}"), PORT1 ".port: must be 1 to 65535, not -1"},
	{PORT("{port: 65536}"), PORT1 ".port: must be 1 to 65535, not 65536"},
	{PORT("{port: 80.5}"), PORT1 ".port: must be an integer, not a fraction"},
	{PORT("{port: []}"), PORT1 ".port: must be a port number or a port's name"},
	{PORT("{port: true}"), PORT1 ".port: must be a port number or a port's name"},
	{PORT("{port: '80'}"), PORT1 ".port: \"80\" must be at most 15 lower-case letters, digits "
				     "and single '-', with a letter"},
	{PORT("{port: ''}"), PORT1 ".port: \"\" must be at most 15 lower-case letters, digits and "
				   "single '-', with a letter"},
	{PORT("{port: HTTP}"), PORT1 ".port: \"HTTP\" must be at most 15 lower-case letters, "
				     "digits and single '-', with a letter"},
	{PORT("{port: a-name-that-is-long}"),
	 PORT1 ".port: \"a-name-that-is-long\" must be at most 15 lower-case letters, digits and "
	       "single '-', with a letter"},
	{PORT("{protocol: tcp}"), PORT1 ".protocol: \"tcp\" is not one of TCP, UDP, SCTP"},
	{PORT("{protocol: ICMP}"), PORT1 ".protocol: \"ICMP\" is not one of TCP, UDP, SCTP"},
	{PORT("{protocol: ''}"), PORT1 ".protocol: \"\" is not one of TCP, UDP, SCTP"},
	{PORT("{protocol: 6}"), PORT1 ".protocol: must be a string, not an integer"},
	{PORT("{port: 80, endPort: 79}"), PORT1 ".endPort: 79 is less than the port, 80"},
	{PORT("{port: 80, endPort: 0}"), PORT1 ".endPort: must be 1 to 65535, not 0"},
	{PORT("{port: 80, endPort: 65536}"), PORT1 ".endPort: must be 1 to 65535, not 65536"},
	{PORT("{port: 80, endPort: http}"), PORT1 ".endPort: must be an integer, not a string"},
	{PORT("{endPort: 80}"), PORT1 ".endPort: needs a port"},
	{PORT("{protocol: UDP, endPort: 80}"), PORT1 ".endPort: needs a port"},
	{PORT("{port: http, endPort: 80}"), PORT1 ".endPort: must not stand beside a port's name"},
	/* types */
	{P "{policyTypes: Ingress}", AT "policyTypes: must be a list, not a string"},
	{P "{policyTypes: [ingress]}",
	 AT "policyTypes[0]: \"ingress\" is not one of Ingress, Egress"},
	{P "{policyTypes: [Ingress, Both]}",
	 AT "policyTypes[1]: \"Both\" is not one of Ingress, Egress"},
	{P "{policyTypes: [null]}", AT "policyTypes[0]: is required"},
	{P "{policyTypes: [1]}", AT "policyTypes[0]: must be a string, not an integer"},
	{P "{policyTypes: [Ingress, Egress, Ingress]}",
	 AT "policyTypes: has 3 items, at most 2 are allowed"},
	/* where it stands */
	{"apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n" PORT("{port: 0}"),
	 "in: document 2: spec.ingress[0].ports[1].port: must be 1 to 65535, not 0"},
	{"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Namespace, metadata: {name: "
	 "a}}, {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a}, spec: "
	 "{egress: [{to: [{}]}]}}]}",
	 "in: document 1: items[1].spec.egress[0].to[0]: must have a podSelector, a "
	 "namespaceSelector or an ipBlock"},
};

static void test_refused(void **state)
{
	struct rig rig;

	rig_setup(&rig);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		rig_refuse(&rig, refused[i].text, refused[i].message);
	rig_teardown(&rig);
}

/*
 * What was accepted when unknown fields were ignored goes on as it is: a start refuses nothing that
 * is stored. Applied again, it is refused.
 */
static void test_refused_but_stored(void **state)
{
	struct rig rig;
	char path[200];
	sqlite3 *db;

	rig_setup(&rig);
	rig_apply(&rig, P "{podSelector: {}, ingress: []}", NULL);
	rig_close(&rig);
	snprintf(path, sizeof(path), "%s/objects.db", rig.dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				      "UPDATE objects SET text = replace(text, 'podSelector', "
				      "'podSelecter')",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_changes(db), 1);
	sqlite3_close(db);
	rig_open(&rig);
	rig_refuse(&rig, P "{podSelecter: {}, ingress: []}",
		   AT "podSelecter: is not a field here, only " SPEC_FIELDS " are");
	rig_teardown(&rig);
}

/* ---- what is accepted ---- */

static void told(void *user, const struct bn_change *change)
{
	FILE *f = user;

	for (size_t i = 0; i < change->n_policies_removed; i++)
		fprintf(f, "%s/%s gone", change->policies_removed[i].namespace,
			change->policies_removed[i].name);
	for (size_t i = 0; i < change->n_policies; i++) {
		assert_string_equal(change->policies[i].namespace, "default");
		assert_string_equal(change->policies[i].name, "p");
		print_policy(f, &change->policies[i]);
	}
}

static const struct {
	const char *text, *want;
} accepted[] = {
	/* selectors and defaults */
	{SELECTOR("{}"), "pods{} ingress"},
	{P "{}", "pods{} ingress"},
	{P "{podSelector: null}", "pods{} ingress"},
	{P "~", "pods{} ingress"},
	{SELECTOR("{matchLabels: {}, matchExpressions: []}"), "pods{} ingress"},
	{SELECTOR("{matchLabels: {app: a, b.c/d: ''}}"), "pods{app=a&b.c/d=} ingress"},
	{EXPRESSION("{key: a, operator: In, values: [b, c]}, {key: a, operator: NotIn, values: "
		    "['']}, {key: d, operator: Exists}, {key: e, operator: DoesNotExist, values: "
		    "[]}"),
	 "pods{a=b|c&a!=&d+&e-} ingress"},
	{SELECTOR("{matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: "
		  "[b]}]}"),
	 "pods{a=b&a!=b} ingress"},
	/* what a server adds */
	{"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nstatus: {conditions: []}\nmetadata: "
	 "{name: p, uid: a, resourceVersion: '1', managedFields: [{manager: m}], more: 1}\nspec: {}",
	 "pods{} ingress"},
	/* types */
	{P "{ingress: []}", "pods{} ingress"},
	{P "{ingress: [{}]}", "pods{} ingress (:)"},
	{P "{egress: []}", "pods{} ingress"},
	{P "{egress: [{}]}", "pods{} ingress egress (:)"},
	{P "{policyTypes: []}", "pods{} ingress"},
	{P "{policyTypes: [], egress: [{}]}", "pods{} ingress egress (:)"},
	{P "{policyTypes: [Egress]}", "pods{} egress"},
	{P "{policyTypes: [Ingress], egress: [{}]}", "pods{} ingress"},
	{P "{policyTypes: [Egress], ingress: [{}], egress: [{}]}", "pods{} egress (:)"},
	{P "{policyTypes: [Egress, Ingress]}", "pods{} ingress egress"},
	{P "{policyTypes: [Ingress, Ingress]}", "pods{} ingress"},
	/* rules */
	{P "{ingress: [{from: [], ports: []}, {from: null}]}", "pods{} ingress (:)(:)"},
	{P "{ingress: [{from: [{podSelector: {}}]}]}", "pods{} ingress (pods{}:)"},
	{P "{ingress: [{from: [{namespaceSelector: {}}]}]}", "pods{} ingress (namespaces{}:)"},
	{P "{ingress: [{from: [{namespaceSelector: {matchLabels: {a: b}}, podSelector: "
	   "{matchLabels: {c: d}}}]}]}",
	 "pods{} ingress (pods{c=d}namespaces{a=b}:)"},
	{P "{ingress: [{from: [{namespaceSelector: {matchLabels: {a: b}}}, {podSelector: "
	   "{matchLabels: {c: d}}}]}]}",
	 "pods{} ingress (namespaces{a=b} pods{c=d}:)"},
	{P "{egress: [{to: [{podSelector: {}}], ports: [{port: 80}]}, {ports: [{port: dns, "
	   "protocol: UDP}]}]}",
	 "pods{} ingress egress (pods{}: 6/80)(: 17/dns)"},
	/* blocks; what is past the prefix does not count */
	{BLOCK("{cidr: 10.0.0.0/8}"), "pods{} ingress (10.0.0.0/8:)"},
	{BLOCK("{cidr: 10.1.2.3/8, except: [10.1.2.3/16]}"),
	 "pods{} ingress (10.0.0.0/8-10.1.0.0/16:)"},
	{BLOCK("{cidr: 10.0.0.1/24, except: [10.0.0.0/25, 10.0.0.255/32]}"),
	 "pods{} ingress (10.0.0.0/24-10.0.0.0/25-10.0.0.255/32:)"},
	{BLOCK("{cidr: 0.0.0.0/0, except: []}"), "pods{} ingress (0.0.0.0/0:)"},
	{BLOCK("{cidr: 255.255.255.255/0}"), "pods{} ingress (0.0.0.0/0:)"},
	{BLOCK("{cidr: 10.0.0.1/32}"), "pods{} ingress (10.0.0.1/32:)"},
	{BLOCK("{cidr: 10.0.0.0/9, except: [10.127.255.255/10]}"),
	 "pods{} ingress (10.0.0.0/9-10.64.0.0/10:)"},
	{BLOCK("{cidr: '::/0', except: ['fd00::1/8', '::1/128']}"),
	 "pods{} ingress (::/0-fd00::/8-::1/128:)"},
	{BLOCK("{cidr: 'FD00:0:0::1/64'}"), "pods{} ingress (fd00::/64:)"},
	{BLOCK("{cidr: '2001:db8::ffff/127'}"), "pods{} ingress (2001:db8::fffe/127:)"},
	/* ports */
	{PORT("{}"), "pods{} ingress (: 6/1 6/*)"},
	{PORT("{protocol: SCTP}"), "pods{} ingress (: 6/1 132/*)"},
	{PORT("{port: 65535, protocol: null}"), "pods{} ingress (: 6/1 6/65535)"},
	{PORT("{port: 80, endPort: 80}"), "pods{} ingress (: 6/1 6/80)"},
	{PORT("{port: 1, endPort: 65535, protocol: UDP}"), "pods{} ingress (: 6/1 17/1-65535)"},
	{PORT("{port: a-15-letter-one, protocol: UDP}"),
	 "pods{} ingress (: 6/1 17/a-15-letter-one)"},
	{PORT("{port: 1}, {port: 1}"), "pods{} ingress (: 6/1 6/1 6/1)"},
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
		rig_apply(&rig, accepted[i].text, "networkpolicy default/p created");
		fclose(f);
		if (strcmp(text, accepted[i].want))
			fail_msg("%s\nis     %s\nshould %s", accepted[i].text, text,
				 accepted[i].want);
		free(text);
		text = NULL;
		f = open_memstream(&text, &size);
		rig.told_user = f;
		rig_delete(&rig, accepted[i].text, "networkpolicy default/p deleted");
		fclose(f);
		assert_string_equal(text, "default/p gone");
		free(text);
		rig.told = NULL;
	}
	rig_teardown(&rig);
}

/* What is the same is no change; what is refused leaves what was there. */
static void test_changes(void **state)
{
	char *text = NULL;
	struct rig rig;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	rig_setup(&rig);
	rig.told = told;
	rig.told_user = f;
	rig_apply(&rig, P "{podSelector: {}, ingress: [{}]}", "networkpolicy default/p created");
	rig_apply(&rig, P "{podSelector: {}, ingress: [{}]}", "networkpolicy default/p unchanged");
	rig_refuse(&rig, PORT("{port: 0}"), PORT1 ".port: must be 1 to 65535, not 0");
	rig_apply(&rig, P "{podSelector: {}, ingress: []}", "networkpolicy default/p configured");
	fclose(f);
	rig.told = NULL;
	assert_string_equal(text, "pods{} ingress (:)pods{} ingress");
	free(text);
	rig_teardown(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_but_stored),
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

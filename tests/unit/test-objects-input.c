// SPDX-License-Identifier: Apache-2.0
/* What is accepted and what is refused, with the one line that says so. */
#include "test-objects.h"

#define SVC "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: "
#define POD "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"
#define SLICE "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\n"

static const struct {
	const char *text, *message;
} refused[] = {
	/* syntax */
	{"a: [b", "in: document 1: broken YAML at line 2: did not find expected ',' or ']' while "
		  "parsing a flow sequence"},
	{"a: b\nc", "in: document 1: broken YAML at line 3: could not find expected ':' while "
		    "scanning a simple key"},
	{"- a", "in: document 1: broken YAML at line 1: an object must be a mapping"},
	{"hello", "in: document 1: broken YAML at line 1: an object must be a mapping"},
	{"kind: Pod\nkind: Pod", "in: document 1: broken YAML at line 2: duplicate key \"kind\""},
	{"a: &x 1\nb: *x",
	 "in: document 1: broken YAML at line 2: aliases are not supported, write it out"},
	{"a: !!binary aGk=",
	 "in: document 1: broken YAML at line 1: tags other than !!str are not supported"},
	{"a: \"x\\0y\"", "in: document 1: broken YAML at line 1: a string with a zero byte"},
	{"? [a]\n: b", "in: document 1: broken YAML at line 1: a key must be a string"},
	{"{\"apiVersion\": \"v1\", \"kind\": \"Serv",
	 "in: document 1: broken JSON at line 1: the text ends inside an object"},
	{"{\"apiVersion\": \"v1\"\n \"kind\": \"Service\"}",
	 "in: document 1: broken JSON at line 2: ',' is missing between members"},
	{"{\"a\": 1, \"a\": 2}",
	 "in: document 1: broken JSON at line 1: duplicate object key near '\"a\"'"},
	{"{\n\"a\": tru\n}", "in: document 1: broken JSON at line 2: invalid token near 'tru'"},
	{"{\"a\": 1}}", "in: document 1: kind: is required"},
	{"{\"kind\":\"List\",\"items\":[{},]}", "in: document 1: items[0].kind: is required"},
	{"{\"kind\":\"List\",\"items\":7}", "in: document 1: items: must be a list"},
	{"{\"kind\":\"List\",\"items\":[7]}",
	 "in: document 1: items[0]: must be an object, as every item of a List"},
	{"{\"kind\":\"List\",\"items\":[{\"kind\":\"List\"}]}",
	 "in: document 1: items[0]: is a List inside a List, write its items out"},
	{"kind: Service\nitems: []\napiVersion: v1\n",
	 "in: document 1: items: only a List has items"},
	{"{\"kind\":\"Service\",\"items\":[]}", "in: document 1: items: only a List has items"},
	{"items: []\nkind: Service\napiVersion: v1\n",
	 "in: document 1: items: only a List has items"},
	{"items: {}\nkind: List\n", "in: document 1: items: must be a list"},
	/* kinds and names */
	{"apiVersion: v1\nmetadata: {name: a}", "in: document 1: kind: is required"},
	{"kind: Service\nmetadata: {name: a}", "in: document 1: apiVersion: is required"},
	{"apiVersion: v2\nkind: Service\nmetadata: {name: a}",
	 "in: document 1: apiVersion: \"v2\" is not known for Service, use v1"},
	{"apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {name: a}",
	 "in: document 1: apiVersion: \"discovery.k8s.io/v1beta1\" is not known for EndpointSlice, "
	 "use discovery.k8s.io/v1"},
	{"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}",
	 "in: document 1: kind: \"Deployment\" is not supported, only Namespace, Node, Pod, "
	 "Service, EndpointSlice, NetworkPolicy and ClusterNetworkPolicy are"},
	{"apiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: a}",
	 "in: document 1: apiVersion: \"extensions/v1beta1\" is not known for NetworkPolicy, use "
	 "networking.k8s.io/v1"},
	{"apiVersion: v1\nkind: Service\nmetadata: {}",
	 "in: document 1: metadata.name: is required"},
	{"apiVersion: v1\nkind: Service\nmetadata: {name: 7}",
	 "in: document 1: metadata.name: must be a string, not an integer"},
	{"apiVersion: v1\nkind: Service\nmetadata: {name: Web}",
	 "in: document 1: metadata.name: \"Web\" must be at most 63 lower-case letters, digits and "
	 "'-', a letter or digit at both ends"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: a..b}",
	 "in: document 1: metadata.name: \"a..b\" must be at most 253 lower-case letters, digits, "
	 "'-' and '.', a letter or digit at both ends of every part"},
	{"apiVersion: v1\nkind: Node\nmetadata: {name: a, namespace: b}",
	 "in: document 1: metadata.namespace: a Node has no namespace"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: a.b}",
	 "in: document 1: metadata.namespace: \"a.b\" must be at most 63 lower-case letters, digits "
	 "and '-', a letter or digit at both ends"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {a: 1}}",
	 "in: document 1: metadata.labels.a: must be a string, not an integer"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {a: '-'}}",
	 "in: document 1: metadata.labels.a: \"-\" must be empty or at most 63 letters, digits, '-', "
	 "'_' and '.', a letter or digit at both ends"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {'a b': c}}",
	 "in: document 1: metadata.labels: the key \"a b\" must be a name of at most 63 letters, "
	 "digits, '-', '_' and '.', optionally after a DNS name and '/'"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {a: true}}",
	 "in: document 1: metadata.annotations.a: must be a string, not a boolean"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: \"a\\nb\"}",
	 "in: document 1: metadata.name: \"a?b\" must be at most 253 lower-case letters, digits, "
	 "'-' and '.', a letter or digit at both ends of every part"},
	/* services */
	{"apiVersion: v1\nkind: Service\nmetadata: {name: a}", "in: document 1: spec: is required"},
	{SVC "{}", "in: document 1: spec.ports: is required"},
	{SVC "{ports: [{}]}", "in: document 1: spec.ports[0].port: is required"},
	{SVC "{ports: [{port: 0}]}",
	 "in: document 1: spec.ports[0].port: must be 1 to 65535, not 0"},
	{SVC "{ports: [{port: 70000}]}",
	 "in: document 1: spec.ports[0].port: must be 1 to 65535, not 70000"},
	{SVC "{ports: [{port: '80'}]}",
	 "in: document 1: spec.ports[0].port: must be an integer, not a string"},
	{SVC "{ports: [{port: 80.5}]}",
	 "in: document 1: spec.ports[0].port: must be an integer, not a fraction"},
	{SVC "{ports: [{port: 80, protocol: tcp}]}",
	 "in: document 1: spec.ports[0].protocol: \"tcp\" is not one of TCP, UDP, SCTP"},
	{SVC "{ports: [{port: 80, targetPort: 65536}]}",
	 "in: document 1: spec.ports[0].targetPort: must be 1 to 65535, not 65536"},
	{SVC "{ports: [{port: 80, targetPort: '80'}]}",
	 "in: document 1: spec.ports[0].targetPort: \"80\" must be at most 15 lower-case letters, "
	 "digits and single '-', with a letter"},
	{SVC "{ports: [{port: 80, targetPort: []}]}",
	 "in: document 1: spec.ports[0].targetPort: must be a port number or a port's name"},
	{SVC "{ports: [{port: 80}, {port: 81}]}",
	 "in: document 1: spec.ports[0].name: is required where there are several ports"},
	{SVC "{ports: [{name: a, port: 80}, {name: a, port: 81}]}",
	 "in: document 1: spec.ports[1].name: duplicate port name \"a\""},
	{SVC "{ports: [{name: a, port: 80}, {name: b, port: 80}]}",
	 "in: document 1: spec.ports[1].port: duplicate of spec.ports[0]: same port and protocol"},
	{SVC "{ports: 80}", "in: document 1: spec.ports: must be a list, not an integer"},
	{SVC "{ports: [80]}", "in: document 1: spec.ports[0]: must be a mapping, not an integer"},
	{SVC "{type: Foo, ports: [{port: 80}]}",
	 "in: document 1: spec.type: \"Foo\" is not one of ClusterIP, NodePort, LoadBalancer, "
	 "ExternalName"},
	{SVC "{clusterIP: 10.96.0.300, ports: [{port: 80}]}",
	 "in: document 1: spec.clusterIP: \"10.96.0.300\" is not an IPv4 or IPv6 address"},
	{SVC "{clusterIP: '::ffff:10.0.0.1', ports: [{port: 80}]}",
	 "in: document 1: spec.clusterIP: \"::ffff:10.0.0.1\" is not an IPv4 or IPv6 address"},
	{SVC "{clusterIP: 127.0.0.1, ports: [{port: 80}]}",
	 "in: document 1: spec.clusterIP: 127.0.0.1 is a loopback address"},
	{SVC "{clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2], ports: [{port: 80}]}",
	 "in: document 1: spec.clusterIP: 10.0.0.1 is not spec.clusterIPs[0]"},
	{SVC "{clusterIPs: [10.0.0.1, 10.0.0.2], ports: [{port: 80}]}",
	 "in: document 1: spec.clusterIPs[1]: is a second IPv4 address"},
	{SVC "{clusterIPs: [None, 10.0.0.2], ports: [{port: 80}]}",
	 "in: document 1: spec.clusterIPs[0]: None must stand alone"},
	{SVC
	 "{clusterIPs: [10.0.0.1, 'fd00::1'], ipFamilyPolicy: SingleStack, ports: [{port: 80}]}",
	 "in: document 1: spec.clusterIPs: two addresses need the ipFamilyPolicy PreferDualStack or "
	 "RequireDualStack"},
	{SVC "{ipFamilies: [IPv6], clusterIP: 10.0.0.1, ports: [{port: 80}]}",
	 "in: document 1: spec.clusterIP: is an IPv4 address, spec.ipFamilies[0] is IPv6"},
	{SVC "{ipFamilies: [IPv4, IPv4], ports: [{port: 80}]}",
	 "in: document 1: spec.ipFamilies[1]: duplicate family"},
	{SVC "{type: NodePort, clusterIP: None, ports: [{port: 80}]}",
	 "in: document 1: spec.clusterIP: None needs the type ClusterIP"},
	{SVC "{ports: [{port: 80, nodePort: 30000}]}",
	 "in: document 1: spec.ports[0].nodePort: needs the type NodePort or LoadBalancer"},
	{SVC "{type: NodePort, ports: [{port: 80, nodePort: 29999}]}",
	 "in: document 1: spec.ports[0].nodePort: must be 30000 to 32767, not 29999"},
	{SVC "{type: NodePort, ports: [{name: a, port: 80, nodePort: 30001}, {name: b, port: 81, "
	     "nodePort: 30001}]}",
	 "in: document 1: spec.ports[1].nodePort: duplicate of spec.ports[0].nodePort"},
	{SVC "{type: ExternalName}", "in: document 1: spec.externalName: is required"},
	{SVC "{type: ExternalName, externalName: a.b, clusterIP: 10.0.0.1}",
	 "in: document 1: spec.clusterIP: must not be set for the type ExternalName"},
	{SVC "{ports: [{port: 80}], sessionAffinity: Foo}",
	 "in: document 1: spec.sessionAffinity: \"Foo\" is not one of None, ClientIP"},
	{SVC "{ports: [{port: 80}], sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: "
	     "{timeoutSeconds: 86401}}}",
	 "in: document 1: spec.sessionAffinityConfig.clientIP.timeoutSeconds: must be 1 to 86400, "
	 "not 86401"},
	{SVC "{ports: [{port: 80}], externalTrafficPolicy: Local}",
	 "in: document 1: spec.externalTrafficPolicy: needs the type NodePort or LoadBalancer, or "
	 "externalIPs"},
	{SVC "{ports: [{port: 80}], externalIPs: [1.2.3]}",
	 "in: document 1: spec.externalIPs[0]: \"1.2.3\" is not an IPv4 or IPv6 address"},
	{SVC "{ports: [{port: 80}], selector: [a]}",
	 "in: document 1: spec.selector: must be a mapping, not a list"},
	{SVC "{ports: [{port: 80}], publishNotReadyAddresses: 'yes'}",
	 "in: document 1: spec.publishNotReadyAddresses: must be true or false, not a string"},
	{SVC "{ports: [{port: 80}], healthCheckNodePort: 30000}",
	 "in: document 1: spec.healthCheckNodePort: needs the type LoadBalancer and the "
	 "externalTrafficPolicy Local"},
	{SVC "{type: LoadBalancer, ports: [{port: 80}], loadBalancerSourceRanges: [10.0.0.1/8]}",
	 "in: document 1: spec.loadBalancerSourceRanges[0]: \"10.0.0.1/8\" is not a CIDR"},
	/* pods and nodes */
	{POD "status: {podIP: 10.0.0}",
	 "in: document 1: status.podIP: \"10.0.0\" is not an IPv4 or IPv6 address"},
	{POD "status: {podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]}",
	 "in: document 1: status.podIPs[1].ip: is a second IPv4 address, one of each family is "
	 "allowed"},
	{POD "status: {podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.1}]}",
	 "in: document 1: status.podIP: 10.0.0.2 is not status.podIPs[0].ip"},
	{POD "status: {phase: Sleeping}",
	 "in: document 1: status.phase: \"Sleeping\" is not one of Pending, Running, Unknown, "
	 "Succeeded, Failed"},
	{POD "spec: {containers: [{ports: [{containerPort: 99999}]}]}",
	 "in: document 1: spec.containers[0].ports[0].containerPort: must be 1 to 65535, not 99999"},
	{POD "spec: {containers: [{ports: [{name: a, containerPort: 1}, {name: a, containerPort: "
	     "2}]}]}",
	 "in: document 1: spec.containers[0].ports[1].name: duplicate port name \"a\""},
	{POD "status: {conditions: [{type: Ready, status: yes}]}",
	 "in: document 1: status.conditions[0].status: must be a string, not a boolean"},
	{"apiVersion: v1\nkind: Node\nmetadata: {name: nn}\nstatus: {addresses: [{type: InternalIP, "
	 "address: x}]}",
	 "in: document 1: status.addresses[0].address: \"x\" is not an IPv4 or IPv6 address"},
	/* slices */
	{SLICE, "in: document 1: addressType: is required"},
	{SLICE "addressType: FQDN",
	 "in: document 1: addressType: FQDN is not supported, use IPv4 or IPv6"},
	{SLICE "addressType: IPv4\nendpoints: [{addresses: []}]",
	 "in: document 1: endpoints[0].addresses: must name an address"},
	{SLICE "addressType: IPv4\nendpoints: [{addresses: ['fd00::1']}]",
	 "in: document 1: endpoints[0].addresses[0]: \"fd00::1\" is not an IPv4 address"},
	{SLICE "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], conditions: {ready: 1}}]",
	 "in: document 1: endpoints[0].conditions.ready: must be true or false, not an integer"},
	{SLICE "addressType: IPv4\nports: [{port: 1}, {port: 2}]",
	 "in: document 1: ports[1].name: duplicate port name \"\""},
	/* documents and items are counted */
	{POD "---\n# nothing\n---\n" POD,
	 "in: document 3: pod default/web is a duplicate, it is also in an earlier document of this "
	 "call"},
	{"apiVersion: v1\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- {apiVersion: "
	 "v1, kind: Pod, metadata: {name: B}}\nkind: List\n",
	 "in: document 1: items[1].metadata.name: \"B\" must be at most 253 lower-case letters, "
	 "digits, '-' and '.', a letter or digit at both ends of every part"},
};

static void test_refused(void **state)
{
	struct rig rig;
	json_t *list;

	rig_setup(&rig);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		rig_refuse(&rig, refused[i].text, refused[i].message);
	assert_int_equal(json_object_size(rig.services), 0);
	list = rig_get(&rig, "pods", NULL, NULL);
	rig_json(list, "[]");
	json_decref(list);
	rig_teardown(&rig);
}

static void refuse_made(struct rig *rig, char *text, size_t size, const char *message)
{
	struct bn_error err = BN_ERROR_INIT;

	assert_null(rig_run(rig, false, text, size, &err));
	assert_string_equal(bn_error_text(&err), message);
	bn_error_done(&err);
	free(text);
}

/* Text of n repetitions between a head and a tail. */
static char *repeat(const char *head, const char *middle, size_t n, const char *tail, size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	fputs(head, f);
	for (size_t i = 0; i < n; i++)
		fputs(middle, f);
	fputs(tail, f);
	fclose(f);
	return text;
}

static void test_limits(void **state)
{
	static const char large[] = "in: document 1: is larger than 1 MiB, the limit of an object";
	struct rig rig;
	size_t size;
	char *text;

	rig_setup(&rig);
	text = repeat("kind: Pod\nx: '", "0123456789abcdef", 70000, "'", &size);
	refuse_made(&rig, text, size, large);
	text = repeat("kind: Pod\nx: '", "0123456789abcdef", 1000000, "", &size);
	refuse_made(&rig, text, size, large);
	text = repeat("kind: Pod\nx:\n", "- 123456789abcdef\n", 70000, "", &size);
	refuse_made(&rig, text, size, large);
	text = repeat("{\"x\": \"", "0123456789abcdef", 70000, "\"}", &size);
	refuse_made(&rig, text, size, large);
	text = repeat("{\"kind\": \"List\", \"items\": [{\"x\":\"", "0123456789abcdef", 70000,
		      "\"}]}", &size);
	refuse_made(&rig, text, size,
		    "in: document 1: items[0]: is larger than 1 MiB, the limit of an object");
	text = repeat("a: ", "[", 100, "", &size);
	refuse_made(&rig, text, size,
		    "in: document 1: broken YAML at line 1: nested deeper than 64 levels");
	text = repeat("{\"a\": ", "[", 100, "", &size);
	refuse_made(&rig, text, size,
		    "in: document 1: broken JSON at line 1: nested deeper than 64 levels");
	rig_teardown(&rig);
}

static void test_total(void **state)
{
	struct bn_input inputs[2] = {{"a", "", 200u << 20}, {"b", "", 100u << 20}};
	struct bn_error err = BN_ERROR_INIT;
	json_t *results = NULL;
	struct rig rig;

	rig_setup(&rig);
	assert_int_equal(bn_objects_apply(rig.objects, inputs, 2, &results, &err), -EFBIG);
	assert_string_equal(bn_error_text(&err), "b: more than 256 MiB in one call, split it");
	bn_error_done(&err);
	rig_teardown(&rig);
}

/* Every cut of a manifest is refused or is a smaller manifest; none brings the agent down. */
static void test_cuts(void **state)
{
	static const char yaml[] = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: "
				   "Service\n  metadata:\n    name: web\n  spec:\n    clusterIP: "
				   "10.96.0.5\n    ports:\n    - {port: 80, targetPort: http}\n";
	static const char json[] =
		"{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{\"apiVersion\":\"v1\",\"kind\":"
		"\"Service\",\"metadata\":{\"name\":\"web\"},\"spec\":{\"clusterIP\":\"10.96.0.5\","
		"\"ports\":[{\"port\":80,\"targetPort\":\"http\"}]}}]}";
	struct rig rig;
	char *out;

	rig_setup(&rig);
	for (size_t n = 1; n < sizeof(json) - 1; n++) {
		struct bn_error err = BN_ERROR_INIT;

		assert_null(rig_run(&rig, false, json, n, &err));
		assert_non_null(strstr(bn_error_text(&err), "in: document 1: "));
		bn_error_done(&err);
	}
	for (size_t n = 1; n < sizeof(yaml) - 1; n++) {
		struct bn_error err = BN_ERROR_INIT;

		out = rig_run(&rig, false, yaml, n, &err);
		assert_true(out || strstr(bn_error_text(&err), "in: document 1: "));
		free(out);
		bn_error_done(&err);
	}
	rig_teardown(&rig);
}

static void test_same(void **state)
{
	static const char yaml[] = "# a comment\n---\napiVersion: v1\nkind: Service\nmetadata:\n"
				   "  name: web\n  annotations: {a: \"1\", b: 'yes', c: !!str 5}\n"
				   "  generation: 0x10\n  old: 010\n  none: ~\n  big: 1_000\n"
				   "  float: 1.5e1\n  yes: on\n  date: 2024-01-02T03:04:05Z\n"
				   "spec:\n  ports:\n  - port: 80\n...\n---\n---\nnull\n";
	static const char json[] =
		"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\","
		"\"annotations\":{\"a\":\"1\",\"b\":\"yes\",\"c\":\"5\"},\"generation\":16,\"old\":8,"
		"\"none\":null,\"big\":1000,\"float\":15.0,\"true\":true,"
		"\"date\":\"2024-01-02T03:04:05Z\"},\"spec\":{\"ports\":[{\"port\":80}]}}\n";
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig, yaml, "service default/web created");
	rig_apply(&rig, json, "service default/web unchanged");
	rig_apply(&rig,
		  "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: "
		  "81}]}}",
		  "service default/web configured");
	rig_teardown(&rig);
}

static void test_lists(void **state)
{
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig, "", "");
	rig_apply(&rig, "---\n---\n# nothing\n", "");
	rig_apply(&rig, "apiVersion: v1\nkind: List\nitems: []\n", "");
	rig_apply(&rig, "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[]}", "");
	rig_apply(&rig,
		  "{\"apiVersion\":\"v1\",\"kind\":\"PodList\",\"metadata\":{},\"items\":[{"
		  "\"metadata\":{\"name\":\"a\"}},{\"metadata\":{\"name\":\"b\",\"namespace\":"
		  "\"x\"}}]}\n---\n{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":"
		  "\"n\"}}",
		  "pod default/a created\npod x/b created\nnode n created");
	/* kubectl sorts keys: kind comes after items */
	rig_apply(&rig,
		  "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n- "
		  "apiVersion: v1\n  kind: Pod\n  metadata: {name: c}\nkind: List\nmetadata:\n  "
		  "resourceVersion: ''\n",
		  "pod default/a configured\npod default/c created");
	rig_teardown(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_total),   cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_same),    cmocka_unit_test(test_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

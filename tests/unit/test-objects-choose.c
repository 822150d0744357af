// SPDX-License-Identifier: Apache-2.0
/* Which backends get new flows: readiness, traffic policies, topology, weights. */
#include "test-objects.h"

#define SVC(meta, rest)                                                                            \
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: web, " meta "}\nspec: {clusterIP: "  \
	"10.96.0.5, selector: {app: web}, ports: [{port: 80}], " rest "}\n"
#define POD(name, meta, node, ip, status)                                                          \
	"---\napiVersion: v1\nkind: Pod\nmetadata: {name: " name ", " meta                         \
	"}\nspec: {nodeName: " node "}\nstatus: {podIP: " ip ", " status "}\n"
#define APP "labels: {app: web}"
#define GONE APP ", deletionTimestamp: 2026-01-01T00:00:00Z"
#define UNREADY "conditions: [{type: Ready, status: 'False'}]"
#define NODE(name, zone)                                                                           \
	"---\napiVersion: v1\nkind: Node\nmetadata: {name: " name                                  \
	", labels: {topology.kubernetes.io/zone: " zone "}}\n"
#define SLICE(endpoints)                                                                           \
	"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, labels: "  \
	"{kubernetes.io/service-name: web}}\naddressType: IPv4\nports: [{port: 80}]\nendpoints: [" \
	endpoints "]\n"
#define CLUSTER "ClusterIP 10.96.0.5:80/6 -> "

/* With and without a ready one, here and elsewhere, for either policy apart. */
static void test_terminating(void **state)
{
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig,
		  SVC("", "") POD("a", GONE, "node-a", "10.0.0.1", "")
		      POD("b", APP, "node-b", "10.0.0.2", "")
			  POD("c", APP, "node-a", "10.0.0.3", UNREADY)
			      POD("d", GONE, "node-a", "10.0.0.4", UNREADY),
		  NULL);
	rig_service(&rig, "web",
		    CLUSTER "10.0.0.1:80 local terminating L1, 10.0.0.2:80 C1, 10.0.0.3:80 local "
			    "not-ready, 10.0.0.4:80 local not-ready\n");
	rig_delete(&rig, POD("b", "", "x", "10.0.0.2", ""), NULL);
	rig_service(&rig, "web",
		    CLUSTER "10.0.0.1:80 local terminating C1 L1, 10.0.0.3:80 local not-ready, "
			    "10.0.0.4:80 local not-ready\n");
	rig_apply(&rig, POD("c", APP, "node-a", "10.0.0.3", ""), NULL);
	rig_service(&rig, "web",
		    CLUSTER "10.0.0.1:80 local terminating, 10.0.0.3:80 local C1 L1, 10.0.0.4:80 "
			    "local not-ready\n");
	rig_apply(&rig, SVC("", "publishNotReadyAddresses: true"), NULL);
	rig_service(&rig, "web",
		    CLUSTER "10.0.0.1:80 local C1 L1, 10.0.0.3:80 local C1 L1, 10.0.0.4:80 local C1 "
			    "L1\n");
	rig_teardown(&rig);
}

static void test_hints(void **state)
{
	static const struct {
		const char *endpoints, *want;
	} cases[] = {
	    /* one for this zone */
	    {"{addresses: [10.0.0.1], hints: {forZones: [{name: east}]}}, {addresses: [10.0.0.2], "
	     "hints: {forZones: [{name: north}, {name: west}]}}",
	     "10.0.0.1:80, 10.0.0.2:80 C1"},
	    /* none for this zone, so all */
	    {"{addresses: [10.0.0.1], hints: {forZones: [{name: east}]}}, {addresses: [10.0.0.2], "
	     "hints: {forZones: [{name: north}]}}",
	     "10.0.0.1:80 C1, 10.0.0.2:80 C1"},
	    /* one has none, so all */
	    {"{addresses: [10.0.0.1], hints: {forZones: [{name: west}]}}, {addresses: [10.0.0.2]}",
	     "10.0.0.1:80 C1, 10.0.0.2:80 C1"},
	    /* those that are not ready don't count */
	    {"{addresses: [10.0.0.1], hints: {forZones: [{name: west}]}}, {addresses: [10.0.0.2], "
	     "hints: {forZones: [{name: east}]}}, {addresses: [10.0.0.3], conditions: {ready: "
	     "false}}",
	     "10.0.0.1:80 C1, 10.0.0.2:80, 10.0.0.3:80 not-ready"},
	    {"{addresses: [10.0.0.1], conditions: {ready: false}, hints: {forZones: [{name: "
	     "west}]}}, {addresses: [10.0.0.2], hints: {forZones: [{name: east}]}}",
	     "10.0.0.1:80 not-ready, 10.0.0.2:80 C1"},
	    /* none is ready: whoever serves, wherever */
	    {"{addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}, "
	     "hints: {forZones: [{name: east}]}}",
	     "10.0.0.1:80 terminating C1"},
	    /* the node before the zone, and a Local policy looks at the node alone */
	    {"{addresses: [10.0.0.1], nodeName: node-a, hints: {forNodes: [{name: node-a}], "
	     "forZones: [{name: west}]}}, {addresses: [10.0.0.2], hints: {forNodes: [{name: "
	     "node-b}], forZones: [{name: west}]}}",
	     "10.0.0.1:80 local C1 L1, 10.0.0.2:80"},
	    {"{addresses: [10.0.0.1], nodeName: node-a, hints: {forZones: [{name: east}]}}, "
	     "{addresses: [10.0.0.2], hints: {forNodes: [{name: node-b}], forZones: [{name: "
	     "west}]}}",
	     "10.0.0.1:80 local L1, 10.0.0.2:80 C1"},
	};
	char want[256];
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig, SVC("", "") NODE("node-a", "west"), NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[1024];

		snprintf(text, sizeof(text), SLICE("%s"), cases[i].endpoints);
		rig_apply(&rig, text, NULL);
		snprintf(want, sizeof(want), CLUSTER "%s\n", cases[i].want);
		rig_service(&rig, "web", want);
	}
	/* this node moves, to where the other is for, and the datapath hears of it */
	rig.services_told = 0;
	rig_apply(&rig, NODE("node-b", "east") NODE("node-a", "west"), NULL);
	assert_int_equal(rig.services_told, 0);
	rig_apply(&rig, NODE("node-a", "east"), NULL);
	assert_int_equal(rig.services_told, 1);
	rig_service(&rig, "web", CLUSTER "10.0.0.1:80 local C1 L1, 10.0.0.2:80\n");
	rig_delete(&rig, NODE("node-a", "east"), NULL);
	rig_service(&rig, "web", CLUSTER "10.0.0.1:80 local C1 L1, 10.0.0.2:80 C1\n");
	rig_refuse(&rig, SLICE("{addresses: [10.0.0.1], hints: {forNodes: [{}]}}"),
		   "in: document 1: endpoints[0].hints.forNodes[0].name: is required");
	rig_teardown(&rig);
}

static void test_distribution(void **state)
{
	struct rig rig;
	json_t *list;

	rig_setup(&rig);
	rig_apply(&rig,
		  SVC("", "trafficDistribution: PreferClose") NODE("node-a", "west")
		      NODE("node-b", "west") NODE("node-c", "east")
			  POD("a", APP, "node-a", "10.0.0.1", "")
			      POD("b", APP, "node-b", "10.0.0.2", "")
				  POD("c", APP, "node-c", "10.0.0.3", ""),
		  NULL);
	rig_service(&rig, "web", CLUSTER "10.0.0.1:80 local C1 L1, 10.0.0.2:80 C1, 10.0.0.3:80\n");
	/* another node's zone decides too */
	rig.services_told = 0;
	rig_apply(&rig, NODE("node-b", "east"), NULL);
	assert_int_equal(rig.services_told, 1);
	rig_service(&rig, "web", CLUSTER "10.0.0.1:80 local C1 L1, 10.0.0.2:80, 10.0.0.3:80\n");
	/* one whose zone nobody knows makes all equal */
	rig_delete(&rig, NODE("node-b", ""), NULL);
	rig_service(&rig, "web",
		    CLUSTER "10.0.0.1:80 local C1 L1, 10.0.0.2:80 C1, 10.0.0.3:80 C1\n");
	rig_apply(&rig, SVC("", "trafficDistribution: PreferSameNode") NODE("node-b", "west"),
		  NULL);
	rig_service(&rig, "web", CLUSTER "10.0.0.1:80 local C1 L1, 10.0.0.2:80, 10.0.0.3:80\n");
	list = rig_get(&rig, "endpointslices", NULL, "web-ipv4");
	rig_json(json_object_get(json_array_get(json_object_get(json_array_get(list, 0),
								"endpoints"),
						0),
				 "hints"),
		 "{\"forZones\": [{\"name\": \"east\"}], \"forNodes\": [{\"name\": \"node-c\"}]}");
	json_decref(list);
	/* none here: the zone; none in the zone: all */
	rig_delete(&rig, POD("a", "", "x", "10.0.0.1", ""), NULL);
	rig_service(&rig, "web", CLUSTER "10.0.0.2:80 C1, 10.0.0.3:80\n");
	rig_apply(&rig, POD("b", APP, "node-b", "10.0.0.2", UNREADY), NULL);
	rig_service(&rig, "web", CLUSTER "10.0.0.2:80 not-ready, 10.0.0.3:80 C1\n");
	rig_apply(&rig, SVC("", "trafficDistribution: PreferSameZone")
			    POD("b", APP, "node-b", "10.0.0.2", ""),
		  NULL);
	rig_service(&rig, "web", CLUSTER "10.0.0.2:80 C1, 10.0.0.3:80\n");
	rig_refuse(&rig, SVC("", "trafficDistribution: Near"),
		   "in: document 1: spec.trafficDistribution: \"Near\" is not one of PreferClose, "
		   "PreferSameZone, PreferSameNode");
	/* a restart knows it all again */
	rig_reopen(&rig);
	rig_service(&rig, "web", CLUSTER "10.0.0.2:80 C1, 10.0.0.3:80\n");
	rig_teardown(&rig);
}

#define SPLIT(text) SVC("annotations: {bpfnet.io/weights: '" text "'}", "")
#define V1 "labels: {app: web, version: v1}"
#define V2 "labels: {app: web, version: v2}"
#define UNEVEN "ClusterIP 10.96.0.5:80/6 consistent -> "

static void test_weights(void **state)
{
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig,
		  SPLIT("version=v1:90, version=v2:10") POD("a", V1, "node-b", "10.0.0.1", "")
		      POD("b", V1, "node-b", "10.0.0.2", "") POD("c", V1, "node-a", "10.0.0.3", "")
			  POD("d", V2, "node-a", "10.0.0.4", "")
			      POD("e", APP, "node-a", "10.0.0.5", ""),
		  NULL);
	/* 90 % among three, 10 % for one; of those here, for one each; none for who is neither */
	rig_service(&rig, "web",
		    UNEVEN "10.0.0.1:80 C3, 10.0.0.2:80 C3, 10.0.0.3:80 local C3 L9, 10.0.0.4:80 "
			   "local C1 L1, 10.0.0.5:80 local\n");
	/* a pod fails: its group keeps its share */
	rig_apply(&rig, POD("c", V1, "node-a", "10.0.0.3", UNREADY), NULL);
	rig_service(&rig, "web",
		    UNEVEN "10.0.0.1:80 C9, 10.0.0.2:80 C9, 10.0.0.3:80 local not-ready, "
			   "10.0.0.4:80 local C2 L1, 10.0.0.5:80 local\n");
	/* a group fails: the others get all */
	rig_apply(&rig, POD("d", V2, "node-a", "10.0.0.4", UNREADY), NULL);
	rig_service(&rig, "web",
		    CLUSTER "10.0.0.1:80 C9, 10.0.0.2:80 C9, 10.0.0.3:80 local not-ready, "
			    "10.0.0.4:80 local not-ready, 10.0.0.5:80 local\n");
	/* a pod's own weight, within its group and without groups */
	rig_apply(&rig,
		  POD("a", V1 ", annotations: {bpfnet.io/weight: '3'}", "node-b", "10.0.0.1", "")
		      POD("d", V2, "node-a", "10.0.0.4", ""),
		  NULL);
	rig_service(&rig, "web",
		    UNEVEN "10.0.0.1:80 C27, 10.0.0.2:80 C9, 10.0.0.3:80 local not-ready, "
			   "10.0.0.4:80 local C4 L5, 10.0.0.5:80 local\n");
	rig_apply(&rig, SVC("", ""), NULL);
	rig_service(&rig, "web",
		    UNEVEN "10.0.0.1:80 C3, 10.0.0.2:80 C1, 10.0.0.3:80 local not-ready, "
			   "10.0.0.4:80 local C1 L1, 10.0.0.5:80 local C1 L1\n");
	rig_apply(&rig,
		  POD("a", V1 ", annotations: {bpfnet.io/weight: '0'}", "node-b", "10.0.0.1", ""),
		  NULL);
	rig_service(&rig, "web",
		    CLUSTER "10.0.0.1:80, 10.0.0.2:80 C1, 10.0.0.3:80 local not-ready, "
			    "10.0.0.4:80 local C1 L1, 10.0.0.5:80 local C1 L1\n");
	/* share 0, and pods that a given slice names */
	rig_apply(&rig,
		  SPLIT("version=v2:1,version=v1:0") SLICE(
		      "{addresses: [10.1.0.1], targetRef: {kind: Pod, name: b}}, {addresses: "
		      "[10.1.0.2], targetRef: {kind: Pod, name: d}}, {addresses: [10.1.0.3]}"),
		  NULL);
	rig_service(&rig, "web", CLUSTER "10.1.0.1:80, 10.1.0.2:80 C1, 10.1.0.3:80\n");
	rig_teardown(&rig);
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
#define AT "in: document 1: metadata.annotations.bpfnet.io/"
	    {SPLIT("version=v1:many"),
	     AT "weights: \"many\" is not a weight, a number from 0 to 1000"},
	    {SPLIT("version=v1:-1"), AT "weights: \"-1\" is not a weight, a number from 0 to 1000"},
	    {SPLIT("version=v1:"), AT "weights: \"\" is not a weight, a number from 0 to 1000"},
	    {SPLIT("version=v1:1001"),
	     AT "weights: \"1001\" is not a weight, a number from 0 to 1000"},
	    {SPLIT("version=v1"), AT "weights: \"version=v1\" is not of the form KEY=VALUE:WEIGHT"},
	    {SPLIT("v1:10"), AT "weights: \"v1:10\" is not of the form KEY=VALUE:WEIGHT"},
	    {SPLIT("a=b:1,"), AT "weights: \"\" is not of the form KEY=VALUE:WEIGHT"},
	    {SPLIT(""), AT "weights: \"\" is not of the form KEY=VALUE:WEIGHT"},
	    {SPLIT("a=b:0,a=c:0"), AT "weights: leaves nobody a share"},
	    {SPLIT("a=b c:1"), AT "weights: \"b c\" must be empty or at most 63 letters, digits, "
				  "'-', '_' and '.', a letter or digit at both ends"},
	    {SPLIT("=b:1"),
	     AT "weights: the key \"\" must be a name of at most 63 letters, digits, '-', '_' and "
		"'.', optionally after a DNS name and '/'"},
	    {SPLIT("a=a:1,a=b:1,a=c:1,a=d:1,a=e:1,a=f:1,a=g:1,a=h:1,a=i:1,a=j:1,a=k:1,a=l:1,a=m:1,"
		   "a=n:1,a=o:1,a=p:1,a=q:1"),
	     AT "weights: has more than 16 groups"},
	    {POD("a", "annotations: {bpfnet.io/weight: heavy}", "n", "10.0.0.1", ""),
	     AT "weight: \"heavy\" is not a weight, a number from 0 to 1000"},
	    {POD("a", "annotations: {bpfnet.io/weight: '1.5'}", "n", "10.0.0.1", ""),
	     AT "weight: \"1.5\" is not a weight, a number from 0 to 1000"},
	    {SVC("", "externalTrafficPolicy: Near, type: NodePort"),
	     "in: document 1: spec.externalTrafficPolicy: \"Near\" is not one of Cluster, Local"},
	    {SVC("", "internalTrafficPolicy: local"),
	     "in: document 1: spec.internalTrafficPolicy: \"local\" is not one of Cluster, Local"},
	};
	struct rig rig;

	rig_setup(&rig);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		rig_refuse(&rig, cases[i].text, cases[i].message);
	rig_teardown(&rig);
}

/* Sums without a common multiple of a size, and shares of all sizes: never zero, in proportion. */
static void test_weight_scale(void **state)
{
	static const uint16_t sizes[] = {997, 991, 983, 7};
	char *text = NULL;
	size_t n = 0;
	struct rig rig;
	FILE *f = open_memstream(&text, &n);

	rig_setup(&rig);
	fputs(SPLIT("g=g0:1000,g=g1:1,g=g2:500,g=g3:1000"), f);
	for (unsigned g = 0; g < 4; g++)
		fprintf(f,
			"---\napiVersion: v1\nkind: Pod\nmetadata: {name: p%u, labels: {app: web, "
			"g: g%u}, annotations: {bpfnet.io/weight: '%u'}}\nstatus: {podIP: "
			"10.0.0.%u}\n",
			g, g, sizes[g], g + 1);
	fclose(f);
	rig_apply(&rig, text, NULL);
	free(text);
	rig_service(&rig, "web",
		    UNEVEN "10.0.0.1:80 C1000, 10.0.0.2:80 C1, 10.0.0.3:80 C500, 10.0.0.4:80 "
			   "C1000\n");
	rig_teardown(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_terminating), cmocka_unit_test(test_hints),
	    cmocka_unit_test(test_distribution), cmocka_unit_test(test_weights),
	    cmocka_unit_test(test_refused),	 cmocka_unit_test(test_weight_scale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* What objects come to mean: controllers, allotment, peers, and all or nothing. */
#include "test-objects.h"

#define SVC(name, rest)                                                                            \
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: " name "}\nspec: {" rest "}\n"
#define POD(name, labels, spec, status)                                                            \
	"---\napiVersion: v1\nkind: Pod\nmetadata: {name: " name ", labels: {" labels              \
	"}}\nspec: {" spec "}\nstatus: {" status "}\n"

static void test_selectors(void **state)
{
	struct rig rig;

	rig_setup(&rig);
	rig_apply(
	    &rig,
	    SVC("web", "clusterIP: 10.96.0.5, selector: {app: web}, ports: [{port: 80, "
		       "targetPort: http}]") POD("a", "app: web",
						 "containers: [{ports: [{name: http, "
						 "containerPort: 8080}]}]",
						 "podIP: 10.0.0.1")
		POD("b", "app: web", "containers: [{ports: [{name: http, containerPort: 9090}]}]",
		    "podIP: 10.0.0.2, conditions: [{type: Ready, status: 'True'}]")
		    POD("c", "app: web",
			"containers: [{ports: [{name: http, containerPort: 8080}]}]",
			"podIP: 10.0.0.3, conditions: [{type: Ready, status: 'False'}]")
			POD("noport", "app: web", "",
			    "podIP: 10.0.0.4") POD("udp", "app: web",
						   "containers: [{ports: [{name: http, protocol: "
						   "UDP, containerPort: 53}]}]",
						   "podIP: 10.0.0.5")
			    POD("done", "app: web", "",
				"podIP: 10.0.0.1, phase: Succeeded") POD("noip", "app: web", "", "")
				POD("other", "app: other", "", "podIP: 10.0.0.7") POD(
				    "six", "app: web", "",
				    "podIP: 'fd00::1'") "---\napiVersion: v1\nkind: Pod\nmetadata: "
							"{name: far, namespace: x, labels: {app: "
							"web}}\nstatus: {podIP: 10.0.0.8}\n",
	    NULL);
	rig_json(rig.services, "{\"default/web\": {\"10.96.0.5:80/6\": [\"10.0.0.1:8080\", "
			       "\"10.0.0.2:9090\", \"10.0.0.3:8080 not ready\"]}}");

	/* a pod is deleted: terminating while it serves; labels, numbers and readiness change */
	rig.services_told = 0;
	rig_apply(&rig,
		  "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {app: web}, "
		  "deletionTimestamp: 2024-01-01T00:00:00Z}\nspec: {containers: [{ports: [{name: "
		  "http, containerPort: 8080}]}]}\nstatus: {podIP: 10.0.0.1}\n",
		  "pod default/a configured");
	rig_apply(&rig, POD("b", "app: webb", "", "podIP: 10.0.0.2"), NULL);
	rig_apply(&rig,
		  POD("c", "app: web", "containers: [{ports: [{name: http, containerPort: 81}]}]",
		      "podIP: 10.0.0.3"),
		  NULL);
	assert_int_equal(rig.services_told, 3);
	rig_json(rig.services, "{\"default/web\": {\"10.96.0.5:80/6\": [\"10.0.0.1:8080 "
			       "terminating\", \"10.0.0.3:81\"]}}");

	/* a pod that no selector matches tells nobody */
	rig.services_told = 0;
	rig_apply(&rig, POD("other", "app: third", "", "podIP: 10.0.0.7"), NULL);
	assert_int_equal(rig.services_told, 0);

	rig_apply(&rig,
		  SVC("web", "publishNotReadyAddresses: true, selector: {app: web}, ports: [{port: "
			     "80}]"),
		  "service default/web configured");
	rig_json(rig.services, "{\"default/web\": {\"10.96.0.5:80/6\": [\"10.0.0.1:80\", "
			       "\"10.0.0.3:80\", \"10.0.0.4:80\", \"10.0.0.5:80\"]}}");
	rig_delete(&rig, SVC("web", ""), "service default/web deleted");
	rig_json(rig.services, "{}");
	rig_teardown(&rig);
}

static void test_slices(void **state)
{
	static const char slice[] =
	    "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, "
	    "labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\nports: [{name: http, "
	    "port: 8080}, {name: any}]\nendpoints:\n- {addresses: [10.1.0.1, 10.1.0.9]}\n- "
	    "{addresses: [10.1.0.2], conditions: {ready: false, serving: true, terminating: "
	    "true}}\n- {addresses: [10.1.0.3], conditions: {ready: false}}\n- {addresses: "
	    "[10.1.0.1], conditions: {ready: false}}\n";
	struct rig rig;
	json_t *list;

	rig_setup(&rig);
	rig_apply(&rig,
		  SVC("web", "clusterIPs: ['fd00:96::5', 10.96.0.5], selector: {app: web}, ports: "
			     "[{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]")
		      POD("a", "app: web", "nodeName: node-b",
			  "podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]"),
		  NULL);
	rig_json(rig.services,
		 "{\"default/web\": {\"10.96.0.5:80/6\": [\"10.0.0.1:80\"], \"fd00:96::5:80/6\": "
		 "[\"fd00::1:80\"], \"10.96.0.5:53/17\": [\"10.0.0.1:53\"], \"fd00:96::5:53/17\": "
		 "[\"fd00::1:53\"]}}");
	list = rig_get(&rig, "endpointslices", "default", NULL);
	rig_json(
	    list,
	    "[{\"apiVersion\": \"discovery.k8s.io/v1\", \"kind\": \"EndpointSlice\", "
	    "\"metadata\": {\"name\": \"web-ipv4\", \"namespace\": \"default\", \"labels\": "
	    "{\"endpointslice.kubernetes.io/managed-by\": \"bpfnetd\", "
	    "\"kubernetes.io/service-name\": \"web\"}}, \"addressType\": \"IPv4\", "
	    "\"endpoints\": [{\"addresses\": [\"10.0.0.1\"], \"conditions\": {\"ready\": true, "
	    "\"serving\": true, \"terminating\": false}, \"nodeName\": \"node-b\", "
	    "\"targetRef\": {\"kind\": \"Pod\", \"name\": \"a\", \"namespace\": \"default\"}}], "
	    "\"ports\": [{\"name\": \"http\", \"port\": 80, \"protocol\": \"TCP\"}, {\"name\": "
	    "\"dns\", \"port\": 53, \"protocol\": \"UDP\"}]}, {\"apiVersion\": "
	    "\"discovery.k8s.io/v1\", \"kind\": \"EndpointSlice\", \"metadata\": {\"name\": "
	    "\"web-ipv6\", \"namespace\": \"default\", \"labels\": "
	    "{\"endpointslice.kubernetes.io/managed-by\": \"bpfnetd\", "
	    "\"kubernetes.io/service-name\": \"web\"}}, \"addressType\": \"IPv6\", "
	    "\"endpoints\": [{\"addresses\": [\"fd00::1\"], \"conditions\": {\"ready\": true, "
	    "\"serving\": true, \"terminating\": false}, \"nodeName\": \"node-b\", "
	    "\"targetRef\": {\"kind\": \"Pod\", \"name\": \"a\", \"namespace\": \"default\"}}], "
	    "\"ports\": [{\"name\": \"http\", \"port\": 80, \"protocol\": \"TCP\"}, {\"name\": "
	    "\"dns\", \"port\": 53, \"protocol\": \"UDP\"}]}]");
	json_decref(list);
	list = rig_get(&rig, "slices", NULL, "web-ipv6");
	assert_int_equal(json_array_size(list), 1);
	json_decref(list);

	/* given slices win, and the derived ones are gone */
	rig_apply(&rig, slice, "endpointslice default/s created");
	rig_json(rig.services,
		 "{\"default/web\": {\"10.96.0.5:80/6\": [\"10.1.0.1:8080\", \"10.1.0.2:8080 "
		 "terminating\", \"10.1.0.3:8080 not ready\"], \"fd00:96::5:80/6\": [], "
		 "\"10.96.0.5:53/17\": [], \"fd00:96::5:53/17\": []}}");
	list = rig_get(&rig, "EndpointSlices.discovery.k8s.io", NULL, NULL);
	assert_int_equal(json_array_size(list), 1);
	json_decref(list);
	rig_refuse(&rig,
		   "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: "
		   "s}\naddressType: IPv6\n",
		   "in: document 1: addressType: is immutable, delete the EndpointSlice first");
	rig_delete(&rig, slice, "endpointslice default/s deleted");
	assert_int_equal(json_array_size(json_object_get(
			     json_object_get(rig.services, "default/web"), "10.96.0.5:53/17")),
			 1);

	/* slices may be there before their service */
	rig_apply(
	    &rig,
	    "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: t, labels: "
	    "{kubernetes.io/service-name: late}}\naddressType: IPv6\nports: [{port: "
	    "1}]\nendpoints: [{addresses: ['fd00::9']}]\n",
	    NULL);
	assert_null(json_object_get(rig.services, "default/late"));
	rig_apply(&rig, SVC("late", "clusterIP: 'fd00:96::9', ports: [{port: 7}]"), NULL);
	rig_json(json_object_get(rig.services, "default/late"),
		 "{\"fd00:96::9:7/6\": [\"fd00::9:1\"]}");
	rig_teardown(&rig);
}

static const char *cluster_ip(struct rig *rig, const char *name, char buf[64], const char *key)
{
	json_t *list = rig_get(rig, "svc", NULL, name);
	char *text =
	    json_dumps(json_object_get(json_object_get(json_array_get(list, 0), "spec"), key),
		       JSON_ENCODE_ANY | JSON_COMPACT);

	snprintf(buf, 64, "%s", text ? text : "absent");
	free(text);
	json_decref(list);
	return buf;
}

static void test_allotment(void **state)
{
	char ip[64], again[64];
	struct rig rig;

	rig_setup_cidrs(&rig, (const char *const[]){"10.96.0.0/29", "fd00:96::/126", NULL});
	/* the explicit one comes last and is still respected */
	rig_apply(&rig,
		  SVC("a", "ports: [{port: 80}]")
		      SVC("b", "clusterIP: 10.96.0.1, ports: [{port: 80}]"),
		  NULL);
	assert_string_equal(cluster_ip(&rig, "a", ip, "clusterIP"), "\"10.96.0.2\"");
	rig_refuse(&rig, SVC("c", "clusterIP: 10.96.0.2, ports: [{port: 80}]"),
		   "in: document 1: spec.clusterIPs: 10.96.0.2 is already taken by service "
		   "default/a");
	rig_refuse(&rig,
		   SVC("c", "clusterIP: 10.96.0.7, ports: [{port: 80}]")
		       SVC("d", "clusterIP: 10.96.0.7, ports: [{port: 80}]"),
		   "in: document 1: spec.clusterIPs: 10.96.0.7 is already taken by service "
		   "default/d");
	/* kept over an update, a restart and a change of the ranges */
	rig_apply(&rig, SVC("a", "ports: [{port: 81}]"), "service default/a configured");
	assert_string_equal(cluster_ip(&rig, "a", again, "clusterIP"), ip);
	rig_reopen(&rig);
	rig_apply(&rig, SVC("a", "ports: [{port: 81}]"), "service default/a unchanged");
	assert_string_equal(cluster_ip(&rig, "a", again, "clusterIPs"), "[\"10.96.0.2\"]");
	/* immutable, but for ExternalName */
	rig_refuse(
	    &rig, SVC("a", "clusterIP: 10.96.0.3, ports: [{port: 80}]"),
	    "in: document 1: spec.clusterIP: is immutable, it can't change from 10.96.0.2 to "
	    "10.96.0.3; delete the Service first");
	rig_refuse(
	    &rig, SVC("a", "clusterIP: None"),
	    "in: document 1: spec.clusterIP: is immutable, it can't change from 10.96.0.2 to "
	    "None; delete the Service first");
	rig_refuse(
	    &rig, SVC("a", "ipFamilies: [IPv6], ports: [{port: 80}]"),
	    "in: document 1: spec.ipFamilies: the first family is immutable, it can't change "
	    "from IPv4 to IPv6; delete the Service first");
	rig_apply(&rig, SVC("b", "type: ExternalName, externalName: example.com"), NULL);
	assert_string_equal(cluster_ip(&rig, "b", ip, "clusterIP"), "absent");
	rig_apply(&rig, SVC("b", "clusterIP: 10.96.0.6, ports: [{port: 80}]"), NULL);
	/* dual stack, grown and shrunk */
	rig_apply(&rig, SVC("a", "ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]"), NULL);
	assert_string_equal(cluster_ip(&rig, "a", ip, "clusterIPs"),
			    "[\"10.96.0.2\",\"fd00:96::1\"]");
	rig_apply(&rig, SVC("a", "ipFamilyPolicy: SingleStack, ports: [{port: 80}]"), NULL);
	assert_string_equal(cluster_ip(&rig, "a", ip, "clusterIPs"), "[\"10.96.0.2\"]");
	rig_apply(&rig,
		  SVC("six", "ipFamilies: [IPv6, IPv4], ipFamilyPolicy: RequireDualStack, ports: "
			     "[{port: 80}]"),
		  NULL);
	assert_string_equal(cluster_ip(&rig, "six", ip, "clusterIPs"),
			    "[\"fd00:96::2\",\"10.96.0.1\"]");
	/* neither network nor broadcast address, and then there is no more */
	rig_apply(&rig,
		  SVC("e", "ports: [{port: 80}]") SVC("f", "ports: [{port: 80}]")
		      SVC("g", "ports: [{port: 80}]"),
		  NULL);
	rig_refuse(&rig, SVC("h", "ports: [{port: 80}]"),
		   "in: document 1: spec.clusterIPs: every IPv4 address of the service CIDRs is "
		   "taken, add a --service-cidr");
	rig_delete(&rig, SVC("f", ""), NULL);
	rig_apply(&rig, SVC("h", "ports: [{port: 80}]"), NULL);
	/* outside of every CIDR */
	rig_apply(&rig, SVC("out", "clusterIP: 192.0.2.1, ports: [{port: 80}]"), NULL);
	rig_json(json_object_get(rig.services, "default/out"), "{\"192.0.2.1:80/6\": []}");
	rig_teardown(&rig);
}

static void test_node_ports(void **state)
{
	struct rig rig;
	json_t *list, *spec;
	int first, second;

	rig_setup(&rig);
	rig_apply(&rig,
		  SVC("a",
		      "type: NodePort, ports: [{name: p, port: 80}, {name: q, port: 81, nodePort: "
		      "30100}]"),
		  NULL);
	rig_refuse(&rig, SVC("b", "type: NodePort, ports: [{port: 80, nodePort: 30100}]"),
		   "in: document 1: spec.ports[0].nodePort: 30100 is already taken by service "
		   "default/a");
	list = rig_get(&rig, "svc", "default", "a");
	assert_int_equal(json_unpack(list, "[{s:{s:[{s:i},{s:i}]}}]", "spec", "ports", "nodePort",
				     &first, "nodePort", &second),
			 0);
	json_decref(list);
	assert_in_range(first, 30000, 32767);
	assert_int_equal(second, 30100);
	rig_reopen(&rig);
	rig_apply(&rig,
		  SVC("a",
		      "type: LoadBalancer, externalTrafficPolicy: Local, ports: [{name: q, port: "
		      "81}, {name: p, port: 80}]"),
		  NULL);
	list = rig_get(&rig, "services", "default", "a");
	assert_int_equal(json_unpack(list, "[{s:o}]", "spec", &spec), 0);
	assert_int_equal(json_integer_value(json_object_get(
			     json_array_get(json_object_get(spec, "ports"), 0), "nodePort")),
			 30100);
	assert_int_equal(json_integer_value(json_object_get(
			     json_array_get(json_object_get(spec, "ports"), 1), "nodePort")),
			 first);
	assert_in_range(json_integer_value(json_object_get(spec, "healthCheckNodePort")), 30000,
			32767);
	json_decref(list);
	assert_int_equal(json_object_size(json_object_get(rig.services, "default/a")), 4);
	rig_teardown(&rig);
}

static void test_get(void **state)
{
	struct bn_error err = BN_ERROR_INIT;
	struct rig rig;
	json_t *list = NULL;

	rig_setup(&rig);
	rig_apply(&rig, SVC("web", "clusterIP: 10.96.0.9, ports: [{port: 80}]"), NULL);
	list = rig_get(&rig, "svc", NULL, NULL);
	rig_json(
	    list,
	    "[{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"web\", "
	    "\"namespace\": \"default\"}, \"spec\": {\"clusterIP\": \"10.96.0.9\", "
	    "\"clusterIPs\": [\"10.96.0.9\"], \"ipFamilies\": [\"IPv4\"], \"ipFamilyPolicy\": "
	    "\"SingleStack\", \"internalTrafficPolicy\": \"Cluster\", \"type\": \"ClusterIP\", "
	    "\"sessionAffinity\": \"None\", \"ports\": [{\"port\": 80, \"protocol\": \"TCP\", "
	    "\"targetPort\": 80}]}, \"status\": {\"loadBalancer\": {}}}]");
	json_decref(list);
	assert_int_equal(bn_objects_get(rig.objects, "svc", "x", "web", &list, &err), -ENOENT);
	assert_string_equal(bn_error_text(&err), "services \"web\" not found in namespace \"x\"");
	bn_error_done(&err);
	assert_int_equal(bn_objects_get(rig.objects, "cm", NULL, NULL, &list, &err), -EINVAL);
	assert_string_equal(bn_error_text(&err), "\"cm\" is no kind, only namespaces, nodes, pods, "
						 "services, endpointslices, networkpolicies "
						 "and clusternetworkpolicies are");
	bn_error_done(&err);
	rig_teardown(&rig);
}

static void test_peers(void **state)
{
	union bn_addr ips[2] = {rig_addr("10.0.0.5"), rig_addr("fd00::5")};
	struct bn_error err = BN_ERROR_INIT;
	struct bn_owner owner;
	struct rig rig;

	rig_setup(&rig);
	rig_apply(
	    &rig,
	    "{apiVersion: v1, kind: Node, metadata: {name: node-a}, status: {addresses: [{type: "
	    "InternalIP, address: 192.168.0.1}, {type: Hostname, address: node-a}]}}\n---\n"
	    "{apiVersion: v1, kind: Node, metadata: {name: node-b}, status: {addresses: [{type: "
	    "InternalIP, address: 192.168.0.2}]}}\n" POD("far", "a: b", "nodeName: node-b",
							 "podIP: 10.1.0.1")
		POD("host", "app: web", "hostNetwork: true",
		    "podIP: 192.168.0.1") POD("near", "app: web", "nodeName: node-a", "")
		    SVC("web", "clusterIP: 10.96.0.5, selector: {app: web}, ports: [{port: 80}]"),
	    NULL);
	rig_json(rig.peers, "{\"192.168.0.1\": 2, \"192.168.0.2\": 4, \"10.1.0.1\": 3}");
	rig_json(json_object_get(rig.services, "default/web"),
		 "{\"10.96.0.5:80/6\": [\"192.168.0.1:80\"]}");

	/* an endpoint gives its pod addresses and is no peer */
	assert_int_equal(bn_objects_endpoint_set(rig.objects, "default", "near", ips, 2, &err), 0);
	rig_json(json_object_get(rig.services, "default/web"),
		 "{\"10.96.0.5:80/6\": [\"10.0.0.5:80\", \"192.168.0.1:80\"]}");
	assert_int_equal(json_object_size(rig.peers), 3);
	assert_int_equal(bn_objects_address_owner(rig.objects, &ips[1], &owner), 0);
	assert_int_equal(owner.kind, BN_OWNER_POD);
	assert_string_equal(owner.name, "near");

	/* its address is nobody else's */
	assert_int_equal(bn_objects_endpoint_set(rig.objects, "default", "x", ips, 1, &err),
			 -EADDRINUSE);
	assert_string_equal(bn_error_text(&err), "cannot give 10.0.0.5 to pod default/x: it is "
						 "already taken by endpoint default/near");
	bn_error_done(&err);
	rig_refuse(&rig, POD("yy", "", "", "podIP: 10.0.0.5"),
		   "in: document 1: status.podIPs: 10.0.0.5 is already taken by endpoint "
		   "default/near");

	/* a remote pod that gets an endpoint here is no peer any more, and again when it goes */
	ips[0] = rig_addr("10.1.0.1");
	assert_int_equal(bn_objects_endpoint_set(rig.objects, "default", "far", ips, 1, &err), 0);
	rig_json(rig.peers, "{\"192.168.0.1\": 2, \"192.168.0.2\": 4}");
	assert_int_equal(bn_objects_endpoint_remove(rig.objects, "default", "far", &err), 0);
	assert_int_equal(json_object_size(rig.peers), 3);
	assert_int_equal(bn_objects_endpoint_remove(rig.objects, "default", "far", &err), -ENOENT);
	bn_error_done(&err);

	/* the datapath refuses: as if nothing had been */
	rig.fail = -ENOSPC;
	assert_int_equal(bn_objects_endpoint_remove(rig.objects, "default", "near", &err), -ENOSPC);
	bn_error_done(&err);
	rig.fail = 0;
	assert_int_equal(bn_objects_address_owner(rig.objects, &ips[1], &owner), 0);

	/* no manifest: a pod without labels */
	rig_delete(&rig, POD("near", "", "", ""), "pod default/near deleted");
	rig_json(json_object_get(rig.services, "default/web"),
		 "{\"10.96.0.5:80/6\": [\"192.168.0.1:80\"]}");
	assert_int_equal(bn_objects_address_owner(rig.objects, &ips[1], &owner), 0);

	/* addresses may change hands within one call */
	rig_apply(&rig, POD("p", "", "", "podIP: 10.2.0.1") POD("q", "", "", "podIP: 10.2.0.2"),
		  NULL);
	rig_apply(&rig, POD("p", "", "", "podIP: 10.2.0.2") POD("q", "", "", "podIP: 10.2.0.1"),
		  NULL);
	rig_teardown(&rig);
}

static int count_labels(void *user, const struct bn_label *labels, size_t n)
{
	return (int)n;
}

static void test_notices(void **state)
{
	union bn_addr ip = rig_addr("10.0.0.9");
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig, POD("a", "x: v, z: w", "", ""), NULL);
	rig_apply(&rig, POD("a", "x: v, z: w", "", ""), "pod default/a unchanged");
	assert_int_equal(bn_objects_pod_labels(rig.objects, "default", "a", count_labels, NULL), 2);
	assert_int_equal(bn_objects_pod_labels(rig.objects, "default", "b", count_labels, NULL),
			 -ENOENT);
	assert_int_equal(bn_objects_endpoint_set(rig.objects, "default", "b", &ip, 1, NULL), 0);
	assert_int_equal(bn_objects_pod_labels(rig.objects, "default", "b", count_labels, NULL),
			 -ENOENT);
	rig_json(rig.pods, "[\"default/a\"]");
	json_array_clear(rig.pods);
	rig_apply(&rig,
		  "apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {team: a}}\n",
		  "namespace default created");
	assert_int_equal(json_array_size(rig.pods), 2);
	rig_teardown(&rig);
}

static void test_all_or_nothing(void **state)
{
	struct bn_error err = BN_ERROR_INIT;
	json_t *services, *peers, *list;
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig,
		  SVC("web", "clusterIP: 10.96.0.5, selector: {app: web}, ports: [{port: 80}]")
		      POD("a", "app: web", "", "podIP: 10.0.0.1"),
		  NULL);
	services = json_deep_copy(rig.services);
	peers = json_deep_copy(rig.peers);

	/* the last document is bad */
	rig_refuse(&rig,
		   SVC("web", "ports: [{port: 81}]") POD("a", "app: x", "", "podIP: 10.0.0.2")
		       SVC("new", "ports: [{port: 80}]") "---\nkind: Foo\n",
		   "in: document 4: apiVersion: is required");
	/* the datapath refuses */
	rig.fail = -ENOSPC;
	assert_null(rig_run(
	    &rig, false, SVC("web", "ports: [{port: 81}]") SVC("nn", "ports: [{port: 1}]"),
	    strlen(SVC("web", "ports: [{port: 81}]") SVC("nn", "ports: [{port: 1}]")), &err));
	assert_string_equal(bn_error_text(&err), "the datapath is full");
	bn_error_done(&err);
	assert_null(rig_run(&rig, true, SVC("web", ""), strlen(SVC("web", "")), &err));
	bn_error_done(&err);
	rig.fail = 0;
	/* one of two to delete is not there */
	assert_null(rig_run(&rig, true, SVC("web", "") SVC("x", ""),
			    strlen(SVC("web", "") SVC("x", "")), &err));
	assert_string_equal(bn_error_text(&err),
			    "in: document 2: services \"x\" not found in namespace \"default\"");
	bn_error_done(&err);

	assert_true(json_equal(rig.services, services));
	assert_true(json_equal(rig.peers, peers));
	list = rig_get(&rig, "svc", NULL, NULL);
	assert_int_equal(json_array_size(list), 1);
	json_decref(list);
	/* and the model agrees with that */
	rig_apply(&rig, POD("b", "app: web", "", "podIP: 10.0.0.2"), NULL);
	rig_json(rig.services,
		 "{\"default/web\": {\"10.96.0.5:80/6\": [\"10.0.0.1:80\", \"10.0.0.2:80\"]}}");
	rig_reopen(&rig);
	rig_json(rig.services,
		 "{\"default/web\": {\"10.96.0.5:80/6\": [\"10.0.0.1:80\", \"10.0.0.2:80\"]}}");
	json_decref(services);
	json_decref(peers);
	rig_teardown(&rig);
}

static int count_services(void *user, const struct bn_service_spec *service)
{
	unsigned *n = user;

	assert_string_equal(service->name, *n ? "b" : "a");
	++*n;
	return 0;
}

static void test_walk(void **state)
{
	unsigned n = 0;
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig, SVC("b", "ports: [{port: 1}]") SVC("a", "clusterIP: None"), NULL);
	assert_int_equal(bn_objects_each_service(rig.objects, count_services, &n), 0);
	assert_int_equal(n, 2);
	n = 0;
	assert_int_equal(bn_objects_service(rig.objects, "default", "a", count_services, &n), 0);
	assert_int_equal(bn_objects_service(rig.objects, "default", "c", count_services, &n),
			 -ENOENT);
	rig_teardown(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_selectors), cmocka_unit_test(test_slices),
	    cmocka_unit_test(test_allotment), cmocka_unit_test(test_node_ports),
	    cmocka_unit_test(test_get),       cmocka_unit_test(test_peers),
	    cmocka_unit_test(test_notices),   cmocka_unit_test(test_all_or_nothing),
	    cmocka_unit_test(test_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* Frontends of every kind, what they say of their traffic, and whose ports they are. */
#include "test-objects.h"

#define SVC(name, rest)                                                                            \
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: " name "}\nspec: {" rest "}\n"
#define POD(name, spec, status)                                                                    \
	"---\napiVersion: v1\nkind: Pod\nmetadata: {name: " name                                   \
	", labels: {app: web}}\nspec: {" spec "}\nstatus: {" status "}\n"
#define PORTS(list) "containers: [{ports: [" list "]}]"

static void test_kinds(void **state)
{
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig,
		  POD("a", "nodeName: node-a", "podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]")
			  POD("b", "nodeName: node-b", "podIP: 10.0.0.2"),
		  NULL);
	rig_apply(
		&rig,
		"apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
		"spec: {type: LoadBalancer, clusterIPs: [10.96.0.5, 'fd00:96::5'], selector: {app: "
		"web}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}], externalIPs: "
		"[192.0.2.1, '2001:db8::1', 192.0.2.1], internalTrafficPolicy: Local, "
		"externalTrafficPolicy: Local, healthCheckNodePort: 30999, sessionAffinity: "
		"ClientIP, "
		"sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}, "
		"loadBalancerSourceRanges: "
		"[198.51.100.0/24, 203.0.113.0/24]}\n"
		"status: {loadBalancer: {ingress: [{ip: 192.0.2.9}, {hostname: x}, {ip: "
		"'2001:db8::9'}, "
		"{ip: 192.0.2.1}, {ip: 192.0.2.10, ipMode: Proxy}, {ip: 192.0.2.11, ipMode: "
		"VIP}]}}\n",
		NULL);
	rig_service(
		&rig, "web",
		"ClusterIP 10.96.0.5:80/6 affinity 60 inside-local -> 10.0.0.1:8080 local C1 L1, "
		"10.0.0.2:8080 C1\n"
		"ExternalIP 192.0.2.1:80/6 affinity 60 outside-local consistent -> 10.0.0.1:8080 "
		"local "
		"C1 L1, 10.0.0.2:8080 C1\n"
		"LoadBalancer 192.0.2.9:80/6 affinity 60 outside-local consistent from "
		"198.51.100.0/24 "
		"203.0.113.0/24 -> 10.0.0.1:8080 local C1 L1, 10.0.0.2:8080 C1\n"
		"LoadBalancer 192.0.2.11:80/6 affinity 60 outside-local consistent from "
		"198.51.100.0/24 "
		"203.0.113.0/24 -> 10.0.0.1:8080 local C1 L1, 10.0.0.2:8080 C1\n"
		"NodePort 0.0.0.0:30080/6 affinity 60 outside-local consistent -> 10.0.0.1:8080 "
		"local "
		"C1 L1, 10.0.0.2:8080 C1\n"
		"ClusterIP fd00:96::5:80/6 affinity 60 inside-local -> fd00::1:8080 local C1 L1\n"
		"ExternalIP 2001:db8::1:80/6 affinity 60 outside-local consistent -> fd00::1:8080 "
		"local C1 L1\n"
		"LoadBalancer 2001:db8::9:80/6 affinity 60 outside-local consistent from -> "
		"fd00::1:8080 local C1 L1\n"
		"NodePort :::30080/6 affinity 60 outside-local consistent -> fd00::1:8080 local C1 "
		"L1\n"
		"health 30999: 1\n");
	/* an ingress is nothing to a service that is no balancer */
	rig_apply(&rig,
		  "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: NodePort, "
		  "ipFamilyPolicy: SingleStack, ports: [{port: 53, nodePort: 30080, protocol: "
		  "UDP}]}\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.9}]}}\n",
		  NULL);
	rig_service(&rig, "web",
		       "ClusterIP 10.96.0.5:53/17 ->\nNodePort 0.0.0.0:30080/17 consistent ->\n");
	rig_refuse(
		&rig,
		"apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {type: LoadBalancer, "
		"ports: [{port: 80}]}\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.9, ipMode: "
		"Vip}]}}\n",
		"in: document 1: status.loadBalancer.ingress[0].ipMode: \"Vip\" is not one of "
		"VIP, Proxy");
	rig_refuse(&rig, SVC("x", "ports: [{port: 80}], loadBalancerSourceRanges: [10.0.0.0/8]"),
		   "in: document 1: spec.loadBalancerSourceRanges: needs the type LoadBalancer");
	rig_teardown(&rig);
}

static void test_headless(void **state)
{
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig,
		  POD("a", "nodeName: node-b", "podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]") SVC(
			  "db", "clusterIP: None, selector: {app: web}, ports: [{name: sql, port: "
				"5432}]")
			  SVC("bare", "clusterIP: None, selector: {app: web}, ipFamilyPolicy: "
				      "RequireDualStack"),
		  NULL);
	rig_service(&rig, "db", "headless sql/6 -> 10.0.0.1:5432 C1\n");
	rig_service(&rig, "bare", "headless /6 -> 10.0.0.1:0 C1\nheadless /6 -> fd00::1:0 C1\n");
	rig_json(rig.services, "{\"default/db\": {}, \"default/bare\": {}}");
	rig_teardown(&rig);
}

static void test_host_ports(void **state)
{
	const union bn_addr ips[2] = {rig_addr("10.0.0.7"), rig_addr("fd00::7")};
	struct bn_error err = BN_ERROR_INIT;
	struct rig rig;

	rig_setup(&rig);
	rig_apply(
		&rig,
		POD("a",
		    "nodeName: node-a, initContainers: [{restartPolicy: Always, ports: "
		    "[{containerPort: 9, hostPort: 99}]}, {ports: [{containerPort: 9, hostPort: "
		    "98}]}], " PORTS(
			    "{containerPort: 8080, hostPort: 80}, {containerPort: 53, hostPort: "
			    "53, protocol: UDP, hostIP: 127.0.0.1}, {containerPort: 53, "
			    "hostPort: 53, protocol: UDP, hostIP: '::'}, {containerPort: 1}"),
		    "podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}], conditions: [{type: Ready, status: "
		    "'False'}]")
		/* elsewhere, nowhere, of the host, and gone */
		POD("b", "nodeName: node-b, " PORTS("{containerPort: 80, hostPort: 80}"),
		    "podIP: 10.0.0.2") POD("c", PORTS("{containerPort: 80, hostPort: 80}"), "")
			POD("d",
			    "nodeName: node-a, hostNetwork: true, " PORTS("{containerPort: 443}"),
			    "podIP: 192.168.0.1")
				POD("e",
				    "nodeName: node-a, " PORTS("{containerPort: 80, "
							       "hostPort: 80}"),
				    "phase: Failed, podIP: 10.0.0.5"),
		NULL);
	rig_service(&rig, "pod/a",
		       "HostPort 0.0.0.0:80/6 -> 10.0.0.1:8080 local C1 L1\n"
		       "HostPort :::80/6 -> fd00::1:8080 local C1 L1\n"
		       "HostPort 127.0.0.1:53/17 -> 10.0.0.1:53 local C1 L1\n"
		       "HostPort :::53/17 -> fd00::1:53 local C1 L1\n"
		       "HostPort 0.0.0.0:99/6 -> 10.0.0.1:9 local C1 L1\n"
		       "HostPort :::99/6 -> fd00::1:9 local C1 L1\n");
	assert_int_equal(json_object_size(rig.services), 1);

	/* a pod comes here, with a port that another has */
	assert_int_equal(bn_objects_endpoint_set(rig.objects, "default", "c", ips, 2, &err),
			 -EADDRINUSE);
	assert_string_equal(bn_error_text(&err), "cannot give host port 80 to pod default/c: it is "
						 "already taken by pod default/a");
	bn_error_done(&err);
	assert_int_equal(json_object_size(rig.services), 1);
	rig_delete(&rig, POD("a", "", ""), NULL);
	rig_json(rig.services, "{}");
	rig.held = "0.0.0.0:80/6";
	assert_int_equal(bn_objects_endpoint_set(rig.objects, "default", "c", ips, 2, &err),
			 -EADDRINUSE);
	assert_string_equal(bn_error_text(&err), "cannot give host port 80 to pod default/c: it is "
						 "already taken by a socket of the host");
	bn_error_done(&err);
	rig.held = NULL;
	assert_int_equal(bn_objects_endpoint_set(rig.objects, "default", "c", ips, 2, &err), 0);
	rig_json(rig.services,
		 "{\"default/pod/c\": {\"0.0.0.0:80/6\": [\"10.0.0.7:80\"], \":::80/6\": "
		 "[\"fd00::7:80\"]}}");
	/* what is in use stays, whoever listens */
	rig.held = "0.0.0.0:80/6";
	rig_apply(&rig, POD("c", PORTS("{containerPort: 81, hostPort: 80}"), ""), NULL);
	rig_json(rig.services,
		 "{\"default/pod/c\": {\"0.0.0.0:80/6\": [\"10.0.0.7:81\"], \":::80/6\": "
		 "[\"fd00::7:81\"]}}");
	rig_apply(&rig, POD("c", PORTS("{containerPort: 80, hostPort: 80}"), ""), NULL);
	assert_int_equal(bn_objects_endpoint_set(rig.objects, "default", "c", ips, 1, &err), 0);
	rig_json(rig.services, "{\"default/pod/c\": {\"0.0.0.0:80/6\": [\"10.0.0.7:80\"]}}");
	rig.held = NULL;
	assert_int_equal(bn_objects_endpoint_remove(rig.objects, "default", "c", &err), 0);
	rig_json(rig.services, "{}");
	rig_teardown(&rig);
}

static void test_host_port_conflicts(void **state)
{
	static const struct {
		const char *port, *message; /* NULL: taken in */
	} cases[] = {
#define TAKEN(what, who)                                                                           \
	"in: document 1: spec.containers[0].ports[0]." what " is already taken by " who
		{"{containerPort: 1, hostPort: 80}", TAKEN("hostPort: 80", "pod default/a")},
		{"{containerPort: 1, hostPort: 80, hostIP: '::'}",
		 TAKEN("hostPort: 80", "pod default/a")},
		{"{containerPort: 1, hostPort: 80, protocol: UDP}", NULL},
		{"{containerPort: 1, hostPort: 81}", TAKEN("hostPort: 81", "pod default/a")},
		{"{containerPort: 1, hostPort: 81, hostIP: 0.0.0.0}",
		 TAKEN("hostPort: 81", "pod default/a")},
		{"{containerPort: 1, hostPort: 81, hostIP: 10.9.9.9}",
		 TAKEN("hostPort: 81", "pod default/a")},
		{"{containerPort: 1, hostPort: 81, hostIP: 10.9.9.8}", NULL},
		{"{containerPort: 1, hostPort: 81, hostIP: '::'}", NULL},
		{"{containerPort: 1, hostPort: 30100}",
		 TAKEN("hostPort: 30100", "service default/s")},
		{"{containerPort: 1, hostPort: 30100, protocol: UDP}", NULL},
		{"{containerPort: 1, hostPort: 22}", TAKEN("hostPort: 22", "a socket of the host")},
		{"{containerPort: 1, hostPort: 22, hostIP: '::1'}", NULL},
		{"{containerPort: 1, hostPort: 443}", TAKEN("hostPort: 443", "pod default/h")},
		{"{containerPort: 1, hostPort: 5}, {containerPort: 2, hostPort: 5}",
		 "in: document 1: spec.containers[0].ports[1].hostPort: duplicate of "
		 "spec.containers[0].ports[0].hostPort"},
		{"{containerPort: 1, hostPort: 65536}",
		 "in: document 1: spec.containers[0].ports[0].hostPort: must be 0 to 65535, not "
		 "65536"},
		{"{containerPort: 1, hostPort: 5, hostIP: 1.2.3}",
		 "in: document 1: spec.containers[0].ports[0].hostIP: \"1.2.3\" is not an IPv4 or "
		 "IPv6 "
		 "address"},
	};
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig,
		  POD("a",
		      "nodeName: node-a, " PORTS("{containerPort: 1, hostPort: 80}, "
						 "{containerPort: 2, hostPort: 81, hostIP: "
						 "10.9.9.9}"),
		      "") POD("h",
			      "nodeName: node-a, hostNetwork: true, " PORTS("{containerPort: 443}"),
			      "") SVC("s", "type: NodePort, ports: [{port: 1, nodePort: 30100}]"),
		  NULL);
	rig.held = "0.0.0.0:22/6";
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[600];

		snprintf(text, sizeof(text), POD("b", "nodeName: node-a, " PORTS("%s"), ""),
			 cases[i].port);
		if (cases[i].message)
			rig_refuse(&rig, text, cases[i].message);
		else
			rig_apply(&rig, text, NULL);
	}
	rig_refuse(&rig,
		   POD("c", "hostNetwork: true, " PORTS("{containerPort: 1, hostPort: 2}"), ""),
		   "in: document 1: spec.containers[0].ports[0].hostPort: must be the "
		   "containerPort, 1, in a Pod of the host's network");
	/* the other way round, and two pods that trade */
	rig_refuse(&rig,
		   SVC("t", "type: NodePort, ports: [{port: 1, nodePort: 30200}]")
			   POD("b",
			       "nodeName: node-a, " PORTS("{containerPort: 1, hostPort: "
							  "30200}"),
			       ""),
		   "in: document 1: spec.ports[0].nodePort: 30200 is already taken by pod "
		   "default/b");
	rig_apply(&rig,
		  POD("a", "nodeName: node-a, " PORTS("{containerPort: 1, hostPort: 90}"), "") POD(
			  "b", "nodeName: node-a, " PORTS("{containerPort: 1, hostPort: 80}"), ""),
		  NULL);
	rig.held = "0.0.0.0:30300/17 :::30301/6";
	rig_refuse(&rig,
		   SVC("t", "type: NodePort, ports: [{port: 1, nodePort: 30300, protocol: "
			    "UDP}]"),
		   "in: document 1: spec.ports[0].nodePort: 30300 is already taken by a socket of "
		   "the host");
	rig_refuse(&rig,
		   SVC("t", "type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 1}], "
			    "healthCheckNodePort: 30301"),
		   "in: document 1: spec.healthCheckNodePort: 30301 is already taken by a socket "
		   "of the host");
	rig_apply(&rig, SVC("t", "type: NodePort, ports: [{port: 1, nodePort: 30300}]"), NULL);
	rig_teardown(&rig);
}

static void test_node_port_range(void **state)
{
	struct rig rig;
	json_t *list;
	int port = 0;

	rig_setup(&rig);
	rig_apply(&rig, SVC("old", "type: NodePort, ports: [{port: 1, nodePort: 30001}]"), NULL);
	rig.node_ports[0] = 20000;
	rig.node_ports[1] = 20002;
	rig_reopen(&rig);
	rig_refuse(&rig, SVC("a", "type: NodePort, ports: [{port: 1, nodePort: 30000}]"),
		   "in: document 1: spec.ports[0].nodePort: must be 20000 to 20002, not 30000");
	rig_refuse(&rig,
		   SVC("a", "type: LoadBalancer, externalTrafficPolicy: Local, "
			    "healthCheckNodePort: 19999, ports: [{port: 1}]"),
		   "in: document 1: spec.healthCheckNodePort: must be 20000 to 20002, not 19999");
	/* what was given under another range stays */
	rig_apply(&rig, SVC("old", "type: NodePort, ports: [{port: 2, nodePort: 30001}]"), NULL);
	/* neither a pod's host port nor one that the host listens on is allotted */
	rig.held = ":::20000/17";
	rig_apply(&rig,
		  SVC("a", "type: NodePort, ports: [{port: 1, protocol: UDP}]")
		      POD("p", "nodeName: node-a, " PORTS("{containerPort: 1, hostPort: 20001}"),
			  ""),
		  NULL);
	list = rig_get(&rig, "svc", NULL, "a");
	assert_int_equal(
	    json_unpack(list, "[{s:{s:[{s:i}]}}]", "spec", "ports", "nodePort", &port), 0);
	json_decref(list);
	assert_int_equal(port, 20002);
	rig_apply(&rig, SVC("b", "type: NodePort, ports: [{port: 1}]"), NULL);
	rig_refuse(&rig, SVC("c", "type: NodePort, ports: [{port: 1}]"),
		   "in: document 1: spec.ports: every node port from 20000 to 20002 is taken");
	rig_refuse(&rig, SVC("c", "ports: [{port: 1}], externalIPs: [192.0.2.1, '2001:db8::1']"),
		   "in: document 1: spec.externalIPs[1]: is an IPv6 address, the Service has IPv4 "
		   "alone; set spec.ipFamilyPolicy");
	rig_teardown(&rig);
}

/* Only what the datapath takes is told and shown. */
static void test_mask(void **state)
{
	struct rig rig = {0};

	rig_setup(&rig);
	rig.kinds = 1u << BN_FRONTEND_CLUSTER_IP;
	rig_reopen(&rig);
	rig_apply(&rig,
		  POD("a", "nodeName: node-a, " PORTS("{containerPort: 1, hostPort: 80}"),
		      "podIP: 10.0.0.1")
			  SVC("s",
			      "clusterIP: 10.96.0.7, externalIPs: [192.0.2.1], type: NodePort, "
			      "ports: [{port: 1}]"),
		  NULL);
	rig_json(rig.services, "{\"default/s\": {\"10.96.0.7:1/6\": []}}");
	rig_service(&rig, "s", "ClusterIP 10.96.0.7:1/6 ->\n");
	rig_teardown(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),      cmocka_unit_test(test_headless),
		cmocka_unit_test(test_host_ports), cmocka_unit_test(test_host_port_conflicts),
		cmocka_unit_test(test_node_port_range),
		cmocka_unit_test(test_mask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
